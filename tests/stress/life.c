/* SPDX-License-Identifier: Apache-2.0 */
#include "life.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "held.h"

#define MEMORY 0x400000u
#define IMAGE 0x100000u
#define IMAGE_USER 16u
#define TABLES 0x1000u
#define MMIO 0xd8000000u
#define MMIO_GSI 5u
#define PATIENCE_MS 120000u
#define BIT(feature) (1ull << (feature))

extern const unsigned char lives_guest[], lives_guest_end[];

struct device {
	struct vdb_virtio *virtio;
	struct vdb_virtio_mmio *mmio;
	struct vdb_virtio_pci *pci;
};

struct life {
	const struct life_world *world;
	struct life_sum *sum;
	uint64_t chance;
	struct lives_params params; /* as the guest is given them */
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_loop *loop;
	bool own_loop, started;
	struct vdb_doorbell *doorbell;
	struct vdb_irq *irq;
	struct vdb_lane *lane;
	struct vdb_pci *pci;
	struct device devices[LIVES_KINDS];
	int net_peer, vsock_client;
	char vsock_path[96];
	uint32_t events;  /* that ended a run */
	uint32_t waiting; /* completions to come */
	uint32_t came;
	char text[128]; /* of the last event */
};

static _Thread_local uint64_t seed_now;

void life_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)fprintf(stderr, "life of seed %#llx: ", (unsigned long long)seed_now);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
	va_end(args);
	/* Other threads are in the middle of something. */
	_exit(EXIT_FAILURE);
}

int64_t life_must(int64_t rc, const char *what, const char *file, int line)
{
	if (rc < 0)
		life_die("%s:%d: %s: %s (%s)", file, line, what, vdb_errmsg(), strerror((int)-rc));
	return rc;
}

/* ---- Chance ---- */

static uint64_t next(struct life *life)
{
	life->chance ^= life->chance << 13;
	life->chance ^= life->chance >> 7;
	life->chance ^= life->chance << 17;
	return life->chance;
}

static uint32_t some(struct life *life, uint32_t below)
{
	return (uint32_t)((next(life) >> 32) * below >> 32);
}

static bool one_in(struct life *life, uint32_t n)
{
	return !some(life, n);
}

static bool has(const struct life *life, uint32_t kind)
{
	return life->params.at[kind];
}

/* ---- Completions ---- */

static void came(void *arg)
{
	struct life *life = arg;

	__atomic_fetch_add(&life->came, 1, __ATOMIC_ACQ_REL);
}

static void moved(void *arg, int status)
{
	(void)status; /* it may have met the end of a device's queue */
	came(arg);
}

static void nap(void)
{
	const struct timespec t = {.tv_nsec = 200000};

	nanosleep(&t, NULL);
}

static void await(struct life *life, const uint32_t *word, uint32_t at_least, const char *what)
{
	const uint32_t turns = PATIENCE_MS * 5;

	for (uint32_t i = 0; vdb__load_acquire(word) < at_least; i++, nap())
		if (i == turns)
			life_die("%s does not come: %u of %u; the guest: %s", what, vdb__load_acquire(word),
			         at_least, life->text);
}

static void await_all(struct life *life, const char *what)
{
	await(life, &life->came, life->waiting, what);
}

static void park(struct life *life)
{
	life->waiting++;
	must(vdb_vm_pause(life->vm, came, life));
	await_all(life, "the pause");
}

/* ---- The guest ---- */

#define FIELD(name) (LIVES_PARAMS + (uint32_t)offsetof(struct lives_params, name))

static uint32_t guest_word(struct life *life, uint32_t gpa)
{
	uint32_t value;

	must(vdb_mem_load32(life->mem, gpa, &value));
	return value;
}

static uint64_t guest_done(struct life *life)
{
	uint64_t sum = 0;

	for (uint32_t kind = 0; kind < LIVES_KINDS; kind++)
		sum += guest_word(life, FIELD(done) + 4 * kind);
	return sum;
}

