/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits for queues to stop: a reset (virtio 1.2, 2.4), a quiesce, the device's end. The
 * last runner to end does them all, in that order; where no queue runs they are done at once.
 */
#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "virtio/core.h"

void vdb__virtio_reset(struct vdb_virtio *device)
{
	device->resetting = true;
	vdb__virtio_stop(device);
	vdb__store(&device->finish, 0u); /* of those that were stopping already, too */
}

/* Nothing of the guest's is in use any more. */
static struct vdb_gate *finish_reset(struct vdb_virtio *device)
{
	struct vdb_gate *gate = device->reset_done;

	for (uint32_t i = 0; i < device->config.queues; i++)
		vdb__vqueue_clear(&device->queues[i]);
	device->accepted = 0;
	device->beyond = 0;
	if (device->ops.reset)
		device->ops.reset(device->ctx);
	if (device->remote)
		device->remote->ops->reset(device->remote);
	if (device->transport && device->transport->reset)
		device->transport->reset(device->transport_arg);
	device->status = 0;
	device->resetting = false;
	device->reset_done = NULL;
	device->resets++;
	return gate;
}

struct vdb__settled vdb__virtio_settle(struct vdb_virtio *device)
{
	struct vdb__settled settled = {0};

	/* With an interrupt on its way, whoever resets the device waits for that, and comes here then. */
	if (device->stopping || (device->resetting && device->raising))
		return settled;
	if (device->resetting)
		settled.gate = finish_reset(device);
	settled.quiesced = device->quiesce_done;
	settled.quiesced_arg = device->quiesce_arg;
	device->quiesce_done = NULL;
	settled.doomed = device->doomed;
	return settled;
}

void vdb__virtio_tell(struct vdb_virtio *device, const struct vdb__settled *settled)
{
	if (settled->gate)
		vdb_gate_open(settled->gate, 0);
	vdb_gate_unref(settled->gate);
	if (settled->quiesced)
		settled->quiesced(settled->quiesced_arg);
	if (settled->doomed)
		vdb__virtio_free(device);
}

VDB_EXPORT int vdb_virtio_quiesce(struct vdb_virtio *device, vdb_done_fn done, void *arg)
{
	struct vdb__settled settled = {0};
	bool already;

	vdb__virtio_lock(device);
	already = device->quiesced;
	if (!already) {
		device->quiesced = true;
		device->quiesce_done = done;
		device->quiesce_arg = arg;
		vdb__virtio_stop(device);
		settled = vdb__virtio_settle(device);
	}
	vdb__virtio_unlock(device);
	if (already)
		return vdb__fail(EALREADY, "virtio '%s': quiesced already; resume it first",
		                 device->ops.name);
	vdb__virtio_tell(device, &settled);
	return 0;
}

static int check_resume(const struct vdb_virtio *device)
{
	if (!device->quiesced)
		return vdb__fail(EINVAL, "virtio '%s': not quiesced", device->ops.name);
	if (device->stopping)
		return vdb__fail(EBUSY, "virtio '%s': the quiesce is not done; wait for its done()",
		                 device->ops.name);
	if (vdb__virtio_driven(device) && !device->transport)
		return vdb__fail(EINVAL, "virtio '%s': no transport; create that first", device->ops.name);
	return 0;
}

VDB_EXPORT int vdb_virtio_resume(struct vdb_virtio *device)
{
	int rc;

	vdb__virtio_lock(device);
	rc = check_resume(device);
	if (!rc) {
		device->quiesced = false;
		vdb__virtio_start(device);
	}
	vdb__virtio_unlock(device);
	return rc;
}
