/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vCPUs that live: they count in memory, at GUEST_DATA + 64 * index, and so
 * show whether they run.
 */
#ifndef VDB_TEST_KVM_LIVES_H
#define VDB_TEST_KVM_LIVES_H

#include "kvm_fixture.h"

#define PORT_ACT 0x20u

/* Every vCPU counts, on a thread of its own; all have begun. */
void start_spinning(struct kvm_fixture *f);

uint32_t counter(const struct kvm_fixture *f, uint32_t vcpu);
void until_it_moves(const struct kvm_fixture *f, uint32_t vcpu);

/* Fails the test if a counter moves during 5 ms. */
void expect_still(const struct kvm_fixture *f);

/* Every vCPU counts, reads PORT_ACT, which calls `act`, reports what it read, and so on. */
void prepare_acting(struct kvm_fixture *f, void (*act)(struct vdb_bus_access *access));

/* And runs on a thread of its own. */
void start_acting(struct kvm_fixture *f, void (*act)(struct vdb_bus_access *access));

void nap_ms(long ms);

#endif