static void load_guest(struct life *life)
{
	struct vdb_x86_start start = {
	        .size = sizeof(start), .entry = IMAGE + IMAGE_USER, .stack = IMAGE, .tables = TABLES};
	static const uint8_t nothing[0x40000]; /* its bss */

	must(vdb_mem_write(life->mem, IMAGE, nothing, sizeof(nothing)));
	must(vdb_mem_write(life->mem, IMAGE, lives_guest, (uint64_t)(lives_guest_end - lives_guest)));
	must(vdb_mem_write(life->mem, LIVES_PARAMS, &life->params, sizeof(life->params)));
	/* Of a reboot: the event has come, but the vCPU may not have left yet. */
	park(life);
	must(vdb_x86_start64(life->vcpu, &start));
	must(vdb_vm_resume(life->vm));
	must(vdb_vcpu_start(life->vcpu, -1, NULL));
	life->started = true;
}

static void check_guest(struct life *life)
{
	uint32_t state = guest_word(life, FIELD(state));

	if (state > LIVES_RUNS && state != LIVES_STOPPED)
		life_die("the guest gave up: state %u, %u", state, guest_word(life, FIELD(wrong)));
	if (vdb__load_acquire(&life->events) && state != LIVES_STOPPED)
		life_die("the guest ended by: %s", life->text);
}

static void until_it_has_done(struct life *life, uint64_t more)
{
	uint64_t from = guest_done(life);

	for (uint32_t i = 0; guest_done(life) < from + more; i++, nap()) {
		check_guest(life);
		if (i == PATIENCE_MS * 5)
			life_die("the guest does no more: %llu requests after the first %llu, of %llu",
			         (unsigned long long)(guest_done(life) - from), (unsigned long long)from,
			         (unsigned long long)more);
	}
}

static int on_event(void *arg, const struct vdb_event *event)
{
	struct life *life = arg;

	(void)snprintf(life->text, sizeof(life->text), "%s (rip %#llx)", event->text,
	               (unsigned long long)event->rip);
	__atomic_fetch_add(&life->events, 1, __ATOMIC_ACQ_REL);
	return VDB_EVENT_STOP;
}

/* The guest's own end: its requests are in flight still. */
static void stop_guest(struct life *life)
{
	must(vdb_mem_store32(life->mem, FIELD(stop), 1));
	await(life, &life->events, 1, "the guest's end");
	if (guest_word(life, FIELD(state)) != LIVES_STOPPED)
		life_die("the guest ended by: %s", life->text);
}

static void add_up(struct life *life)
{
	for (uint32_t kind = 0; kind < LIVES_KINDS; kind++)
		life->sum->done[kind] += guest_word(life, FIELD(done) + 4 * kind);
	life->sum->resets += guest_word(life, FIELD(resets));
}

/* ---- Birth ---- */

static void make_memory(struct life *life)
{
	struct vdb_region_config region = {.size = sizeof(region), .len = MEMORY};

	region.backing = one_in(life, 2) ? VDB_MEM_ANON : VDB_MEM_MEMFD;
	must(vdb_mem_create(&life->mem));
	must(vdb_mem_add(life->mem, &region));
}

static void make_vm(struct life *life)
{
	struct vdb_vm_config config = {.size = sizeof(config), .event = on_event, .event_arg = life};

	if (one_in(life, 2))
		config.worker = life->world->worker;
	must(vdb_vm_create(life->world->kvm, life->mem, &config, &life->vm));
	must(vdb_vcpu_create(life->vm, 0, &life->vcpu));
}

static void make_loop(struct life *life)
{
	struct vdb_loop_config config = {.size = sizeof(config), .cq_entries = 1024, .pool_threads = -1};

	life->own_loop = one_in(life, 4);
	if (!life->own_loop) {
		life->loop = life->world->loops[some(life, LIFE_LOOPS)];
		return;
	}
	/* ThreadSanitizer does not see liburing unmap a ring, and takes the next one there for the same. */
	config.engine = one_in(life, 3) || HELD_TSAN ? VDB_ENGINE_EPOLL : VDB_ENGINE_AUTO;
	if (one_in(life, 2))
		config.flags = VDB_LOOP_REGISTER_MEMORY;
	if (one_in(life, 2))
		config.poll_ns = 50000;
	must(vdb_loop_create(&config, &life->loop));
	must(vdb_loop_start(life->loop, -1, NULL));
	life->sum->own_loops++;
}

