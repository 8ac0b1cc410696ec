/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VDB_KVM_CALLS_H
#define VDB_KVM_CALLS_H

#include "base/calls.h"

/* KVM's ioctls: what runs a vCPU, what its guest can cause, and what makes a VM. */
extern const struct vdb__calls vdb__kvm_calls;

#endif
