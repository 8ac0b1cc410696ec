/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the guest and what it says, the same for all VMMs. */
#include "disk.h"

#include <stdio.h>

#include "said.h"

const char *disk_guest(void)
{
	return said_guest("bench_disk_guest.elf");
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

void disk_read_result(const char *text, struct disk_result *result)
{
	const char *done = said_done(text);

	*result = (struct disk_result){
	        .completed = said_number(done, " completed="),
	        .ran = said_number(done, " ran="),
	        .all = said_number(done, " all="),
	        .wrong = said_number(done, " wrong="),
	        .rung = said_number(done, " rung="),
	        .p50 = said_number(done, " p50="),
	        .p99 = said_number(done, " p99="),
	};
	if (result->wrong || !result->completed || !result->ran)
		bench_die(BENCH_FAILED, "%llu of %llu requests went wrong", (unsigned long long)result->wrong,
		          (unsigned long long)result->all);
}
