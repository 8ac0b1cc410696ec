/* SPDX-License-Identifier: Apache-2.0 */
#include "census.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"

static uint64_t entries(const char *path)
{
	DIR *dir = opendir(path);
	uint64_t count = 0;

	if (!dir)
		bench_die(BENCH_FAILED, "%s cannot be read", path);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

void census_take(struct census *census, const void *ram, uint64_t bytes)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	uint64_t low = (uintptr_t)ram, from = 0, to, kib;
	bool kvm = false, guest = false;
	char line[512];

	if (!maps)
		bench_die(BENCH_FAILED, "/proc/self/smaps cannot be read");
	*census = (struct census){.fds = entries("/proc/self/fd"), .threads = entries("/proc/self/task")};
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
			guest = from < low + bytes && to > low;
			kvm = strstr(line, "anon_inode:kvm-vcpu") != NULL;
		} else if (sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1) {
			*(guest ? &census->guest : kvm ? &census->kvm : &census->own) += kib * 1024;
		}
	}
	fclose(maps);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t census_cpu_ns(void)
{
	return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

/* The first word of schedstat is nanoseconds on a CPU. */
static uint64_t cpu_of(const char *task, const char *name)
{
	char path[300], text[64] = "";
	uint64_t ns = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file) || strncmp(text, name, strlen(name)) != 0)
		text[0] = 0;
	fclose(file);
	snprintf(path, sizeof(path), "/proc/self/task/%s/schedstat", task);
	file = *text ? fopen(path, "re") : NULL;
	if (!file)
		return 0;
	if (fscanf(file, "%" SCNu64, &ns) != 1)
		ns = 0;
	fclose(file);
	return ns;
}

uint64_t census_named_cpu_ns(const char *name)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	uint64_t ns = 0;

	while (dir && (entry = readdir(dir)))
		ns += cpu_of(entry->d_name, name);
	if (dir)
		closedir(dir);
	return ns;
}

void census_sleep(uint64_t ns)
{
	struct timespec nap = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};

	nanosleep(&nap, NULL);
}
