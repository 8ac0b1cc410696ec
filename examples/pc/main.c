/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PC that boots Linux, or any ELF file with a PVH entry: serial port, PCI, and on it a disk, a network with
 * one host (../custom_netdev), sockets, a balloon, and a folder if a virtiofsd is there to serve it.
 *
 *     pc KERNEL DISK [CMDLINE [INITRD [VIRTIOFSD-SOCKET]]]
 *
 * On the host, what listens on port 1234 of the guest is reached by `socat - UNIX-CONNECT:pc.vsock` and
 * `CONNECT 1234`. In the guest: ping 10.0.2.2; mount -t virtiofs host /mnt.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vdb/vdb.h>

#include "../custom_netdev/echo.h"

#define MEMORY_BYTES (512u << 20)
#define BALLOON_BYTES (16u << 20)
#define TABLES 0xe0000u
#define PARTS (VDB_PLATFORM_I8042 | VDB_PLATFORM_RTC | VDB_PLATFORM_PM | VDB_PLATFORM_DEBUG_EXIT)

enum { DISK, NET, VSOCK, BALLOON, RNG, FS, DEVICES };

/* All of the VMM. */
struct pc {
	const char *kernel, *disk, *cmdline, *initrd, *virtiofsd;
	struct vdb_gate *over; /* opens when the guest has ended */
	struct vdb_mem *mem;
	struct vdb_kvm *kvm;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_loop *loop;
	struct vdb_tenant *tenant;
	struct vdb_chardev *terminal;
	struct vdb_serial *serial;
	struct vdb_platform *platform;
	struct vdb_pci *pci;
	struct vdb_virtio *device[DEVICES];
	struct vdb_virtio_pci *slot[DEVICES];
};

/* ---- The machine ---- */

/* Shared, for virtiofsd; discardable, for the balloon. What there is when the VM is made is cheap. */
static int make_memory(struct pc *pc)
{
	const struct vdb_region_config ram = {.size = sizeof(ram),
	                                      .flags = VDB_REGION_DISCARDABLE,
	                                      .len = MEMORY_BYTES,
	                                      .backing = VDB_MEM_MEMFD};
	int err = vdb_mem_create(&pc->mem);

	return err ? err : vdb_mem_add(pc->mem, &ram);
}

/* On the vCPU's thread: power-off, a triple fault, or whatever else ends it. */
static int event(void *arg, const struct vdb_event *event)
{
	struct pc *pc = arg;

	fprintf(stderr, "pc: %s\n", event->text);
	vdb_gate_open(pc->over, event->kind);
	return VDB_EVENT_STOP;
}

static int make_vm(struct pc *pc)
{
	const struct vdb_vm_config config = {
	        .size = sizeof(config), .event = event, .event_arg = pc, .flags = VDB_VM_PIT};
	int err = vdb_gate_create(&pc->over);

	if (!err)
		err = vdb_kvm_open(NULL, &pc->kvm);
	if (!err)
		err = vdb_vm_create(pc->kvm, pc->mem, &config, &pc->vm);
	if (!err)
		err = vdb_cpuid_topology(pc->vm, 1);
	return err ? err : vdb_vcpu_create(pc->vm, 0, &pc->vcpu);
}

/* It runs from here on, so that whatever fails later can be taken apart in one way. */
static int make_loop(struct pc *pc)
{
	int err = vdb_loop_create(NULL, &pc->loop);

	if (!err)
		err = vdb_tenant_create(pc->loop, &pc->tenant);
	return err ? err : vdb_loop_start(pc->loop, -1, "loop0");
}

/* The terminal's descriptors are numbers above 0: 0 is "none". */
static int make_serial(struct pc *pc)
{
	int in = dup(STDIN_FILENO);
	const struct vdb_chardev_config terminal = {
	        .size = sizeof(terminal), .out_fd = STDOUT_FILENO, .in_fd = in};
	struct vdb_serial_config serial = {.size = sizeof(serial)};
	int err = vdb_chardev_create(pc->loop, &terminal, &pc->terminal);

	if (in >= 0)
		close(in); /* it has its own */
	serial.chardev = pc->terminal;
	return err ? err : vdb_serial_create(pc->vm, &serial, &pc->serial);
}

