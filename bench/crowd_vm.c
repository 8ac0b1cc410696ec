/* SPDX-License-Identifier: Apache-2.0 */
#include "crowd_vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "layout.h"

/* The guest's image, inside the program. */
extern const unsigned char bench_crowd[], bench_crowd_end[];

#define BOX GUEST_FREE
#define COUNTS (GUEST_FREE + 0x1000u)
#define BUFFER (GUEST_FREE + 0x4000u)
#define BUFFER_BYTES (128u << 10)
#define RINGS (BUFFER + BUFFER_BYTES)
#define PATIENCE_MS 20000u
#define FEW_FILES 64u

/* Not a multiple of a page: what the rings of all lanes have at equal places would share a few sets
 * of the caches. */
static uint64_t ring_stride(uint32_t entries)
{
	return VDB_RING_BYTES(entries, entries) + VDB_RING_ALIGN;
}

static uint64_t samples_at(uint32_t lanes, uint32_t entries)
{
	return RINGS + ((lanes * ring_stride(entries) + 4095) & ~4095ull);
}

uint64_t crowd_ram_bytes(uint32_t lanes, uint32_t entries)
{
	uint64_t bytes = samples_at(lanes, entries) + CROWD_SAMPLES_MAX * sizeof(uint64_t);

	return (bytes + (2u << 20) - 1) & ~((2ull << 20) - 1);
}

/* ---- Creation ---- */

static void *table(uint32_t count, size_t bytes)
{
	void *t = calloc(count, bytes);

	if (!t)
		bench_die(BENCH_FAILED, "no memory");
	return t;
}

void crowd_make_memory(struct crowd_vm *vm, const struct crowd_plan *plan, uint8_t *ram)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .len = plan->ram_bytes, .backing = VDB_MEM_HOST, .host = ram};

	*vm = (struct crowd_vm){.plan = plan, .ram = ram};
	bench_must(vdb_mem_create(&vm->mem));
	bench_must(vdb_mem_add(vm->mem, &region));
	bench_must(
	        vdb_mem_write(vm->mem, GUEST_IMAGE, bench_crowd, (uint64_t)(bench_crowd_end - bench_crowd)));
	vm->box = (struct crowd_box *)(void *)(ram + BOX);
	vm->counts = (uint64_t *)(void *)(ram + COUNTS);
	vm->samples = (uint64_t *)(void *)(ram + samples_at(plan->lanes, plan->entries));
	vm->box->lanes = plan->lanes;
	vm->box->counts = COUNTS;
	vm->box->buffer = BUFFER;
	vm->box->samples = samples_at(plan->lanes, plan->entries);
	vm->box->bytes = 4096;
	vm->box->blocks = 1;
}

static void born(void *ctx, struct vdb_bus_access *access)
{
	struct crowd_vm *vm = ctx;

	(void)access;
	vm->born_ns = bench_ns();
}

static void ended(void *ctx, struct vdb_bus_access *access)
{
	struct crowd_vm *vm = ctx;

	(void)access;
	vm->done_ns = bench_ns();
	bench_must(vdb_vm_stop(vm->vm, NULL, NULL));
	vdb_gate_open(vm->exited, 0);
}

static int faulted(void *arg, const struct vdb_event *event)
{
	struct crowd_vm *vm = arg;

	snprintf(vm->event, sizeof(vm->event), "%s (rip %#llx)", event->text, (unsigned long long)event->rip);
	vdb_gate_open(vm->exited, -EFAULT);
	return VDB_EVENT_STOP;
}

