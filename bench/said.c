/* SPDX-License-Identifier: Apache-2.0 */
#include "said.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAME 64

const char *said_guest(const char *name)
{
	static char path[PATH_MAX + NAME];
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash;

	if (len <= 0)
		bench_die(BENCH_FAILED, "where is this program?");
	path[len] = 0;
	slash = strrchr(path, '/');
	snprintf(slash ? slash + 1 : path, NAME, "%s", name);
	return path;
}

const char *said_done(const char *text)
{
	const char *done = strstr(text, "done ");

	if (!done)
		bench_die(BENCH_FAILED, "the guest: %s", *text ? text : "came to no end");
	return done;
}

uint64_t said_number(const char *done, const char *name)
{
	const char *at = strstr(done, name);
	unsigned long long value;

	if (!at || sscanf(at + strlen(name), "%llu", &value) != 1)
		bench_die(BENCH_FAILED, "the guest says nothing of%s: %s", name, done);
	return value;
}

uint64_t said_patience(const struct bench_options *o)
{
	return o->ms * 2 + 20000;
}
