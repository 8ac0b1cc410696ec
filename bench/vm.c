/* SPDX-License-Identifier: Apache-2.0 */
/* The VM of a benchmark, from its memory to its end. */
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "bench.h"
#include "layout.h"

/* The guest's image, inside the program. */
extern const unsigned char bench_guest[], bench_guest_end[];

#define RAM_BYTES (16u << 20)
#define MAILBOX GUEST_FREE
#define RING (GUEST_FREE + 0x1000u)
#define BUFFERS (GUEST_FREE + 0x10000u)
#define SAMPLES (GUEST_FREE + 0x100000u)
#define ROOM ((RAM_BYTES - SAMPLES) / 8)
#define MATCH 7u
#define POLL_NS 50000u

/* ---- Creation ---- */

static void make_memory(struct bench_vm *vm)
{
	struct vdb_region_config ram = {
	        .size = sizeof(ram), .len = RAM_BYTES, .backing = VDB_MEM_HOST, .flags = 0};

	vm->ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
	               -1, 0);
	if (vm->ram == MAP_FAILED)
		bench_die(BENCH_FAILED, "no memory");
	ram.host = vm->ram;
	bench_must(vdb_mem_create(&vm->mem));
	bench_must(vdb_mem_add(vm->mem, &ram));
	bench_must(
	        vdb_mem_write(vm->mem, GUEST_IMAGE, bench_guest, (uint64_t)(bench_guest_end - bench_guest)));
	vm->box = (struct bench_mailbox *)(void *)(vm->ram + MAILBOX);
	vm->samples = (uint64_t *)(void *)(vm->ram + SAMPLES);
	vm->box->buffers = BUFFERS;
	vm->box->samples = SAMPLES;
	vm->box->room = ROOM;
}

static void exited(void *ctx, struct vdb_bus_access *access)
{
	struct bench_vm *vm = ctx;

	(void)access;
	bench_must(vdb_vm_stop(vm->vm, NULL, NULL));
	vdb_gate_open(vm->exited, 0);
}

static int faulted(void *arg, const struct vdb_event *event)
{
	struct bench_vm *vm = arg;

	snprintf(vm->event, sizeof(vm->event), "%s (rip %#llx)", event->text, (unsigned long long)event->rip);
	vdb_gate_open(vm->exited, -EFAULT);
	return VDB_EVENT_STOP;
}

static void make_vm(struct bench_vm *vm)
{
	static const struct vdb_bus_ops port = {.size = sizeof(port), .write = exited};
	struct vdb_vm_config config = {.size = sizeof(config),
	                               .event = faulted,
	                               .event_arg = vm,
	                               .doorbell_pages = 1,
	                               .doorbell_ports = 1};
	int err = vdb_kvm_open(NULL, &vm->kvm);

	if (err == -ENOENT || err == -EACCES || err == -ENOTSUP)
		bench_die(BENCH_SKIPPED, "%s", vdb_errmsg());
	bench_must(err);
	bench_must(vdb_vm_create(vm->kvm, vm->mem, &config, &vm->vm));
	bench_must(vdb_gate_create(&vm->exited));
	bench_must(vdb_bus_add(vdb_vm_pio(vm->vm), "exit", GUEST_EXIT_PORT, 4, &port, vm));
	bench_must(vdb_vcpu_create(vm->vm, 0, &vm->vcpu));
}