void crowd_make_vm(struct crowd_vm *vm)
{
	static const struct vdb_bus_ops birth = {.size = sizeof(birth), .write = born};
	static const struct vdb_bus_ops end = {.size = sizeof(end), .write = ended};
	struct vdb_vm_config config = {.size = sizeof(config),
	                               .event = faulted,
	                               .event_arg = vm,
	                               .worker = vm->plan->worker,
	                               .doorbell_pages = vm->plan->lanes,
	                               .doorbell_ports = 1};

	bench_must(vdb_vm_create(vm->plan->kvm, vm->mem, &config, &vm->vm));
	vm->exited = bench_gate();
	bench_must(vdb_bus_add(vdb_vm_pio(vm->vm), "born", CROWD_BORN_PORT, 4, &birth, vm));
	bench_must(vdb_bus_add(vdb_vm_pio(vm->vm), "end", GUEST_EXIT_PORT, 4, &end, vm));
}

void crowd_make_vcpu(struct crowd_vm *vm)
{
	bench_must(vdb_vcpu_create(vm->vm, 0, &vm->vcpu));
}

void crowd_make_bells(struct crowd_vm *vm)
{
	const struct crowd_plan *plan = vm->plan;

	vm->bells = table(plan->lanes, sizeof(struct vdb_doorbell *));
	for (uint32_t i = 0; i < plan->lanes; i++) {
		struct vdb_doorbell_ring ring = {
		        .ring_gpa = RINGS + i * ring_stride(plan->entries),
		        .sq_entries = plan->entries,
		        .cq_entries = plan->entries,
		        .features = VDB_F_EVENT_IDX,
		};
		struct vdb_doorbell_config config = {
		        .size = sizeof(config), .addr = VDB_GPA_ANY, .rings = &ring, .ring_count = 1};

		bench_must(vdb_doorbell_create(vm->vm, &config, &vm->bells[i]));
	}
	vm->box->page = vdb_doorbell_page(vm->bells[0]);
}

void crowd_make_irqs(struct crowd_vm *vm)
{
	struct vdb_irq_config config = {.size = sizeof(config),
	                                .kind = VDB_IRQ_MSI,
	                                .msi_address = 0xfee00000,
	                                .msi_data = GUEST_VECTOR};

	vm->irqs = table(vm->plan->lanes, sizeof(struct vdb_irq *));
	for (uint32_t i = 0; i < vm->plan->lanes && vm->plan->interrupts; i++)
		bench_must(vdb_irq_create(vm->vm, &config, &vm->irqs[i]));
}

void crowd_make_lanes(struct crowd_vm *vm)
{
	const struct crowd_plan *plan = vm->plan;

	vm->lanes = table(plan->lanes, sizeof(struct vdb_lane *));
	for (uint32_t i = 0; i < plan->lanes; i++) {
		struct vdb_ring_config ring = {
		        .size = sizeof(ring),
		        .sq_entries = plan->entries,
		        .gpa = RINGS + i * ring_stride(plan->entries),
		        .features = VDB_F_EVENT_IDX,
		};
		struct vdb_lane_config lane = {.size = sizeof(lane),
		                               .kick_fd = vdb_doorbell_fd(vm->bells[i], 0),
		                               .call_fd = plan->interrupts ? vdb_irq_fd(vm->irqs[i]) : -1};
		struct vdb_queue *queue;

		if (i == plan->lanes - 1)
			lane.tenant = plan->last_tenant;
		bench_must(vdb_ring_create(vm->mem, &ring, &queue));
		bench_must(vdb_lane_create(plan->loop, queue, plan->backend, &lane, &vm->lanes[i]));
	}
}

void crowd_set_start(struct crowd_vm *vm)
{
	struct vdb_x86_start start = {
	        .size = sizeof(start),
	        .flags = vm->plan->kernel ? VDB_X86_KERNEL : 0,
	        .entry = GUEST_IMAGE + (vm->plan->kernel ? GUEST_KERNEL : GUEST_USER),
	        .stack = GUEST_STACK,
	        .arg = {BOX},
	        .tables = GUEST_TABLES,
	};

	bench_must(vdb_x86_start64(vm->vcpu, &start));
}