static struct vdb_backend *make_disk(struct life *life)
{
	struct vdb_file_config config = {.size = sizeof(config), .fd = life->world->disk};
	struct vdb_backend *backend;

	if (one_in(life, 4))
		must(vdb_backend_null(LIVES_DISK, &backend));
	else
		must(vdb_backend_file(&config, &backend));
	return backend;
}

static void make_native(struct life *life)
{
	const struct vdb_doorbell_ring ring = {.ring_gpa = LIVES_RING,
	                                       .sq_entries = LIVES_ENTRIES,
	                                       .cq_entries = LIVES_ENTRIES,
	                                       .features = VDB_F_EVENT_IDX};
	const struct vdb_doorbell_config bell = {
	        .size = sizeof(bell), .addr = VDB_GPA_ANY, .rings = &ring, .ring_count = 1, .describe = 1};
	const struct vdb_irq_config irq = {
	        .size = sizeof(irq), .kind = VDB_IRQ_MSI, .msi_address = 0xfee00000, .msi_data = 64};
	const struct vdb_ring_config config = {.size = sizeof(config),
	                                       .sq_entries = LIVES_ENTRIES,
	                                       .gpa = LIVES_RING,
	                                       .features = VDB_F_EVENT_IDX};
	struct vdb_doorbell_config kind = bell;
	struct vdb_lane_config lane = {.size = sizeof(lane)};
	struct vdb_backend *backend = make_disk(life);
	struct vdb_queue *queue;

	kind.kind = some(life, 3);
	kind.describe = kind.kind != VDB_DOORBELL_PAGE;
	must(vdb_doorbell_create(life->vm, &kind, &life->doorbell));
	must(vdb_irq_create(life->vm, &irq, &life->irq));
	lane.kick_fd = vdb_doorbell_fd(life->doorbell, 0);
	lane.call_fd = vdb_irq_fd(life->irq);
	must(vdb_ring_create(life->mem, &config, &queue));
	must(vdb_lane_create(life->loop, queue, backend, &lane, &life->lane));
	vdb_backend_destroy(backend);
	life->params.at[LIVES_NATIVE] = (uint32_t)vdb_doorbell_page(life->doorbell);
}

static void plug_mmio(struct life *life, uint32_t kind)
{
	const struct vdb_virtio_mmio_config config = {
	        .size = sizeof(config), .gsi = MMIO_GSI + kind, .base = MMIO + kind * VDB_VIRTIO_MMIO_BYTES};

	must(vdb_virtio_mmio_create(life->vm, life->devices[kind].virtio, &config,
	                            &life->devices[kind].mmio));
	life->params.at[kind] = (uint32_t)config.base;
}

static struct vdb_virtio_config place(const struct life *life)
{
	return (struct vdb_virtio_config){
	        .size = sizeof(struct vdb_virtio_config), .mem = life->mem, .loop = life->loop};
}

static void make_blk(struct life *life, uint32_t kind)
{
	const struct vdb_virtio_config at = place(life);
	struct vdb_blk_config config = {.size = sizeof(config), .at = &at, .backend = make_disk(life)};

	must(vdb_blk_create(&config, &life->devices[kind].virtio));
	vdb_backend_destroy(config.backend);
}

static void make_pci(struct life *life)
{
	struct vdb_pci_config config = {.size = sizeof(config), .loop = life->loop};
	struct vdb_virtio_pci_config slot = {.size = sizeof(slot)};

	slot.notify = some(life, 3);
	must(vdb_pci_create(life->vm, &config, &life->pci));
	make_blk(life, LIVES_PCI);
	must(vdb_virtio_pci_create(life->pci, life->devices[LIVES_PCI].virtio, &slot,
	                           &life->devices[LIVES_PCI].pci));
	life->params.at[LIVES_PCI] = 1;
}

