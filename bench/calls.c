/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include <dirent.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static bool named(const char *task, const char *name)
{
	char path[64], comm[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", task);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(comm, sizeof(comm), file))
		comm[0] = 0;
	fclose(file);
	comm[strcspn(comm, "\n")] = 0;
	return !strcmp(comm, name);
}

pid_t calls_thread(const char *name)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *entry;
	pid_t found = 0;

	while (tasks && !found && (entry = readdir(tasks)))
		if (named(entry->d_name, name))
			found = (pid_t)strtol(entry->d_name, NULL, 10);
	if (tasks)
		closedir(tasks);
	if (!found)
		bench_die(BENCH_FAILED, "no thread %s", name);
	return found;
}

static uint64_t tracepoint(void)
{
	static const char *const paths[] = {
	        "/sys/kernel/tracing/events/raw_syscalls/sys_enter/id",
	        "/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id",
	};
	unsigned long long id = 0;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && !id; i++) {
		FILE *file = fopen(paths[i], "re");

		if (!file)
			continue;
		if (fscanf(file, "%llu", &id) != 1)
			id = 0;
		fclose(file);
	}
	if (!id)
		bench_die(BENCH_SKIPPED, "no tracepoint raw_syscalls:sys_enter here: mount tracefs, be root");
	return id;
}

void calls_open(struct calls *calls, pid_t thread)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr)};

	attr.config = tracepoint();
	calls->fd = (int)syscall(SYS_perf_event_open, &attr, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (calls->fd < 0)
		bench_die(BENCH_SKIPPED, "perf_event_open: %s", strerror(errno));
}

uint64_t calls_close(struct calls *calls)
{
	uint64_t count = 0;

	if (calls->fd < 0)
		return 0;
	if (read(calls->fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
		bench_die(BENCH_FAILED, "reading the count of calls: %s", strerror(errno));
	close(calls->fd);
	calls->fd = -1;
	return count;
}
