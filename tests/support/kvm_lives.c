/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm_lives.h"

#include <sched.h>
#include <time.h>

GUEST(spin, "1: lock incl (%rdi)\n jmp 1b");
GUEST(act, "1: lock incl (%rdi)\n in $0x20, %eax\n out %eax, $0x10\n jmp 1b");

uint32_t counter(const struct kvm_fixture *f, uint32_t vcpu)
{
	return kvm_fixture_word(f, GUEST_DATA + vcpu * 64);
}

void until_it_moves(const struct kvm_fixture *f, uint32_t vcpu)
{
	uint32_t before = counter(f, vcpu);

	while (counter(f, vcpu) == before)
		sched_yield();
}

void nap_ms(long ms)
{
	const struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

void start_spinning(struct kvm_fixture *f)
{
	for (uint32_t i = 0; i < f->vcpus; i++) {
		LOAD(f, i, spin, GUEST_DATA + i * 64);
		must(vdb_vcpu_start(f->vcpu[i], -1, NULL));
	}
	for (uint32_t i = 0; i < f->vcpus; i++)
		until_it_moves(f, i);
}

void expect_still(const struct kvm_fixture *f)
{
	uint32_t before[FIXTURE_VCPUS] = {0};

	for (uint32_t i = 0; i < f->vcpus; i++)
		before[i] = counter(f, i);
	nap_ms(5);
	for (uint32_t i = 0; i < f->vcpus; i++)
		ck_assert_uint_eq(counter(f, i), before[i]);
}

struct acting {
	void (*act)(struct vdb_bus_access *access);
};

static void on_act(void *ctx, struct vdb_bus_access *access)
{
	const struct acting *acting = ctx;

	acting->act(access);
}

void prepare_acting(struct kvm_fixture *f, void (*act)(struct vdb_bus_access *access))
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = on_act};
	static struct acting acting; /* each test has a process of its own */

	acting.act = act;
	must(vdb_bus_add(vdb_vm_pio(f->vm), "act", PORT_ACT, 4, &ops, &acting));
	for (uint32_t i = 0; i < f->vcpus; i++)
		LOAD(f, i, act, GUEST_DATA + i * 64);
}

void start_acting(struct kvm_fixture *f, void (*act)(struct vdb_bus_access *access))
{
	prepare_acting(f, act);
	for (uint32_t i = 0; i < f->vcpus; i++)
		must(vdb_vcpu_start(f->vcpu[i], -1, NULL));
}
