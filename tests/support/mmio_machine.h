/* SPDX-License-Identifier: Apache-2.0 */
/* A VM with the echo device behind virtio-mmio, and a loop on its own thread that serves it. */
#ifndef VDB_TEST_MMIO_MACHINE_H
#define VDB_TEST_MMIO_MACHINE_H

#include "guest_image.h"
#include "run.h"
#include "virtio_echo.h"

#define MACHINE_MMIO 0xe0000000u
#define MACHINE_GSI 5u
#define BIT(feature) (1ull << (feature))

struct mmio_machine {
	struct kvm_fixture f;
	struct vdb_loop *loop;
	struct virtio_echo echo;
	struct vdb_virtio *device;
	struct vdb_virtio_mmio *mmio;
	struct vdb_tenant *tenant;
};

struct echo_params;

void mmio_machine_open(struct mmio_machine *m, uint32_t queues);
/* With so many vCPUs, and the caps of its tenant; may be NULL. */
void mmio_machine_open_capped(struct mmio_machine *m, uint32_t queues, uint32_t vcpus,
                              const struct vdb_caps *caps);
struct vdb_tenant_stats mmio_machine_account(const struct mmio_machine *m);
/* The VM may have been destroyed (m->f.vm NULL), but not the rest. */
void mmio_machine_close(struct mmio_machine *m);
struct echo_params *mmio_machine_params(struct mmio_machine *m);
/* Runs vCPU 0 until the guest ends; fails the test if that is not well. */
void mmio_machine_run(struct mmio_machine *m);

#endif
