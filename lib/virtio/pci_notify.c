/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notification (virtio 1.2, 4.1.4.4): one doorbell page per queue, without memory behind it, and
 * where ports ring faster a port per queue, too. Both ring one eventfd, in the kernel; what gets past the
 * bells (windows in config space, places where KVM took none) comes here as an access and rings it by hand.
 */
#include <unistd.h>

#include "virtio/pci.h"

/* AUTO takes ports for so many queues only that every slot of the default window has room for them. */
#define AUTO_QUEUES 32u

static void ring(struct vdb_virtio_pci *vpci, uint64_t offset, uint32_t step)
{
	const uint64_t one = 1;
	ssize_t n;

	if (offset % step || offset / step >= vpci->queues)
		return;
	/* EAGAIN: the counter is full, so it has rung. */
	n = write(vdb_bell_fd(vpci->queue[offset / step].page), &one, sizeof(one));
	(void)n;
}

static void pages_write(void *ctx, struct vdb_bus_access *access)
{
	ring(vdb__vpci(ctx), access->offset, VDB_PAGE_SIZE);
}

static void ports_write(void *ctx, struct vdb_bus_access *access)
{
	ring(vdb__vpci(ctx), access->offset, VDB__VPCI_PORT_STEP);
}

const struct vdb_bus_ops vdb__vpci_pages_ops = {.size = sizeof(vdb__vpci_pages_ops), .write = pages_write};
const struct vdb_bus_ops vdb__vpci_ports_ops = {.size = sizeof(vdb__vpci_ports_ops), .write = ports_write};

static uint64_t power_of_two(uint64_t bytes)
{
	uint64_t power = 1;

	while (power < bytes)
		power *= 2;
	return power;
}

uint64_t vdb__vpci_pages_bytes(uint32_t queues)
{
	return power_of_two((uint64_t)queues * VDB_PAGE_SIZE);
}

uint64_t vdb__vpci_ports_bytes(uint32_t queues)
{
	return power_of_two((uint64_t)queues * VDB__VPCI_PORT_STEP);
}

/*
 * A store to an address without memory traps into the nested page tables. VMX finds a bell of any width there
 * by the address alone, as fast as a port; SVM has KVM walk the page tables and decode the instruction first:
 * 3609 cycles against 1762 for a port (kvm-unit-tests).
 */
static bool ports_are_faster(void)
{
#if defined(__x86_64__)
	uint32_t max, b, c, d;

	__asm__("cpuid" : "=a"(max), "=b"(b), "=c"(c), "=d"(d) : "a"(0), "c"(0));
	return (b == 0x68747541 && d == 0x69746e65 && c == 0x444d4163) || /* AuthenticAMD */
	       (b == 0x6f677948 && d == 0x6e65476e && c == 0x656e6975);   /* HygonGenuine */
#else
	return false;
#endif
}

bool vdb__vpci_wants_ports(uint32_t notify, uint32_t queues)
{
	if (notify == VDB_NOTIFY_AUTO)
		return queues <= AUTO_QUEUES && ports_are_faster();
	return notify == VDB_NOTIFY_PIO;
}

/* ---- Bells ---- */

static int make(struct vdb__vpci_queue *queue, struct vdb_vm *vm, bool port)
{
	struct vdb_bell_config config = {.size = sizeof(config), .addr = VDB_GPA_ANY};
	int err = vdb_bell_create(vm, &config, &queue->page);

	if (err || !port)
		return err;
	config.flags = VDB_BELL_PORT | VDB_BELL_FD;
	config.fd = vdb_bell_fd(queue->page);
	return vdb_bell_create(vm, &config, &queue->port);
}

int vdb__vpci_bells_make(struct vdb_virtio_pci *vpci, struct vdb_vm *vm, bool ports)
{
	int err = 0;

	for (uint32_t i = 0; i < vpci->queues && !err; i++)
		err = make(&vpci->queue[i], vm, ports);
	return err;
}

void vdb__vpci_bells_destroy(struct vdb_virtio_pci *vpci)
{
	for (uint32_t i = 0; i < vpci->queues; i++) {
		vdb_bell_destroy(vpci->queue[i].port);
		vdb_bell_destroy(vpci->queue[i].page);
	}
}

/* One that KVM has no room for is silent: its queue is rung by ring(), with an exit. */
static void move(struct vdb_bell *bell, uint64_t base, uint64_t offset)
{
	int err = bell ? vdb_bell_move(bell, base == VDB_GPA_ANY ? VDB_GPA_ANY : base + offset) : 0;

	(void)err;
}

void vdb__vpci_bells_move(struct vdb__pci_function *function, uint32_t bar, uint64_t base)
{
	struct vdb_virtio_pci *vpci = vdb__vpci(function);

	for (uint32_t i = 0; i < vpci->queues; i++) {
		if (bar == VDB__VPCI_PAGES_BAR)
			move(vpci->queue[i].page, base, (uint64_t)i * VDB_PAGE_SIZE);
		else if (bar == VDB__VPCI_PORTS_BAR)
			move(vpci->queue[i].port, base, (uint64_t)i * VDB__VPCI_PORT_STEP);
	}
}
