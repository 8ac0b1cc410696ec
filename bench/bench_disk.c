/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same guest does the same requests in several VMMs: round trips at depth 1, requests a second at any. A
 * case is VMM-RING-WORK-DEPTH, and what follows:
 *
 *     VMM    vdb: the library; qemu: QEMU's microvm; preadv: one thread, as kvmtool does it; host: a
 *            thread on the host, no VM and so no RING, depth 1
 *     RING   split, packed: chains of three; split-table, packed-table: indirect tables;
 *            ring: the native ring (vdb)
 *     WORK   null: 4 KiB reads, and nothing behind them; or of the file: read, write (4 KiB at random),
 *            seqread, seqwrite (128 KiB), pair (a write and a FLUSH)
 *     DEPTH  1 to 128
 *     -direct, -asleep, -fixed, -calls    O_DIRECT; no polling; guest memory is registered with io_uring
 * (vdb); the system calls are counted (which takes time)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk.h"
#include "name.h"

#define NULL_BYTES (4ull << 30)

static const struct {
	const char *name;
	void (*run)(const struct bench_options *o, const struct disk_job *job, struct disk_result *result);
} vmms[] = {[DISK_VDB] = {"vdb", disk_vdb},
            [DISK_QEMU] = {"qemu", disk_qemu},
            [DISK_PREADV] = {"preadv", disk_preadv},
            [DISK_HOST] = {"host", disk_host}};

static const struct {
	const char *name;
	uint32_t flags;
} rings[] = {{"split-table-plain", DISK_TABLE | DISK_PLAIN},
             {"split-table", DISK_TABLE},
             {"split-plain", DISK_PLAIN},
             {"split", 0},
             {"packed-table-plain", DISK_PACKED | DISK_TABLE | DISK_PLAIN},
             {"packed-table", DISK_PACKED | DISK_TABLE},
             {"packed-plain", DISK_PACKED | DISK_PLAIN},
             {"packed", DISK_PACKED},
             {"ring", DISK_NATIVE},
             {"", 0}};
#define RINGS (sizeof(rings) / sizeof(rings[0]) - 1) /* but for the last, the host's */

static const struct {
	const char *name, *op, *what;
	uint32_t block;
	bool sequential, null;
} works[] = {{"null", "read", "4 KiB reads of nothing", 4096, false, true},
             {"read", "read", "4 KiB random reads", 4096, false, false},
             {"write", "write", "4 KiB random writes", 4096, false, false},
             {"seqread", "read", "128 KiB reads in order", 131072, true, false},
             {"seqwrite", "write", "128 KiB writes in order", 131072, true, false},
             {"pair", "pair", "4 KiB random writes, each flushed", 4096, false, false}};

/* What a case's name says, besides its job. */
struct named {
	struct disk_job job;
	char what[160];
};

static const char *vmm_name(size_t i)
{
	return vmms[i].name;
}

static const char *ring_name(size_t i)
{
	return rings[i].name;
}

static const char *work_name(size_t i)
{
	return works[i].name;
}

static bool possible(const struct disk_job *job)
{
	if (job->depth < 1 || job->depth > BENCH_DEPTH || (job->fixed && job->vmm != DISK_VDB))
		return false;
	switch (job->vmm) {
	case DISK_QEMU:
		return !(job->ring & DISK_NATIVE);
	case DISK_PREADV:
		return !(job->ring & (DISK_NATIVE | DISK_PACKED));
	case DISK_HOST:
		return job->path && job->depth == 1 && !job->count_calls && !job->asleep;
	default:
		return true;
	}
}

static bool understand(const char *name, const struct bench_options *o, struct named *n)
{
	const char *at = name;
	struct disk_job *job = &n->job;
	size_t vmm, ring = RINGS, work;
	char *end;

	if (!name_find(&at, vmm_name, sizeof(vmms) / sizeof(vmms[0]), &vmm) ||
	    (vmm != DISK_HOST && !name_find(&at, ring_name, RINGS, &ring)) ||
	    !name_find(&at, work_name, sizeof(works) / sizeof(works[0]), &work))
		return false;
	*job = (struct disk_job){
	        .vmm = (uint32_t)vmm,
	        .ring = rings[ring].flags,
	        .op = works[work].op,
	        .block = works[work].block,
	        .bytes = works[work].null ? NULL_BYTES : o->file_mib << 20,
	        .path = works[work].null ? NULL
	                : o->file        ? o->file
	                                 : "bench.dat",
	        .sequential = works[work].sequential,
	        .depth = (uint32_t)strtoul(at, &end, 10),
	};
	at = *end == '-' ? end + 1 : end;
	job->direct = name_step(&at, "direct");
	job->asleep = name_step(&at, "asleep");
	job->fixed = name_step(&at, "fixed");
	job->count_calls = name_step(&at, "calls");
	snprintf(n->what, sizeof(n->what), "%s%s, depth %u: %s%s%s%s%s", works[work].what,
	         job->direct ? " with O_DIRECT" : "", job->depth, vmms[vmm].name, ring < RINGS ? ", " : "",
	         rings[ring].name, job->asleep ? ", loop asleep" : "",
	         job->fixed ? ", registered memory" : "");
	return !*at && possible(job);
}

static void report(const struct bench_options *o, const char *name, const struct named *n,
                   const struct disk_result *r)
{
	const struct bench_case c = {.name = name};
	double seconds = bench_ticks_to_ns((double)r->ran) / 1e9;

	if (n->job.count_calls) {
		bench_row(o, &c, "calls", (double)r->calls / (double)r->all, "", n->what);
		return;
	}
	bench_row(o, &c, "rate", (double)r->completed / seconds, "1/s", n->what);
	if (n->job.depth > 1)
		return;
	bench_row(o, &c, "p50", bench_ticks_to_ns((double)r->p50), "ns", "  round trip, p50");
	bench_row(o, &c, "p99", bench_ticks_to_ns((double)r->p99), "ns", "  round trip, p99");
}

static void usage(void)
{
	printf("usage: bench_disk [OPTION...] VMM-RING-WORK-DEPTH[-direct][-asleep][-fixed][-calls]...\n");
	bench_usage();
	printf("VMM: vdb, qemu, preadv, host (without RING)\nRING: split, split-table, packed, packed-table, "
	       "ring\nWORK:");
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
		printf(" %s (%s)%s", works[i].name, works[i].what,
		       i + 1 < sizeof(works) / sizeof(works[0]) ? "," : "\n");
}

int main(int argc, char **argv)
{
	struct bench_options o;
	struct named n;

	if (!bench_options(argc, argv, "disk", &o) || !*o.cases) {
		usage();
		return 2;
	}
	for (char **name = o.cases; *name; name++) {
		if (!understand(*name, &o, &n)) {
			usage();
			return 2;
		}
	}
	for (char **name = o.cases; *name; name++) {
		struct disk_result result;

		(void)understand(*name, &o, &n);
		disk_ready(&n.job);
		vmms[n.job.vmm].run(&o, &n.job, &result);
		report(&o, *name, &n, &result);
	}
	return 0;
}
