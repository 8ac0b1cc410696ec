/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>

#include "../guest/layout.h"
#include "demo.h"
#include "guest/block.h"
#include "tinyvmm.h"

/* image.S: the guest, as it lies in memory at GUEST_IMAGE. */
extern const unsigned char demo_guest[], demo_guest_end[];

#define FEATURES (VDB_F_EVENT_IDX | VDB_F_SG | VDB_F_MEMOPS)
#define JOURNAL_GPA 0xc0000000u /* where the mailbox is, if it is in a file */
#define MSI_ADDRESS 0xfee00000u /* local APIC 0 */

/* ---- Memory ---- */

static uint32_t entries_for(uint32_t depth)
{
	uint32_t entries = 1;

	while (entries < depth)
		entries *= 2;
	return entries;
}

static uint64_t page_up(uint64_t n)
{
	return (n + VDB_PAGE_SIZE - 1) / VDB_PAGE_SIZE * VDB_PAGE_SIZE;
}

/* From GUEST_FREE on: mailbox, ring, one buffer for each request. */
static void lay_out(struct machine *m)
{
	uint32_t entries = entries_for(m->depth);

	m->mailbox = m->demo->journal < 0 ? GUEST_FREE : JOURNAL_GPA;
	m->ring = GUEST_FREE + MAILBOX_BYTES;
	m->buffers = page_up(m->ring + VDB_RING_BYTES(entries, entries));
}

uint64_t machine_memory(uint32_t depth)
{
	uint32_t entries = entries_for(depth);

	return page_up(GUEST_FREE + MAILBOX_BYTES + VDB_RING_BYTES(entries, entries)) +
	       (uint64_t)depth * DEMO_BLOCK_BYTES;
}

static int add_journal(struct machine *m)
{
	struct vdb_region_config region = {
	        .size = sizeof(region),
	        .gpa = JOURNAL_GPA,
	        .len = MAILBOX_BYTES,
	        .backing = VDB_MEM_FD,
	        .fd = m->demo->journal,
	        .fd_offset = (uint64_t)m->number * MAILBOX_BYTES,
	};

	return vdb_mem_add(m->mem, &region);
}

static int make_memory(struct machine *m)
{
	struct vdb_region_config ram = {.size = sizeof(ram), .len = m->memory, .backing = VDB_MEM_ANON};
	int err = vdb_mem_create(&m->mem);

	if (!err)
		err = vdb_mem_add(m->mem, &ram);
	if (!err && m->demo->journal >= 0)
		err = add_journal(m);
	return err;
}

static int fill_memory(struct machine *m)
{
	const struct options *o = &m->demo->options;
	struct demo_mailbox box = {
	        .vm = m->number,
	        .mode = m->polls ? DEMO_POLL : DEMO_IRQ,
	        .depth = m->depth,
	        .slice = o->slice,
	        .first_block = (uint64_t)m->number * o->slice,
	        .requests = o->requests,
	        .seed = demo_mix(m->number + 1),
	        .buffers = m->buffers,
	        .flush_every = o->flush_every,
	};
	int err = vdb_mem_write(m->mem, GUEST_IMAGE, demo_guest, (uint64_t)(demo_guest_end - demo_guest));

	return err ? err : vdb_mem_write(m->mem, m->mailbox, &box, sizeof(box));
}

/* ---- How it ends: on the vCPU's thread ---- */

