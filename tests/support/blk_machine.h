/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM with a disk image behind virtio-blk, and a loop on its own thread that serves it. The transport and
 * the guest (kvm/guest/blk.h) are the test's:
 *
 *     blk_machine_open(&m);  blk_machine_plug(&m, flags);  a transport for m.device
 *     blk_machine_ask(&m, features, irq, gsi);  LOAD_IMAGE(&m.f, ...);  blk_machine_run(&m);
 *     the transport is destroyed;  blk_machine_close(&m);
 */
#ifndef VDB_TEST_BLK_MACHINE_H
#define VDB_TEST_BLK_MACHINE_H

#include "guest_image.h"
#include "run.h"

#define BLK_DISK (1u << 20)
#define BLK_RINGS_TRIED 6

struct blk_machine {
	struct kvm_fixture f;
	struct vdb_loop *loop;
	struct vdb_virtio *device;
	uint64_t features; /* asked for */
	uint32_t irq;
	bool open_end; /* the guest goes on until blk_machine_stop() */
	char path[64];
};

/* Features of rings: split and packed: bare, with all that saves work, in order. */
extern const uint64_t blk_machine_rings[BLK_RINGS_TRIED];

void blk_machine_open(struct blk_machine *m);
void blk_machine_close(struct blk_machine *m);
/* The device, on a fresh image. flags: VDB_FILE_*. */
void blk_machine_plug(struct blk_machine *m, uint32_t flags);
/* Tells the guest what to do; gsi is for its interrupt controller. */
void blk_machine_ask(struct blk_machine *m, uint64_t features, bool irq, uint32_t gsi);
/* Any thread: the guest ends after the round that it is in. */
void blk_machine_stop(struct blk_machine *m);
/* Runs vCPU 0 until the guest ends; fails the test unless all went well and the image has what the guest says
 * that it wrote. */
void blk_machine_run(struct blk_machine *m);

#endif