static void make_doorbell(struct bench_vm *vm, uint32_t kind)
{
	struct vdb_doorbell_ring ring = {
	        .ring_gpa = RING,
	        .sq_entries = BENCH_DEPTH,
	        .cq_entries = BENCH_DEPTH,
	        .features = VDB_F_EVENT_IDX,
	        .match = MATCH,
	};
	struct vdb_doorbell_ring rings[2] = {ring, ring};
	struct vdb_doorbell_config config = {
	        .size = sizeof(config),
	        .kind = kind == BENCH_MATCH ? VDB_DOORBELL_MMIO : kind,
	        .addr = VDB_GPA_ANY,
	        .rings = rings,
	        .ring_count = kind == BENCH_MATCH ? 2 : 1,
	        .describe = kind != VDB_DOORBELL_PAGE,
	};

	/* The other one is there to be told apart; nobody rings it. */
	rings[1].ring_gpa += VDB_RING_BYTES(BENCH_DEPTH, BENCH_DEPTH);
	rings[1].ring_id = 1;
	rings[1].match = MATCH + 1;
	bench_must(vdb_doorbell_create(vm->vm, &config, &vm->doorbell));
}

void bench_vm_create(struct bench_vm *vm, const struct bench_options *options, uint32_t kind)
{
	*vm = (struct bench_vm){.options = options};
	make_memory(vm);
	make_vm(vm);
	make_doorbell(vm, kind);
}

/* ---- Clocks ---- */

static uint64_t ask(struct bench_mailbox *box, uint32_t question, uint64_t *before, uint64_t *after)
{
	uint64_t deadline = bench_ns() + 10000000000u;

	*before = bench_tsc();
	__atomic_store_n(&box->asked, question, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&box->answered, __ATOMIC_ACQUIRE) != question) {
		if (bench_tsc() - *before > 100000000 && bench_ns() > deadline)
			bench_die(BENCH_FAILED, "the guest does not answer");
	}
	*after = bench_tsc();
	return box->tsc;
}

/*
 * The guest's TSC may be offset from the host's (KVM starts that of a new VM at 0 where the hardware
 * can offset it). The guest says what it has, between two looks at the host's: the offset lies between
 * the differences, for each of many questions, and so in all their intersection. If that contains
 * 0, there is no offset: both read one counter. Asked from the loop's CPU, whose TSC it is about.
 */
static void compare_clocks(struct bench_vm *vm)
{
	int64_t low = INT64_MIN, high = INT64_MAX;

	bench_pin(vm->options->loop_cpu);
	for (uint32_t question = 1; question <= 10000; question++) {
		uint64_t before, after, guest = ask(vm->box, question, &before, &after);

		if ((int64_t)(guest - after) > low)
			low = (int64_t)(guest - after);
		if ((int64_t)(guest - before) < high)
			high = (int64_t)(guest - before);
	}
	bench_unpin();
	/* Empty: the two CPUs' counters differ by so much, or one was adjusted meanwhile. */
	vm->tsc_doubt = (uint64_t)(low > high ? low - high : 0);
	vm->tsc_ahead = low <= 0 && high >= 0 ? 0 : low + (high - low) / 2;
	if (vm->tsc_ahead && low <= high)
		vm->tsc_doubt = (uint64_t)(high - low) / 2;
}

/* ---- Life ---- */

void bench_vm_start(struct bench_vm *vm)
{
	struct vdb_x86_start start = {
	        .size = sizeof(start),
	        .entry = GUEST_IMAGE + GUEST_USER,
	        .stack = GUEST_STACK,
	        .arg = {vdb_doorbell_page(vm->doorbell), MAILBOX},
	        .tables = GUEST_TABLES,
	};

	bench_must(vdb_x86_start64(vm->vcpu, &start));
	if (vdb_vcpu_start(vm->vcpu, vm->options->vcpu_cpu, "vcpu"))
		bench_die(BENCH_SKIPPED, "%s; name other CPUs: -c VCPU,LOOP", vdb_errmsg());
	compare_clocks(vm);
}