void crowd_create(struct crowd_vm *vm, const struct crowd_plan *plan, uint8_t *ram)
{
	crowd_make_memory(vm, plan, ram);
	crowd_make_vm(vm);
	crowd_make_vcpu(vm);
	crowd_make_bells(vm);
	crowd_make_irqs(vm);
	crowd_set_start(vm);
	crowd_make_lanes(vm);
}

/* ---- Life ---- */

void crowd_start(struct crowd_vm *vm)
{
	if (vdb_vcpu_start(vm->vcpu, vm->plan->options->vcpu_cpu, vm->plan->name))
		bench_die(BENCH_SKIPPED, "%s; name other CPUs: -c VCPU,LOOP", vdb_errmsg());
}

static void explain(const struct crowd_vm *vm, uint32_t wanted)
{
	const struct crowd_box *box = vm->box;

	if (*vm->event)
		bench_die(BENCH_FAILED, "the guest: %s", vm->event);
	if (__atomic_load_n(&box->state, __ATOMIC_ACQUIRE) != wanted)
		bench_die(BENCH_FAILED, "the guest came to no good end: state %u, detail %lld, %llu requests",
		          box->state, (long long)box->detail, (unsigned long long)box->all);
	if (box->wrong)
		bench_die(BENCH_FAILED, "%llu of %llu requests went wrong", (unsigned long long)box->wrong,
		          (unsigned long long)box->all);
}

void crowd_await_end(struct crowd_vm *vm, uint64_t ms)
{
	int64_t result;
	int err = vdb_gate_wait(vm->exited, (int64_t)(ms + PATIENCE_MS) * 1000000, &result);

	if (err != -ETIMEDOUT)
		bench_must(err);
	explain(vm, CROWD_DONE);
}

void crowd_await_halt(struct crowd_vm *vm)
{
	uint64_t deadline = bench_ns() + PATIENCE_MS * 1000000ull;
	struct timespec nap = {.tv_nsec = 50000};

	while (__atomic_load_n(&vm->box->state, __ATOMIC_ACQUIRE) == CROWD_STARTING && bench_ns() < deadline)
		nanosleep(&nap, NULL);
	explain(vm, CROWD_HALTED);
}

static void close_lanes(struct crowd_vm *vm)
{
	struct vdb_gate *gone;

	for (uint32_t i = 0; i < vm->plan->lanes; i++) {
		gone = bench_gate();
		vdb_lane_destroy(vm->lanes[i], bench_gate_open, vdb_gate_ref(gone));
		bench_gate_wait(gone);
	}
	free(vm->lanes);
}

void crowd_close(struct crowd_vm *vm)
{
	close_lanes(vm);
	for (uint32_t i = 0; i < vm->plan->lanes; i++) {
		vdb_irq_destroy(vm->irqs[i]);
		vdb_doorbell_destroy(vm->bells[i]);
	}
	free(vm->irqs);
	free(vm->bells);
	vm->gone = bench_gate();
	bench_must(vdb_vm_destroy(vm->vm, bench_gate_open, vdb_gate_ref(vm->gone)));
}

void crowd_gone(struct crowd_vm *vm)
{
	bench_gate_wait(vm->gone);
	vdb_gate_unref(vm->exited);
	bench_must(vdb_mem_destroy(vm->mem));
}

void crowd_need_files(uint64_t fds)
{
	uint64_t wanted = fds + FEW_FILES;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		bench_die(BENCH_FAILED, "RLIMIT_NOFILE cannot be read");
	if (limit.rlim_cur >= wanted)
		return;
	limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
	if (limit.rlim_cur < wanted || setrlimit(RLIMIT_NOFILE, &limit))
		bench_die(BENCH_SKIPPED,
		          "this takes %llu open files, the hard limit is %llu: raise it (ulimit -Hn %llu, as "
		          "root; LimitNOFILE= in a unit)",
		          (unsigned long long)wanted, (unsigned long long)limit.rlim_max,
		          (unsigned long long)wanted);
}
