/* SPDX-License-Identifier: Apache-2.0 */
/* What the user asks of `tinyvmm run`. */
#ifndef TINYVMM_RUN_OPTIONS_H
#define TINYVMM_RUN_OPTIONS_H

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

#include "balloon.h"
#include "caps.h"
#include "disk.h"
#include "fs.h"
#include "loops.h"
#include "net.h"
#include "pmem.h"
#include "sandbox.h"
#include "vsock.h"

#define RUN_MAX_CPUS 254u
#define RUN_MAX_DISKS 26u

enum transport {
	TRANSPORT_PCI,
	TRANSPORT_MMIO,
};

struct run_options {
	const char *kernel;
	const char *initrd;  /* NULL: none */
	const char *cmdline; /* "" */
	uint32_t cpus;
	uint64_t memory;
	bool hugepages;
	bool memfd;
	const char *disk_texts[RUN_MAX_DISKS];
	struct disk disks[RUN_MAX_DISKS];
	uint32_t disk_count;
	bool packed;
	uint32_t transport; /* enum transport */
	uint32_t notify;    /* VDB_NOTIFY_* */
	bool no_msix;
	bool rng;
	struct vsock vsock;
	struct fs fs[FS_MAX];
	uint32_t fs_count;
	struct balloon_option balloon;
	struct net nets[NET_MAX];
	uint32_t net_count;
	struct pmem pmems[PMEM_MAX];
	uint32_t pmem_count;
	const char *serial_log; /* what the serial port gets goes to this file; NULL: nowhere else */
	bool console;           /* the terminal is hvc0, else ttyS0 */
	bool no_acpi;
	uint32_t engine;             /* VDB_ENGINE_* */
	struct vdb_loop_config poll; /* its poll_* and sq_* fields, coalesce_ns, flags */
	int pins[RUN_MAX_CPUS];      /* host CPU of each vCPU, -1 = any */
	int pin_loop;                /* the same of the only loop */
	bool pin_io;
	cpu_set_t io_cpus; /* if so: of the threads that do I/O which has to wait */
	struct loops_option loops;
	const char *json;   /* NULL = none */
	uint32_t timeout;   /* seconds; 0 = none */
	uint32_t grace;     /* seconds */
	struct rates limit; /* of all devices together */
	struct vdb_caps caps;
	const char *limits; /* a file; NULL: none */
	struct sandbox_option sandbox;
	bool help;
};

/* 0, or -1 after a complaint. */
int run_options_parse(struct run_options *options, int argc, char **argv);

/* The text of --help. */
void run_options_help(void);

#endif
