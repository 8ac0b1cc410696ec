/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-mmio, version 2 (virtio 1.2, 4.2.2): the register table as two switches in the
 * spec's order. Registers are 32 bits wide, and only that (4.2.2.2); the
 * configuration behind them is not.
 */
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/bell.h>
#include <vdb/irq.h>
#include <vdb/vcpu.h>
#include <vdb/virtio_mmio.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "virtio/device.h"

#define MAGIC 0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR 0x62647600u      /* "\0vdb" */
#define MMIO_QUEUE_RESET 0x0c0u /* linux/virtio_mmio.h lacks it */

struct vdb_virtio_mmio {
	struct vdb_virtio *device;
	struct vdb_bus *bus;
	struct vdb_irq *irq;
	vdb_gpa_t base;
	bool attached, on_bus;
	/* Selectors: atomic, since vCPUs may write them at once; each use reads them once. */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint32_t interrupt_status; /* atomic */
	struct vdb_bell *bells[];  /* one for each queue */
};

/* ---- What the device asks of it ---- */

/* The cause before the interrupt: a handler that comes at once finds it (4.2.3.4). */
static void interrupt(struct vdb_virtio_mmio *mmio, uint32_t cause)
{
	const uint64_t one = 1;
	ssize_t n;

	(void)vdb__fetch_or(&mmio->interrupt_status, cause);
	/* EAGAIN: the counter is full, so the guest has been told. */
	n = write(vdb_irq_fd(mmio->irq), &one, sizeof(one));
	(void)n;
}

static void queue_interrupt(void *arg, uint32_t queue)
{
	(void)queue;
	interrupt(arg, VIRTIO_MMIO_INT_VRING);
}

static void config_interrupt(void *arg)
{
	interrupt(arg, VIRTIO_MMIO_INT_CONFIG);
}

static int kick_fd(void *arg, uint32_t queue)
{
	const struct vdb_virtio_mmio *mmio = arg;

	return vdb_bell_fd(mmio->bells[queue]);
}

static void forget(void *arg)
{
	struct vdb_virtio_mmio *mmio = arg;

	vdb__store(&mmio->interrupt_status, 0u);
}

static const struct vdb__transport_ops transport = {
        .queue_interrupt = queue_interrupt,
        .config_interrupt = config_interrupt,
        .kick_fd = kick_fd,
        .reset = forget,
};

/* ---- Waiting ---- */

/* The write that the guest makes ends when the gate opens, or the VM does. */
static void wait_at(struct vdb_vcpu *vcpu, struct vdb_gate *gate)
{
	int64_t result;
	int rc = 0;

	if (gate && vcpu)
		rc = vdb_vcpu_wait(vcpu, gate, &result);
	else if (gate)
		rc = vdb_gate_wait(gate, -1, &result);
	(void)rc; /* the VM is being stopped: nobody will read on */
	vdb_gate_unref(gate);
}

static void write_status(struct vdb_virtio_mmio *mmio, struct vdb_vcpu *vcpu, uint32_t value)
{
	struct vdb_gate *gate;

	/* Bits that are no status bits are none of a reset either. */
	if (value && !(uint8_t)value)
		return;
	vdb__virtio_set_status(mmio->device, (uint8_t)value, &gate);
	wait_at(vcpu, gate);
}

static void reset_queue(struct vdb_virtio_mmio *mmio, struct vdb_vcpu *vcpu, uint32_t queue)
{
	struct vdb_gate *gate;

	vdb__virtio_queue_reset(mmio->device, queue, &gate);
	wait_at(vcpu, gate);
}

static void write_ready(struct vdb_virtio_mmio *mmio, struct vdb_vcpu *vcpu, uint32_t queue, uint32_t value)
{
	if (value == 1)
		vdb__virtio_queue_enable(mmio->device, queue);
	else if (value == 0)
		reset_queue(mmio, vcpu, queue);
}

static void write_queue_reset(struct vdb_virtio_mmio *mmio, struct vdb_vcpu *vcpu, uint32_t queue,
                              uint32_t value)
{
	if (value == 1 && vdb__virtio_accepted(mmio->device, 40 /* VIRTIO_F_RING_RESET */))
		reset_queue(mmio, vcpu, queue);
}

