/* SPDX-License-Identifier: Apache-2.0 */
/* Inside a vCPU's run. */
#ifndef VDB_KVM_VCPU_H
#define VDB_KVM_VCPU_H

#include <stdbool.h>
#include <vdb/vcpu.h>

/* Runs a claimed vCPU on this thread and ends the claim: the vCPU may be gone afterwards. */
int vdb__vcpu_loop(struct vdb_vcpu *vcpu);

/* Does what KVM_RUN came back for. False: leave. */
bool vdb__exit_dispatch(struct vdb_vcpu *vcpu);

/* Tells the embedder that KVM_RUN failed with `err`. False: leave. */
bool vdb__exit_failed(struct vdb_vcpu *vcpu, int err);

#endif