static int make_parts(struct pc *pc)
{
	const struct vdb_platform_config platform = {
	        .size = sizeof(platform), .parts = PARTS, .loop = pc->loop};
	const struct vdb_pci_config pci = {.size = sizeof(pci), .loop = pc->loop};
	int err = make_serial(pc);

	if (!err)
		err = vdb_platform_create(pc->vm, &platform, &pc->platform);
	return err ? err : vdb_pci_create(pc->vm, &pci, &pc->pci);
}

/* ---- Its devices ---- */

/* The disk holds the backend, and the card the netdev: what is ours of them goes at once. */
static int make_disk(struct pc *pc, const struct vdb_virtio_config *at)
{
	const struct vdb_file_config file = {.size = sizeof(file), .flags = VDB_FILE_LOCK, .path = pc->disk};
	struct vdb_blk_config disk = {.size = sizeof(disk), .at = at};
	int err = vdb_backend_file(&file, &disk.backend);

	if (!err)
		err = vdb_blk_create(&disk, &pc->device[DISK]);
	vdb_backend_destroy(disk.backend);
	return err;
}

static int make_net(struct pc *pc, const struct vdb_virtio_config *at)
{
	static const uint8_t host[] = {10, 0, 2, 2};
	struct vdb_net_config net = {.size = sizeof(net)};
	int err = echo_create(host, &net.netdev);

	if (!err)
		err = vdb_net_create(at, &net, &pc->device[NET]);
	vdb_netdev_destroy(net.netdev);
	return err;
}

static int make_devices(struct pc *pc)
{
	const struct vdb_virtio_config at = {
	        .size = sizeof(at), .mem = pc->mem, .loop = pc->loop, .tenant = pc->tenant};
	const struct vdb_vsock_config vsock = {.size = sizeof(vsock), .cid = 3, .path = "pc.vsock"};
	const struct vdb_balloon_config balloon = {
	        .size = sizeof(balloon), .at = &at, .target = BALLOON_BYTES, .stats_ms = 1000};
	const struct vdb_fs_config fs = {.size = sizeof(fs), .at = &at, .tag = "host", .path = pc->virtiofsd};
	int err = make_disk(pc, &at);

	if (!err)
		err = make_net(pc, &at);
	if (!err)
		err = vdb_vsock_create(&at, &vsock, &pc->device[VSOCK]);
	if (!err)
		err = vdb_balloon_create(&balloon, &pc->device[BALLOON]);
	if (!err)
		err = vdb_rng_create(&at, &pc->device[RNG]);
	if (!err && pc->virtiofsd)
		err = vdb_fs_create(&fs, &pc->device[FS]);
	return err;
}

static int plug_devices(struct pc *pc)
{
	const struct vdb_virtio_pci_config config = {.size = sizeof(config)};
	int err = 0;

	for (int i = 0; i < DEVICES && !err; i++) {
		if (pc->device[i])
			err = vdb_virtio_pci_create(pc->pci, pc->device[i], &config, &pc->slot[i]);
	}
	return err;
}

/* ---- Its life ---- */

/* What the guest is told: the tables describe what has been made above. */
static int describe(struct pc *pc)
{
	struct vdb_pci_config pci = {.size = sizeof(pci)};
	const struct vdb_machine machine = {.size = sizeof(machine),
	                                    .cpus = 1,
	                                    .platform_parts = PARTS,
	                                    .serial_gsi = 4,
	                                    .serial_port = 0x3f8,
	                                    .pci = &pci};
	unsigned char tables[0x4000];
	int64_t len = vdb_pci_query(pc->pci, &pci);

	if (!len)
		len = vdb_acpi_build(&machine, TABLES, tables, sizeof(tables));
	return len < 0 ? (int)len : vdb_mem_write(pc->mem, TABLES, tables, (uint64_t)len);
}

static int run(struct pc *pc)
{
	const struct vdb_boot_config boot = {.size = sizeof(boot),
	                                     .kernel = pc->kernel,
	                                     .initrd = pc->initrd,
	                                     .cmdline = pc->cmdline,
	                                     .rsdp = TABLES};
	struct vdb_boot_info info = {.size = sizeof(info)};
	int64_t why;
	int err = vdb_boot_load(pc->mem, &boot, &info);

	if (!err)
		err = vdb_boot_start(pc->vcpu, &info);
	if (!err)
		err = vdb_vcpu_start(pc->vcpu, -1, NULL);
	return err ? err : vdb_gate_wait(pc->over, -1, &why);
}

