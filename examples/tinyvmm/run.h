/* SPDX-License-Identifier: Apache-2.0 */
/* A VM of `tinyvmm run`. */
#ifndef TINYVMM_RUN_H
#define TINYVMM_RUN_H

#include <vdb/vdb.h>

#include "devices.h"
#include "ending.h"
#include "run_options.h"
#include "terminal.h"

/* The small parts of a PC that each VM has. */
#define RUN_PLATFORM                                                                      \
	(VDB_PLATFORM_I8042 | VDB_PLATFORM_RTC | VDB_PLATFORM_PM | VDB_PLATFORM_PVPANIC | \
	 VDB_PLATFORM_DEBUG_EXIT)

struct run {
	struct run_options options;
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_boot_info boot;
	struct vdb_loops *loops;
	struct vdb_loop *loop; /* the first of them: terminal, lines, console */
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpus[RUN_MAX_CPUS];
	struct escape escape;
	struct vdb_chardev *terminal;
	struct vdb_chardev *serial_log;
	struct vdb_serial *serial;
	struct vdb_platform *platform;
	struct devices devices;
	struct vdb_limit *limit; /* of the whole VM; NULL: none */
	struct ending ending;
	struct sandbox sandbox;
	int json_fd;       /* -1: none */
	int serial_log_fd; /* likewise */
	bool refused;      /* a device cannot be what the user asked for */
	int signals;       /* signalfd */
};

#endif
