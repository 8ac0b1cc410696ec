/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the guest and what it says, the same for all VMMs. */
#include "disk.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *disk_guest(void)
{
	static char path[PATH_MAX + 32];
	ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash;

	if (len <= 0)
		bench_die(BENCH_FAILED, "where is this program?");
	path[len] = 0;
	slash = strrchr(path, '/');
	snprintf(slash ? slash + 1 : path, 32, "bench_disk_guest.elf");
	return path;
}

void disk_cmdline(const struct bench_options *o, const struct disk_job *job, const char *where,
                  char line[DISK_CMDLINE])
{
	uint64_t run = bench_ms_to_ticks(o->ms);

	snprintf(line, DISK_CMDLINE, "%s%s%s%s%s op=%s block=%u blocks=%llu depth=%u warm=%llu run=%llu %s",
	         job->ring & DISK_PLAIN ? "plain" : "event", job->ring & DISK_PACKED ? " packed" : "",
	         job->ring & DISK_TABLE ? " table" : "", job->sequential ? " sequential" : "",
	         o->check && job->path ? " check" : "", job->op, job->block,
	         (unsigned long long)(job->bytes / job->block), job->depth,
	         (unsigned long long)(run / DISK_WARM_UP), (unsigned long long)run, where);
}

/* The number behind " name=". */
static uint64_t field(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	unsigned long long value;

	if (!at || sscanf(at + strlen(name), "%llu", &value) != 1)
		bench_die(BENCH_FAILED, "the guest says nothing of%s: %s", name, text);
	return value;
}

void disk_read_result(const char *text, struct disk_result *result)
{
	const char *done = strstr(text, "done ");

	if (!done)
		bench_die(BENCH_FAILED, "the guest: %s", *text ? text : "came to no end");
	*result = (struct disk_result){
	        .completed = field(done, " completed="),
	        .ran = field(done, " ran="),
	        .all = field(done, " all="),
	        .wrong = field(done, " wrong="),
	        .rung = field(done, " rung="),
	        .p50 = field(done, " p50="),
	        .p99 = field(done, " p99="),
	};
	if (result->wrong || !result->completed || !result->ran)
		bench_die(BENCH_FAILED, "%llu of %llu requests went wrong", (unsigned long long)result->wrong,
		          (unsigned long long)result->all);
}

uint64_t disk_patience(const struct bench_options *o)
{
	return o->ms * 2 + 20000;
}
