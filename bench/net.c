/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of the guest, the same for all VMMs. */
#include "net.h"

#include <stdio.h>

void net_cmdline(const struct bench_options *o, const struct net_job *job, char line[NET_CMDLINE])
{
	uint64_t run = bench_ms_to_ticks(o->ms);

	snprintf(line, NET_CMDLINE,
	         "mergeable%s%s%s %s size=%u depth=%u backlog=%u wait=%llu gap=%llu "
	         "warm=%llu run=%llu",
	         job->ring & NET_PLAIN ? "" : " event", job->ring & NET_PACKED ? " packed" : "",
	         job->segments ? " segments" : "", job->op, job->size, job->depth, net_backlog(job),
	         (unsigned long long)bench_ms_to_ticks(NET_WAIT_MS),
	         (unsigned long long)bench_ms_to_ticks(1) * NET_GAP_US / 1000,
	         (unsigned long long)(run / NET_WARM_UP), (unsigned long long)run);
}