static void make_net(struct life *life)
{
	const struct vdb_virtio_config at = place(life);
	struct vdb_net_config config = {.size = sizeof(config)};
	struct vdb_net_socket_config wire = {.size = sizeof(wire)};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds))
		life_die("socketpair: %s", strerror(errno));
	wire.fd = fds[0];
	life->net_peer = fds[1];
	must(vdb_netdev_dgram(&wire, &config.netdev));
	close(fds[0]);
	must(vdb_net_create(&at, &config, &life->devices[LIVES_NET].virtio));
	vdb_netdev_destroy(config.netdev);
	plug_mmio(life, LIVES_NET);
}

static void make_vsock(struct life *life)
{
	const struct vdb_virtio_config at = place(life);
	const struct vdb_vsock_config config = {.size = sizeof(config), .cid = 3, .path = life->vsock_path};

	(void)snprintf(life->vsock_path, sizeof(life->vsock_path), "%s/%llx", life->world->dir,
	               (unsigned long long)seed_now);
	must(vdb_vsock_create(&at, &config, &life->devices[LIVES_VSOCK].virtio));
	plug_mmio(life, LIVES_VSOCK);
}

static void make_devices(struct life *life)
{
	uint32_t which = some(life, 1u << LIVES_KINDS);

	if (which & 1u << LIVES_NATIVE)
		make_native(life);
	if (which & 1u << LIVES_MMIO) {
		make_blk(life, LIVES_MMIO);
		plug_mmio(life, LIVES_MMIO);
	}
	if (which & 1u << LIVES_PCI)
		make_pci(life);
	if (which & 1u << LIVES_NET)
		make_net(life);
	if (which & 1u << LIVES_VSOCK)
		make_vsock(life);
	for (uint32_t kind = 0; kind < LIVES_KINDS; kind++)
		life->sum->with[kind] += has(life, kind);
}

/* ---- Life ---- */

/* There may be room for none, or nothing to read: it does not matter. */
static void use_net(struct life *life)
{
	uint8_t frame[300] = {0};
	uint32_t n = some(life, 32);

	while (n--) {
		(void)!send(life->net_peer, frame, sizeof(frame), MSG_DONTWAIT | MSG_NOSIGNAL);
		(void)!recv(life->net_peer, frame, sizeof(frame), MSG_DONTWAIT);
	}
}

static void use_vsock(struct life *life)
{
	static const char words[] = "CONNECT 5\n";
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (life->vsock_client >= 0)
		close(life->vsock_client);
	life->vsock_client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	memcpy(to.sun_path, life->vsock_path, sizeof(life->vsock_path));
	if (connect(life->vsock_client, (const struct sockaddr *)&to, sizeof(to)))
		life_die("%s: %s", life->vsock_path, strerror(errno));
	(void)!send(life->vsock_client, words, sizeof(words) - 1, MSG_NOSIGNAL);
}

static void pause_it(struct life *life)
{
	park(life);
	must(vdb_vm_resume(life->vm));
	life->sum->pauses++;
}

/* To another of the loops that all share, which may be the one it has. */
static void move_it(struct life *life)
{
	struct vdb_loop *to = life->world->loops[some(life, LIFE_LOOPS)];
	uint32_t kind = LIVES_MMIO + some(life, 2);

	if (life->own_loop)
		return;
	life->waiting++;
	if (life->lane && one_in(life, 2))
		must(vdb_lane_move(life->lane, to, NULL, moved, life));
	else if (life->devices[kind].virtio)
		must(vdb_virtio_queue_move(life->devices[kind].virtio, 0, to, NULL, moved, life));
	else
		came(life);
	await_all(life, "the move");
	life->sum->moves++;
}

static void reboot(struct life *life)
{
	stop_guest(life);
	add_up(life);
	__atomic_store_n(&life->events, 0, __ATOMIC_RELEASE);
	load_guest(life);
	life->sum->reboots++;
}

static void do_something(struct life *life)
{
	switch (some(life, 8)) {
	case 0:
		pause_it(life);
		break;
	case 1:
		vdb_vcpu_kick(life->vcpu);
		break;
	case 2:
		move_it(life);
		break;
	case 3:
		reboot(life);
		break;
	default:
		break;
	}
	if (has(life, LIVES_NET))
		use_net(life);
	if (has(life, LIVES_VSOCK))
		use_vsock(life);
	if (has(life, LIVES_NATIVE) || has(life, LIVES_MMIO) || has(life, LIVES_PCI))
		until_it_has_done(life, some(life, 100));
	check_guest(life);
}

