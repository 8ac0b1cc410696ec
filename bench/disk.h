/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One guest image (guest/disk.c) that does disk requests, in three VMMs: ours, made of the library, QEMU, and
 * one that serves its ring as kvmtool does. A job says what it does and on what disk, a result how it went.
 */
#ifndef BENCH_DISK_H
#define BENCH_DISK_H

#include "bench.h"

enum { DISK_VDB, DISK_QEMU, DISK_PREADV, DISK_HOST };

#define DISK_PACKED (1u << 0) /* rings */
#define DISK_TABLE (1u << 1)  /* indirect tables, as drivers do it that have them */
#define DISK_PLAIN (1u << 2)  /* without EVENT_IDX, which QEMU is faster without */
#define DISK_NATIVE (1u << 3) /* not virtio: libvdb's own ring */

struct disk_job {
	uint32_t vmm;     /* DISK_VDB, ... */
	uint32_t ring;    /* DISK_PACKED, ... */
	const char *op;   /* as the guest's command line has it */
	uint32_t block;   /* bytes of a request */
	uint32_t depth;   /* requests at a time */
	uint64_t bytes;   /* of the disk, from its start */
	const char *path; /* NULL: nothing is behind it */
	bool direct;      /* O_DIRECT */
	bool sequential;  /* else at random */
	bool asleep;      /* the loop sleeps as soon as it has nothing to do */
	bool fixed;       /* vdb: guest memory is registered with io_uring */
	bool count_calls; /* of the kernel, by the thread that serves; costs time */
};

struct disk_result {
	uint64_t completed; /* in `ran` ticks */
	uint64_t ran;
	uint64_t all, wrong; /* warm-up and end included */
	uint64_t rung;
	uint64_t p50, p99; /* ticks of a round trip, depth 1 */
	uint64_t calls;    /* with count_calls: for all of them */
};

/* Each runs the job to its end or dies. */
void disk_vdb(const struct bench_options *o, const struct disk_job *job, struct disk_result *result);
void disk_qemu(const struct bench_options *o, const struct disk_job *job, struct disk_result *result);
void disk_preadv(const struct bench_options *o, const struct disk_job *job, struct disk_result *result);
void disk_host(const struct bench_options *o, const struct disk_job *job, struct disk_result *result);

/* ---- What they share ---- */

#define DISK_RAM (64u << 20)
#define DISK_CMDLINE 512
#define DISK_TEXT 512
#define DISK_WARM_UP 5u /* part of the time that it is measured for */
/* How long a loop, and QEMU's iothread, looks before it sleeps: QEMU's own default. */
#define DISK_POLL_NS 32768u

/* The path of the guest's ELF file, which lies beside this program. */
const char *disk_guest(void);

/* The guest's command line. `where`: the word that says where the disk is; "": it looks for it. */
void disk_cmdline(const struct bench_options *o, const struct disk_job *job, const char *where,
                  char line[DISK_CMDLINE]);

/* Understands what the guest said; dies if it is not that all went well. */
void disk_read_result(const char *text, struct disk_result *result);

/* The file is as large as the job wants it, each piece begins with its number, and it is in the page cache,
 * or with O_DIRECT out of it. */
void disk_ready(const struct disk_job *job);

/* Opens it as the job wants it, for reading and writing. */
int disk_open(const struct disk_job *job);

#endif