static int report(struct pc *pc)
{
	struct vdb_tenant_stats all = {.size = sizeof(all)};
	struct vdb_lane_stats disk = {.size = sizeof(disk)};
	struct vdb_net_stats net = {.size = sizeof(net)};
	struct vdb_balloon_info balloon = {.size = sizeof(balloon)};
	int err = vdb_tenant_stats(pc->tenant, &all);

	if (!err)
		err = vdb_virtio_queue_stats(pc->device[DISK], 0, &disk);
	if (!err)
		err = vdb_net_stats(pc->device[NET], VDB_NET_ALL, &net);
	if (!err)
		err = vdb_balloon_query(pc->device[BALLOON], &balloon);
	if (err)
		return err;
	fprintf(stderr,
	        "pc: %" PRIu64 " requests, %" PRIu64 " bells, %" PRIu64 " interrupts; disk %" PRIu64
	        " requests, net %" PRIu64 " out %" PRIu64 " in, balloon %" PRIu64 " bytes\n",
	        all.requests, all.bells, all.irqs, disk.requests, net.tx_packets, net.rx_packets,
	        balloon.inflated);
	return 0;
}

/* ---- Its end ---- */

static void open_gate(void *gate)
{
	vdb_gate_open(gate, 0);
	vdb_gate_unref(gate);
}

/* Until its done() a device may have the memory: virtiofsd's has a thread of its own. */
static int destroy_device(struct vdb_virtio *device)
{
	struct vdb_gate *gone;
	int64_t result;
	int err = device ? vdb_gate_create(&gone) : 0;

	if (err || !device)
		return err;
	vdb_virtio_destroy(device, open_gate, vdb_gate_ref(gone));
	err = vdb_gate_wait(gone, -1, &result);
	vdb_gate_unref(gone);
	return err;
}

static int stop(struct pc *pc)
{
	struct vdb_gate *stopped;
	int64_t result;
	int err = pc->vm ? vdb_gate_create(&stopped) : 0;

	if (err || !pc->vm)
		return err;
	err = vdb_vm_stop(pc->vm, open_gate, vdb_gate_ref(stopped));
	if (!err)
		err = vdb_gate_wait(stopped, -1, &result);
	vdb_gate_unref(stopped);
	return err;
}

/* No vCPU runs. Transports first, while the loop runs; then what they were made of. NULL is fine. */
static int unplug(struct pc *pc)
{
	int err = 0;

	for (int i = 0; i < DEVICES; i++)
		vdb_virtio_pci_destroy(pc->slot[i]);
	for (int i = 0; i < DEVICES && !err; i++)
		err = destroy_device(pc->device[i]);
	if (!err)
		err = vdb_pci_destroy(pc->pci);
	vdb_serial_destroy(pc->serial);
	vdb_chardev_destroy(pc->terminal, NULL, NULL);
	vdb_platform_destroy(pc->platform);
	vdb_tenant_destroy(pc->tenant);
	return err;
}

/* The loop, then the VM, its memory last. */
static int take_apart(struct pc *pc)
{
	int err = stop(pc);

	if (!err)
		err = unplug(pc);
	if (!err && pc->loop)
		err = vdb_loop_join(pc->loop);
	if (!err)
		err = vdb_loop_destroy(pc->loop);
	if (!err)
		err = vdb_vm_destroy(pc->vm, NULL, NULL);
	if (!err)
		err = vdb_mem_destroy(pc->mem);
	vdb_kvm_close(pc->kvm);
	vdb_gate_unref(pc->over);
	return err;
}

int main(int argc, char **argv)
{
	static int (*const steps[])(struct pc *) = {make_memory, make_vm,      make_loop,
	                                            make_parts,  make_devices, plug_devices,
	                                            describe,    run,          report};
	struct pc pc = {0};
	int err = 0;

	if (argc < 3 || argc > 6) {
		fprintf(stderr, "usage: pc KERNEL DISK [CMDLINE [INITRD [VIRTIOFSD-SOCKET]]]\n");
		return 2;
	}
	pc.kernel = argv[1];
	pc.disk = argv[2];
	pc.cmdline = argc > 3 ? argv[3] : "console=ttyS0 panic=-1";
	pc.initrd = argc > 4 && *argv[4] ? argv[4] : NULL;
	pc.virtiofsd = argc > 5 ? argv[5] : NULL;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !err; i++) {
		err = steps[i](&pc);
		if (err)
			fprintf(stderr, "pc: %s\n", vdb_errmsg());
	}
	if (take_apart(&pc)) {
		fprintf(stderr, "pc: %s\n", vdb_errmsg());
		err = 1;
	}
	return err != 0;
}