/* ---- Registers ---- */

/* What no bell took, for it was not as wide as they: the same, by hand. */
static void notify(struct vdb_virtio_mmio *mmio, uint32_t queue)
{
	const uint64_t one = 1;
	ssize_t n;

	if (queue >= vdb__virtio_queues(mmio->device))
		return;
	n = write(vdb_bell_fd(mmio->bells[queue]), &one, sizeof(one));
	(void)n;
}

/* A size that does not fit into the register's 16 bits fits no queue. */
static void write_size(struct vdb_virtio_mmio *mmio, uint32_t queue, uint32_t value)
{
	vdb__virtio_queue_set_size(mmio->device, queue, value > UINT16_MAX ? UINT16_MAX : (uint16_t)value);
}

static uint32_t read_register(struct vdb_virtio_mmio *mmio, uint64_t offset)
{
	struct vdb_virtio *device = mmio->device;
	uint32_t queue = vdb__load(&mmio->queue_sel);

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return vdb__virtio_id(device);
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return vdb__virtio_device_features(device, vdb__load(&mmio->device_features_sel));
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return vdb__virtio_queue_max(device, queue);
	case VIRTIO_MMIO_QUEUE_READY:
		return vdb__virtio_queue_enabled(device, queue);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return vdb__load_acquire(&mmio->interrupt_status);
	case VIRTIO_MMIO_STATUS:
		return vdb__virtio_status(device);
	case VIRTIO_MMIO_SHM_LEN_LOW: /* no such region: its length and base are -1 (4.2.2.1) */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	case MMIO_QUEUE_RESET:
		return vdb__virtio_queue_in_reset(device, queue);
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return vdb__virtio_generation(device);
	default:
		return 0;
	}
}

static void write_address(struct vdb_virtio_mmio *mmio, uint64_t offset, uint32_t queue, uint32_t value)
{
	static const uint16_t low[] = {
	        [VDB__QUEUE_DESC] = VIRTIO_MMIO_QUEUE_DESC_LOW,
	        [VDB__QUEUE_DRIVER] = VIRTIO_MMIO_QUEUE_AVAIL_LOW,
	        [VDB__QUEUE_DEVICE] = VIRTIO_MMIO_QUEUE_USED_LOW,
	};

	for (uint32_t area = VDB__QUEUE_DESC; area <= VDB__QUEUE_DEVICE; area++) {
		if (offset == low[area])
			vdb__virtio_queue_set_addr(mmio->device, queue, area, 0, value);
		else if (offset == low[area] + 4u)
			vdb__virtio_queue_set_addr(mmio->device, queue, area, 1, value);
	}
}

