/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device status field (virtio 1.2, 2.1 and 3.1.1). Bits come in their order, each once, and
 * go all together by a reset; what a driver may not set is not set.
 */
#include "virtio/core.h"

#define GIVEN_UP (VIRTIO_CONFIG_S_FAILED | VIRTIO_CONFIG_S_NEEDS_RESET)

bool vdb__virtio_driven(const struct vdb_virtio *device)
{
	return (device->status & (VIRTIO_CONFIG_S_DRIVER_OK | GIVEN_UP)) == VIRTIO_CONFIG_S_DRIVER_OK &&
	       !device->resetting;
}

uint8_t vdb__virtio_status(struct vdb_virtio *device)
{
	uint8_t status;

	vdb__virtio_lock(device);
	status = device->status;
	vdb__virtio_unlock(device);
	return status;
}

/* Whoever comes second finds it broken already, and needs the same reset. */
void vdb__virtio_break(struct vdb_virtio *device, uint32_t queue, uint32_t reason)
{
	if (device->status & VIRTIO_CONFIG_S_NEEDS_RESET || device->resetting || device->doomed)
		return;
	vdb__virtio_notice(device);
	device->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	device->broken++;
	device->due.report = true;
	device->due.queue = queue;
	device->due.reason = reason;
	vdb__virtio_stop(device);
}

/* Which bit must be there before this one. */
static bool follows(const struct vdb_virtio *device, uint8_t bit)
{
	switch (bit) {
	case VIRTIO_CONFIG_S_ACKNOWLEDGE:
		return true;
	case VIRTIO_CONFIG_S_DRIVER:
		return device->status & VIRTIO_CONFIG_S_ACKNOWLEDGE;
	case VIRTIO_CONFIG_S_FEATURES_OK:
		return device->status & VIRTIO_CONFIG_S_DRIVER;
	default:
		return device->status & VIRTIO_CONFIG_S_FEATURES_OK;
	}
}

static bool features_ok(struct vdb_virtio *device)
{
	return !device->beyond && !vdb__virtio_features_fit(device, device->accepted);
}

/* One bit that the driver sets; true if it is set now. */
static void advance(struct vdb_virtio *device, uint8_t bit)
{
	if (device->status & bit || !follows(device, bit))
		return;
	if (bit == VIRTIO_CONFIG_S_FEATURES_OK && !features_ok(device))
		return;
	device->status |= bit;
	if (bit == VIRTIO_CONFIG_S_DRIVER_OK)
		vdb__virtio_start(device);
}

static void set_bits(struct vdb_virtio *device, uint8_t status)
{
	static const uint8_t order[] = {VIRTIO_CONFIG_S_ACKNOWLEDGE, VIRTIO_CONFIG_S_DRIVER,
	                                VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_DRIVER_OK};

	for (unsigned i = 0; i < sizeof(order) && !(device->status & GIVEN_UP); i++) {
		if (status & order[i])
			advance(device, order[i]);
	}
	if (status & VIRTIO_CONFIG_S_FAILED) {
		device->status |= VIRTIO_CONFIG_S_FAILED;
		vdb__virtio_stop(device);
	}
}

void vdb__virtio_set_status(struct vdb_virtio *device, uint8_t status, struct vdb_gate **wait)
{
	struct vdb__settled settled = {0};
	struct vdb_gate *gate = NULL;

	vdb__virtio_lock(device);
	if (status == 0) {
		vdb__virtio_reset(device);
		/* Nothing is told after status reads 0 (2.4.1); this takes no longer than a write to an
		 * eventfd. */
		while (device->raising)
			vdb__virtio_wait(device);
		settled = vdb__virtio_settle(device);
		if (device->resetting)
			gate = vdb_gate_ref(device->reset_done);
	} else if (!device->resetting) {
		set_bits(device, status);
	}
	vdb__virtio_unlock(device);
	vdb__virtio_tell(device, &settled);
	if (wait)
		*wait = gate;
	else
		vdb_gate_unref(gate);
}