/* ---- The end ---- */

static void count_under(struct life *life)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	if (life->lane) {
		must(vdb_lane_stats(life->lane, &stats));
		life->sum->under += stats.inflight;
	}
	for (uint32_t kind = LIVES_MMIO; kind <= LIVES_PCI; kind++) {
		if (!life->devices[kind].virtio)
			continue;
		must(vdb_virtio_queue_stats(life->devices[kind].virtio, 0, &stats));
		life->sum->under += stats.inflight;
	}
}

static void stop_vm(struct life *life)
{
	life->waiting++;
	must(vdb_vm_stop(life->vm, came, life));
	await_all(life, "the stop");
}

/* Its lane goes with the loop, if that goes first. */
static void end_native(struct life *life)
{
	if (life->lane) {
		life->waiting++;
		vdb_lane_destroy(life->lane, came, life);
		life->lane = NULL;
	}
	vdb_irq_destroy(life->irq);
	vdb_doorbell_destroy(life->doorbell);
	life->irq = NULL;
	life->doorbell = NULL;
}

static void end_loop(struct life *life)
{
	if (!life->own_loop)
		return;
	must(vdb_loop_join(life->loop));
	must(vdb_loop_destroy(life->loop));
	life->own_loop = false;
}

static void end_devices(struct life *life)
{
	for (uint32_t kind = 0; kind < LIVES_KINDS; kind++) {
		struct device *device = &life->devices[kind];

		if (!device->virtio)
			continue;
		vdb_virtio_mmio_destroy(device->mmio);
		vdb_virtio_pci_destroy(device->pci);
		life->waiting++;
		vdb_virtio_destroy(device->virtio, came, life);
	}
	must(vdb_pci_destroy(life->pci));
}

static void hang_up(struct life *life)
{
	if (life->net_peer >= 0)
		close(life->net_peer);
	if (life->vsock_client >= 0)
		close(life->vsock_client);
	life->net_peer = life->vsock_client = -1;
}

/* Where transports are, vCPUs must stand still first; a native ring may go under a guest that uses it. */
static void stop_somehow(struct life *life)
{
	bool transports = false;

	for (uint32_t kind = LIVES_MMIO; kind < LIVES_KINDS; kind++)
		transports |= has(life, kind);
	if (one_in(life, 4))
		hang_up(life);
	switch (some(life, 4)) {
	case 0:
		if (life->started)
			stop_guest(life);
		if (transports)
			stop_vm(life);
		break;
	case 1:
		end_native(life);
		if (transports)
			stop_vm(life);
		break;
	default:
		stop_vm(life);
	}
}

static void end_life(struct life *life)
{
	count_under(life);
	stop_somehow(life);
	if (one_in(life, 2))
		end_loop(life);
	end_native(life);
	end_devices(life);
	if (one_in(life, 2))
		await_all(life, "the end of the devices");
	life->waiting++;
	must(vdb_vm_destroy(life->vm, came, life));
	await_all(life, "the end of the VM");
	end_loop(life);
	add_up(life);
	must(vdb_mem_destroy(life->mem));
	hang_up(life);
}

void life_live(const struct life_world *world, uint64_t seed, struct life_sum *sum)
{
	struct life life = {
	        .world = world, .sum = sum, .chance = seed | 1, .net_peer = -1, .vsock_client = -1};

	seed_now = seed;
	for (int i = 0; i < 8; i++)
		(void)next(&life);
	life.params.reset_every = one_in(&life, 2) ? 20 + some(&life, 100) : 0;
	if (one_in(&life, 2))
		life.params.features |= BIT(VIRTIO_F_RING_PACKED);
	if (one_in(&life, 2))
		life.params.features |= BIT(VIRTIO_RING_F_EVENT_IDX);
	make_memory(&life);
	make_loop(&life);
	make_vm(&life);
	make_devices(&life);
	/* Some end before they begin. */
	if (!one_in(&life, 16)) {
		load_guest(&life);
		for (uint32_t n = 1 + some(&life, 3); n; n--)
			do_something(&life);
	}
	end_life(&life);
	sum->lives++;
}