static void write_register(struct vdb_virtio_mmio *mmio, struct vdb_vcpu *vcpu, uint64_t offset,
                           uint32_t value)
{
	struct vdb_virtio *device = mmio->device;
	uint32_t queue = vdb__load(&mmio->queue_sel);

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		vdb__store(&mmio->device_features_sel, value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		vdb__virtio_accept(device, vdb__load(&mmio->driver_features_sel), value);
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		vdb__store(&mmio->driver_features_sel, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		vdb__store(&mmio->queue_sel, value);
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
		write_size(mmio, queue, value);
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		write_ready(mmio, vcpu, queue, value);
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		notify(mmio, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		(void)__atomic_fetch_and(&mmio->interrupt_status, ~value, __ATOMIC_ACQ_REL);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(mmio, vcpu, value);
		break;
	case MMIO_QUEUE_RESET:
		write_queue_reset(mmio, vcpu, queue, value);
		break;
	default:
		write_address(mmio, offset, queue, value);
	}
}

/* ---- The bus ---- */

static void on_read(void *ctx, struct vdb_bus_access *access)
{
	struct vdb_virtio_mmio *mmio = ctx;
	uint32_t value;

	if (access->offset >= VIRTIO_MMIO_CONFIG) {
		vdb__virtio_config_read(mmio->device, access->offset - VIRTIO_MMIO_CONFIG, access->data,
		                        access->len);
	} else if (access->len == sizeof(value)) {
		value = read_register(mmio, access->offset);
		memcpy(access->data, &value, sizeof(value));
	}
}

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	struct vdb_virtio_mmio *mmio = ctx;
	uint32_t value;

	if (access->offset >= VIRTIO_MMIO_CONFIG) {
		vdb__virtio_config_write(mmio->device, access->offset - VIRTIO_MMIO_CONFIG, access->data,
		                         access->len);
	} else if (access->len == sizeof(value)) {
		memcpy(&value, access->data, sizeof(value));
		write_register(mmio, access->vcpu, access->offset, value);
	}
}

/* ---- Life ---- */

static int make_bells(struct vdb_virtio_mmio *mmio, struct vdb_vm *vm)
{
	struct vdb_bell_config bell = {
	        .size = sizeof(bell),
	        .flags = VDB_BELL_MATCH,
	        .addr = mmio->base + VIRTIO_MMIO_QUEUE_NOTIFY,
	        .len = sizeof(uint32_t),
	};
	int rc = 0;

	for (uint32_t i = 0; i < vdb__virtio_queues(mmio->device) && !rc; i++) {
		bell.match = i;
		rc = vdb_bell_create(vm, &bell, &mmio->bells[i]);
	}
	return rc;
}

/* The range comes last: from then on a guest can reach the device. */
static int plug(struct vdb_virtio_mmio *mmio, struct vdb_vm *vm, uint32_t gsi)
{
	static const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = on_read, .write = on_write};
	const struct vdb_irq_config irq = {.size = sizeof(irq), .kind = VDB_IRQ_PIN, .gsi = gsi};
	int rc = vdb_irq_create(vm, &irq, &mmio->irq);

	if (!rc)
		rc = make_bells(mmio, vm);
	if (!rc)
		rc = vdb_bus_add(mmio->bus, vdb__virtio_name(mmio->device), mmio->base, VDB_VIRTIO_MMIO_BYTES,
		                 &ops, mmio);
	mmio->on_bus = !rc;
	return rc;
}

static int check(const struct vdb_vm *vm, const struct vdb_virtio *device,
                 const struct vdb_virtio_mmio_config *config)
{
	if (!vm || !device)
		return vdb__fail(EINVAL, "virtio-mmio: vm and device must be given");
	if (config->base % VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "virtio-mmio at %#llx: must be page-aligned",
		                 (unsigned long long)config->base);
	return 0;
}

VDB_EXPORT int vdb_virtio_mmio_create(struct vdb_vm *vm, struct vdb_virtio *device,
                                      const struct vdb_virtio_mmio_config *config,
                                      struct vdb_virtio_mmio **out)
{
	struct vdb_virtio_mmio_config own;
	struct vdb_virtio_mmio *mmio;
	int rc = vdb__config_take(&own, sizeof(own), config, "virtio-mmio config");

	if (!rc)
		rc = check(vm, device, &own);
	if (rc)
		return rc;
	mmio = calloc(1, sizeof(*mmio) + vdb__virtio_queues(device) * sizeof(mmio->bells[0]));
	if (!mmio)
		return vdb__fail(ENOMEM, "virtio-mmio: no memory");
	mmio->device = device;
	mmio->bus = vdb_vm_mmio(vm);
	mmio->base = own.base;
	rc = vdb__virtio_attach(device, &transport, mmio);
	mmio->attached = !rc;
	if (!rc)
		rc = plug(mmio, vm, own.gsi);
	if (rc) {
		vdb_virtio_mmio_destroy(mmio);
		return rc;
	}
	*out = mmio;
	return 0;
}

VDB_EXPORT void vdb_virtio_mmio_destroy(struct vdb_virtio_mmio *mmio)
{
	uint32_t queues;
	int rc = 0;

	if (!mmio)
		return;
	queues = vdb__virtio_queues(mmio->device);
	if (mmio->on_bus)
		rc = vdb_bus_remove(mmio->bus, mmio->base);
	(void)rc; /* not from a loop's thread, as its contract says */
	if (mmio->attached)
		vdb__virtio_detach(mmio->device);
	for (uint32_t i = 0; i < queues; i++)
		vdb_bell_destroy(mmio->bells[i]);
	vdb_irq_destroy(mmio->irq);
	free(mmio);
}