void bench_vm_serve(struct bench_vm *vm, struct vdb_backend *backend, uint32_t poll_ns)
{
	struct vdb_loop_config loop = {.size = sizeof(loop), .poll_ns = poll_ns, .poll_mode = vm->poll_mode};
	struct vdb_ring_config ring = {
	        .size = sizeof(ring), .sq_entries = BENCH_DEPTH, .gpa = RING, .features = VDB_F_EVENT_IDX};
	struct vdb_lane_config lane = {
	        .size = sizeof(lane), .kick_fd = vdb_doorbell_fd(vm->doorbell, 0), .limit = vm->limit};
	struct vdb_queue *queue;

	bench_must(vdb_loop_create(&loop, &vm->loop));
	bench_must(vdb_loop_start(vm->loop, vm->options->loop_cpu, "loop"));
	bench_must(vdb_ring_create(vm->mem, &ring, &queue));
	bench_must(vdb_lane_create(vm->loop, queue, backend, &lane, &vm->lane));
	vdb_backend_destroy(backend);
}

static void explain(struct bench_vm *vm)
{
	const struct bench_mailbox *box = vm->box;

	if (*vm->event)
		bench_die(BENCH_FAILED, "the guest: %s", vm->event);
	if (box->state == BENCH_STARTING)
		bench_die(BENCH_FAILED, "the guest came to no end; %llu requests so far",
		          (unsigned long long)box->all);
	if (box->state != BENCH_DONE)
		bench_die(BENCH_FAILED, "the guest gave up: state %u, detail %lld", box->state,
		          (long long)box->detail);
	if (box->wrong)
		bench_die(BENCH_FAILED, "%llu of %llu requests went wrong", (unsigned long long)box->wrong,
		          (unsigned long long)box->all);
}

static void collect(struct bench_vm *vm)
{
	vm->loop_stats.size = sizeof(vm->loop_stats);
	vm->lane_stats.size = sizeof(vm->lane_stats);
	bench_must(vdb_loop_stats(vm->loop, &vm->loop_stats));
	bench_must(vdb_lane_stats(vm->lane, &vm->lane_stats));
	if (vm->lane_stats.completions != vm->box->all)
		bench_die(BENCH_FAILED, "%llu completions published, %llu seen by the guest",
		          (unsigned long long)vm->lane_stats.completions, (unsigned long long)vm->box->all);
}

void bench_vm_run(struct bench_vm *vm, uint64_t ms)
{
	int64_t result;
	int err;

	__atomic_store_n(&vm->box->asked, BENCH_GO, __ATOMIC_SEQ_CST);
	err = vdb_gate_wait(vm->exited, (int64_t)(ms + 20000) * 1000000, &result);
	if (err != -ETIMEDOUT)
		bench_must(err);
	explain(vm);
	if (vm->lane)
		collect(vm);
}

static void destroy_loop(struct bench_vm *vm)
{
	struct vdb_gate *gone = bench_gate();

	vdb_lane_destroy(vm->lane, bench_gate_open, vdb_gate_ref(gone));
	bench_gate_wait(gone);
	bench_must(vdb_loop_join(vm->loop));
	bench_must(vdb_loop_destroy(vm->loop));
}

void bench_vm_read(struct bench_vm *vm, const struct bench_options *o, const struct bench_case *c,
                   struct vdb_backend *backend, uint64_t blocks)
{
	vm->box->mode = BENCH_REQUESTS;
	vm->box->depth = c->depth;
	vm->box->blocks = blocks;
	vm->box->duration = bench_ms_to_ticks(o->ms);
	vm->box->warm_up = vm->box->duration / 10;
	bench_vm_start(vm);
	bench_vm_serve(vm, backend, c->polling ? POLL_NS : 0);
	bench_vm_run(vm, o->ms * 2);
}

void bench_vm_destroy(struct bench_vm *vm)
{
	struct vdb_gate *gone = bench_gate();

	if (vm->loop)
		destroy_loop(vm);
	vdb_doorbell_destroy(vm->doorbell);
	bench_must(vdb_vm_destroy(vm->vm, bench_gate_open, vdb_gate_ref(gone)));
	bench_gate_wait(gone);
	vdb_gate_unref(vm->exited);
	vdb_kvm_close(vm->kvm);
	bench_must(vdb_mem_destroy(vm->mem));
	munmap(vm->ram, RAM_BYTES);
}
