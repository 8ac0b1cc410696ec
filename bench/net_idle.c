/* SPDX-License-Identifier: Apache-2.0 */
/* What a process does while nobody wants anything of it: how often any thread of it goes to sleep, or is made
 * to. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "net.h"

static uint64_t switches_of(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned long long value, sum = 0;
	char line[256];

	/* It has ended meanwhile. */
	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &value) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %llu", &value) == 1)
			sum += value;
	fclose(file);
	return sum;
}

/* Of all threads but the calling one. */
static uint64_t switches(pid_t pid)
{
	char path[64];
	const struct dirent *entry;
	uint64_t sum = 0;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (!tasks)
		bench_die(BENCH_FAILED, "%s: %s", path, strerror(errno));
	while ((entry = readdir(tasks))) {
		if (*entry->d_name == '.' || strtol(entry->d_name, NULL, 10) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%.16s/status", (int)pid, entry->d_name);
		sum += switches_of(path);
	}
	closedir(tasks);
	return sum;
}

static void rest(uint64_t ms)
{
	const struct timespec time = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&time, NULL);
}

double net_wakes(const struct bench_options *o, pid_t pid)
{
	uint64_t ms = o->quick ? 200 : 3000, before;

	/* What was begun comes to its end. */
	rest(300);
	before = switches(pid);
	rest(ms);
	return (double)(switches(pid) - before) * 1000 / (double)ms;
}
