/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: virtio_mmio */
/* TIMEOUT: 300 */
/* G12, G75, G76: vCPUs that ring, reset and ask for interrupts as fast as they can, on a real VM. */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../kvm/guest/echo_abi.h"
#include "arena.h"
#include "mmio_machine.h"

GUEST_IMAGE(virtio_mmio);

#define VCPUS 4u
#define CODE 0x3f0000u /* of the vCPUs besides 0 */
#define TABLES 0x360000u

static struct mmio_machine m;

/* Rings both queues for ever, in different widths, and one that is not there; rdi = QueueNotify. */
GUEST(kick, "1: movl $0, (%rdi)\n movl $1, (%rdi)\n movw $0, (%rdi)\n movl $7, (%rdi)\n jmp 1b");

/* The same, and everything round about it: registers that are none, that are read-only, behind the device. */
GUEST(storm, "1: movl $0, (%rdi)\n movl $1, (%rdi)\n movb $1, (%rdi)\n movl $7, (%rdi)\n movl $-1, (%rdi)\n"
             "movl $0, 4(%rdi)\n movl $0, 8(%rdi)\n movw $0, 2(%rdi)\n movl $0, 1(%rdi)\n"
             "movl $0, 0x10(%rdi)\n movq $0, 0x1000(%rdi)\n movl (%rdi), %eax\n jmp 1b");

static uint32_t seen(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void open_machine(const struct vdb_caps *caps)
{
	mmio_machine_open_capped(&m, 2, VCPUS, caps);
}

static void start_others(const unsigned char *code, const unsigned char *end)
{
	for (uint32_t i = 1; i < VCPUS; i++) {
		const struct vdb_x86_start start = {.size = sizeof(start),
		                                    .entry = CODE + i * 0x1000,
		                                    .stack = CODE + 0x8000 + i * 0x1000,
		                                    .arg = {MACHINE_MMIO + VIRTIO_MMIO_QUEUE_NOTIFY},
		                                    .tables = TABLES + i * VDB_X86_TABLES_BYTES};

		memcpy(m.f.ram + start.entry, code, (size_t)(end - code));
		must(vdb_x86_start64(m.f.vcpu[i], &start));
		must(vdb_vcpu_start(m.f.vcpu[i], -1, NULL));
	}
}

static void stop_all(void)
{
	uint32_t stopped = 0;

	must(vdb_vm_stop(m.f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
}

static struct echo_params *prepare(uint32_t mode, uint32_t rounds, uint64_t features)
{
	struct echo_params *params = mmio_machine_params(&m);

	memset(params, 0, sizeof(*params));
	params->mode = mode;
	params->size = 16;
	params->rounds = rounds;
	params->batch = 8;
	params->features = features;
	params->gsi = MACHINE_GSI;
	m.f.reports = 0;
	LOAD_IMAGE(&m.f, virtio_mmio, mode == ECHO_IRQ, MACHINE_MMIO);
	return params;
}

static struct vdb_virtio_info info(void)
{
	struct vdb_virtio_info own = {.size = sizeof(own)};

	must(vdb_virtio_query(m.device, &own));
	return own;
}

/* How much longer than in the default run. */
static uint32_t times(void)
{
	const char *text = getenv("VDB_TEST_LONG");

	return text ? (uint32_t)atoi(text) : 1;
}

/* ---- G12 ---- */

/* Long run: VDB_TEST_LONG=20 has ten thousand. */
START_TEST(g12_resets_under_a_storm_of_kicks)
{
	const uint64_t both = BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_EVENT_IDX);
	uint32_t lives = 500 * times();

	open_machine(NULL);
	prepare(ECHO_RESETS, 5, both);
	mmio_machine_run(&m);
	arena_begin(m.loop);
	start_others(guest_kick, guest_kick_end);
	prepare(ECHO_RESETS, lives, both);
	mmio_machine_run(&m);
	arena_goes_on();
	stop_all();
	ck_assert_uint_ge(info().resets, lives);
	ck_assert_uint_eq(info().broken, 0);
	ck_assert_uint_eq(seen(&m.echo.started), seen(&m.echo.served));
	/* Who resets in a loop is known by that. */
	ck_assert_uint_ge(mmio_machine_account(&m).starts, 2 * lives);
	arena_end();
	mmio_machine_close(&m);
}
END_TEST

/* ---- G75 ---- */

START_TEST(g75_bells_of_all_vcpus)
{
	struct vdb_tenant_stats account;

	open_machine(NULL);
	arena_begin(m.loop);
	start_others(guest_storm, guest_storm_end);
	/* The queues come up, work and end in the midst of it. */
	prepare(ECHO_POLL, 200, 0);
	mmio_machine_run(&m);
	ck_assert_uint_eq(mmio_machine_params(&m)->done, 200 * 8);
	arena_goes_on();
	account = mmio_machine_account(&m);
	ck_assert_uint_gt(account.bells, 0);
	ck_assert_uint_eq(account.requests, 200 * 8);
	ck_assert_uint_eq(account.broken + account.refused, 0);
	stop_all();
	ck_assert_uint_eq(info().broken, 0);
	arena_end();
	mmio_machine_close(&m);
}
END_TEST

/* ---- G76 ---- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#define CAPPED 200u /* a second */

/* One request at a time, an interrupt for each, without an event index: a guest that waits for each of them
 * gets all, and no more than it may. */
static void ask_for_interrupts(uint32_t per_s, uint32_t rounds)
{
	const struct vdb_caps caps = {.size = sizeof(caps), .irqs_per_s = per_s};
	struct vdb_tenant_stats account;
	uint64_t began, most;

	open_machine(&caps);
	arena_begin(m.loop);
	began = now_ns();
	prepare(ECHO_IRQ, rounds, 0)->batch = 1;
	mmio_machine_run(&m);
	account = mmio_machine_account(&m);
	ck_assert_uint_eq(mmio_machine_params(&m)->done, rounds);
	/* What may come at once, what has flowed, and the last one of its queue. */
	most = 2 + (now_ns() - began) * per_s / 1000000000u + 1;
	if (per_s)
		ck_assert_uint_le(account.irqs, most);
	else
		ck_assert_uint_eq(account.irqs_delayed, 0);
	stop_all();
	arena_end();
	mmio_machine_close(&m);
}

START_TEST(g76_an_interrupt_for_each_byte)
{
	ask_for_interrupts(0, 500);
}
END_TEST

START_TEST(g76_no_more_interrupts_than_the_cap)
{
	ask_for_interrupts(CAPPED, 100);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("storms");

	kvm_fixture_need();
	tcase_add_test(tc, g12_resets_under_a_storm_of_kicks);
	tcase_add_test(tc, g75_bells_of_all_vcpus);
	tcase_add_test(tc, g76_an_interrupt_for_each_byte);
	tcase_add_test(tc, g76_no_more_interrupts_than_the_cap);
	return test_run_within("storms", tc, 250);
}