static void ended(struct machine *m, enum machine_end end)
{
	int runs = MACHINE_RUNS;

	m->ended = demo_now();
	if (__atomic_compare_exchange_n(&m->end, &runs, (int)end, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		demo_machine_ended(m->demo);
}

static void exit_port(void *ctx, struct vdb_bus_access *access)
{
	struct machine *m = ctx;

	(void)access;
	ended(m, MACHINE_EXITED);
	if (vdb_vm_stop(m->vm, NULL, NULL))
		complain("VM %u: %s", m->number, vdb_errmsg());
}

static int event(void *arg, const struct vdb_event *event)
{
	struct machine *m = arg;

	snprintf(m->event, sizeof(m->event), "%s (rip %#llx)", event->text, (unsigned long long)event->rip);
	ended(m, MACHINE_FAULTED);
	return VDB_EVENT_STOP;
}

/* ---- The VM ---- */

static int make_vm(struct machine *m)
{
	static const struct vdb_bus_ops exit_ops = {.size = sizeof(exit_ops), .write = exit_port};
	struct vdb_vm_config config = {.size = sizeof(config),
	                               .event = event,
	                               .event_arg = m,
	                               .doorbell_pages = 1,
	                               .doorbell_ports = 1};
	int err = vdb_vm_create(m->demo->kvm, m->mem, &config, &m->vm);

	if (!err)
		err = vdb_bus_add(vdb_vm_pio(m->vm), "exit port", GUEST_EXIT_PORT, 4, &exit_ops, m);
	return err ? err : vdb_vcpu_create(m->vm, 0, &m->vcpu);
}

static int make_irq(struct machine *m)
{
	struct vdb_irq_config config = {.size = sizeof(config),
	                                .kind = VDB_IRQ_MSI,
	                                .msi_address = MSI_ADDRESS,
	                                .msi_data = GUEST_VECTOR};

	return m->polls ? 0 : vdb_irq_create(m->vm, &config, &m->irq);
}

static int make_doorbell(struct machine *m)
{
	uint32_t entries = entries_for(m->depth);
	struct vdb_doorbell_ring ring = {
	        .ring_gpa = m->ring,
	        .sq_entries = entries,
	        .cq_entries = entries,
	        .features = FEATURES,
	        .irq = m->polls ? 0 : GUEST_VECTOR,
	        .ring_id = m->number,
	};
	struct vdb_doorbell_config config = {
	        .size = sizeof(config),
	        .kind = m->demo->options.doorbell,
	        .addr = VDB_GPA_ANY,
	        .rings = &ring,
	        .ring_count = 1,
	        .describe = m->demo->options.doorbell != VDB_DOORBELL_PAGE,
	};

	return vdb_doorbell_create(m->vm, &config, &m->doorbell);
}

/* The ring, its doorbell and its interrupt are put on one of the loops. */
static int make_lane(struct machine *m)
{
	struct vdb_ring_config ring = {.size = sizeof(ring),
	                               .sq_entries = entries_for(m->depth),
	                               .gpa = m->ring,
	                               .features = FEATURES};
	struct vdb_lane_config lane = {
	        .size = sizeof(lane),
	        .kick_fd = vdb_doorbell_fd(m->doorbell, 0),
	        .call_fd = m->irq ? vdb_irq_fd(m->irq) : -1,
	};
	int err = vdb_ring_create(m->mem, &ring, &m->queue);

	if (!err)
		err = vdb_loops_place(m->demo->loops, loops_for(&m->demo->options.loops, m->number),
		                      &m->loop);
	if (!err)
		err = vdb_lane_create(m->loop, m->queue, m->demo->image.backend, &lane, &m->lane);
	if (!err)
		m->queue = NULL;
	return err;
}

/* A guest that polls never needs kernel mode; one that sleeps brings its own. */
static int set_start(struct machine *m)
{
	struct vdb_x86_start start = {
	        .size = sizeof(start),
	        .flags = m->polls ? 0 : VDB_X86_KERNEL,
	        .entry = GUEST_IMAGE + (m->polls ? GUEST_USER : GUEST_KERNEL),
	        .stack = GUEST_STACK,
	        .arg = {vdb_doorbell_page(m->doorbell), m->mailbox},
	        .tables = GUEST_TABLES,
	};

	return vdb_x86_start64(m->vcpu, &start);
}

int machine_create(struct machine *m, struct demo *demo, uint32_t number)
{
	static int (*const steps[])(struct machine *) = {make_memory, make_vm,     make_irq, make_doorbell,
	                                                 make_lane,   fill_memory, set_start};

	m->demo = demo;
	m->number = number;
	m->depth = options_depth_of(&demo->options, number);
	m->polls = options_polls(&demo->options, number);
	m->memory = demo->options.memory ? demo->options.memory : machine_memory(m->depth);
	lay_out(m);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (steps[i](m))
			return complain("VM %u: %s", number, vdb_errmsg());
	return 0;
}

int machine_start(struct machine *m)
{
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", m->number);
	if (vdb_vm_pause(m->vm, NULL, NULL) || vdb_vcpu_start(m->vcpu, -1, name))
		return complain("VM %u: %s", m->number, vdb_errmsg());
	return 0;
}

int machine_go(struct machine *m)
{
	m->started = demo_now();
	if (vdb_vm_resume(m->vm))
		return complain("VM %u: %s", m->number, vdb_errmsg());
	return 0;
}

uint64_t machine_completed(const struct machine *m)
{
	uint64_t n;

	if (vdb_mem_load64(m->mem, m->mailbox + offsetof(struct demo_mailbox, completed), &n))
		return 0;
	return n;
}

/* ---- The end ---- */

static void open_gate(void *gate)
{
	vdb_gate_open(gate, 0);
	vdb_gate_unref(gate);
}

/* Asks for something that completes later, and waits for that. */
static void ask_and_wait(struct machine *m, int (*ask)(struct machine *, struct vdb_gate *))
{
	struct vdb_gate *gate;
	int64_t result;

	if (vdb_gate_create(&gate)) {
		complain("VM %u: %s", m->number, vdb_errmsg());
		exit(TINYVMM_WRONG);
	}
	if (ask(m, vdb_gate_ref(gate)))
		complain("VM %u: %s", m->number, vdb_errmsg());
	else if (vdb_gate_wait(gate, -1, &result))
		complain("VM %u: %s", m->number, vdb_errmsg());
	vdb_gate_unref(gate);
}

static int ask_stop(struct machine *m, struct vdb_gate *gate)
{
	return vdb_vm_stop(m->vm, open_gate, gate);
}

static int ask_lane(struct machine *m, struct vdb_gate *gate)
{
	vdb_lane_destroy(m->lane, open_gate, gate);
	return 0;
}

static int ask_vm(struct machine *m, struct vdb_gate *gate)
{
	return vdb_vm_destroy(m->vm, open_gate, gate);
}

void machine_stop(struct machine *m)
{
	m->lane_stats.size = sizeof(m->lane_stats);
	m->vcpu_stats.size = sizeof(m->vcpu_stats);
	ask_and_wait(m, ask_stop);
	if (vdb_mem_read(m->mem, m->mailbox, &m->box, sizeof(m->box)) ||
	    vdb_lane_stats(m->lane, &m->lane_stats) || vdb_vcpu_stats(m->vcpu, &m->vcpu_stats))
		complain("VM %u: %s", m->number, vdb_errmsg());
}

void machine_destroy(struct machine *m)
{
	if (m->lane)
		ask_and_wait(m, ask_lane);
	if (m->loop)
		vdb_loops_leave(m->demo->loops, m->loop);
	vdb_queue_destroy(m->queue);
	vdb_doorbell_destroy(m->doorbell);
	vdb_irq_destroy(m->irq);
	if (m->vm)
		ask_and_wait(m, ask_vm);
	if (vdb_mem_destroy(m->mem))
		complain("VM %u: %s", m->number, vdb_errmsg());
}
