/* SPDX-License-Identifier: Apache-2.0 */
#include "leak.h"

#include <check.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/atomic.h"

/* The first runs fill caches: malloc's arenas, thread stacks, lazy symbols. */
#define WARM_UP 3
#define RUNS 8
/* The sanitizers' own memory grows now and then; a leak grows every time. */
#define TRIES 3

int leak_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	/* Not ".", "..", nor the directory's own. */
	return count - 3;
}

size_t leak_mapped(int *lines)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	size_t bytes = 0;
	char line[512];

	ck_assert_ptr_nonnull(maps);
	*lines = 0;
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			bytes += end - start;
			++*lines;
		}
	}
	fclose(maps);
	return bytes;
}

static char growth[128];

static bool grows(void (*fn)(void *arg), void *arg, size_t bytes)
{
	size_t before, after;
	int fds, lines, more;

	fds = leak_fds();
	before = leak_mapped(&lines);
	for (int i = 0; i < RUNS; i++)
		fn(arg);
	after = leak_mapped(&more);
	ck_assert_msg(leak_fds() == fds, "fds: %d before, %d after", fds, leak_fds());
#ifdef VDB__TSAN
	/* ThreadSanitizer maps something for every thread that there ever was. */
	return false;
#endif
	(void)snprintf(growth, sizeof(growth), "mappings: %d before, %d after; mapped: %zu before, %zu after",
	               lines, more, before, after);
	return more >= lines + RUNS || after >= before + RUNS * bytes;
}

void leak_check(void (*fn)(void *arg), void *arg, size_t bytes)
{
	int try = 0;

	for (int i = 0; i < WARM_UP; i++)
		fn(arg);
	while (grows(fn, arg, bytes))
		ck_assert_msg(++try < TRIES, "%s", growth);
}
