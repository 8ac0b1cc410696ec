/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* WRAP: vdb_irq_create vdb_irq_destroy vdb_irq_retarget vdb_irq_fd */
/* Masks, pending bits and messages of an MSI-X table; the irqs behind it are the test's. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vdb/irq.h>

#include "base/atomic.h"
#include "pci/msix.h"
#include "suite.h"

#define VECTORS 70u
#define SOMEWHERE 0xfee01000u

int __wrap_vdb_irq_create(struct vdb_vm *vm, const struct vdb_irq_config *config, struct vdb_irq **out);
void __wrap_vdb_irq_destroy(struct vdb_irq *irq);
int __wrap_vdb_irq_retarget(struct vdb_irq *irq, uint64_t address, uint32_t data);
int __wrap_vdb_irq_fd(const struct vdb_irq *irq);

struct vdb_irq {
	int fd;
	uint64_t address;
	uint32_t data;
};

static unsigned made, moved, gone;
static int refusal; /* what create and retarget return */
static struct vdb_irq *last;

int __wrap_vdb_irq_create(struct vdb_vm *vm, const struct vdb_irq_config *config, struct vdb_irq **out)
{
	(void)vm;
	if (refusal)
		return refusal;
	made++;
	last = calloc(1, sizeof(*last));
	ck_assert_ptr_nonnull(last);
	last->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	last->address = config->msi_address;
	last->data = config->msi_data;
	*out = last;
	return 0;
}

void __wrap_vdb_irq_destroy(struct vdb_irq *irq)
{
	if (!irq)
		return;
	gone++;
	close(irq->fd);
	free(irq);
}

int __wrap_vdb_irq_retarget(struct vdb_irq *irq, uint64_t address, uint32_t data)
{
	moved++;
	if (refusal)
		return refusal;
	irq->address = address;
	irq->data = data;
	return 0;
}

int __wrap_vdb_irq_fd(const struct vdb_irq *irq)
{
	return irq->fd;
}

static uint64_t sent(const struct vdb_irq *irq)
{
	uint64_t count = 0;

	if (read(irq->fd, &count, sizeof(count)) < 0)
		ck_assert_int_eq(errno, EAGAIN);
	return count;
}

static struct vdb__msix *make(void)
{
	struct vdb__msix *msix;

	ck_assert_int_eq(vdb__msix_create(NULL, VECTORS, &msix), 0);
	vdb__msix_control(msix, true, false);
	return msix;
}

static void put(struct vdb__msix *msix, uint64_t offset, uint32_t value)
{
	vdb__msix_table_write(msix, offset, &value, sizeof(value));
}

static uint32_t get(struct vdb__msix *msix, uint64_t offset)
{
	uint32_t value;

	vdb__msix_table_read(msix, offset, &value, sizeof(value));
	return value;
}

static void mask(struct vdb__msix *msix, uint32_t vector, uint32_t on)
{
	put(msix, vector * 16 + 12, on);
}

static void aim(struct vdb__msix *msix, uint32_t vector, uint32_t address, uint32_t data)
{
	put(msix, vector * 16, address);
	put(msix, vector * 16 + 4, 0);
	put(msix, vector * 16 + 8, data);
}

static bool pending(struct vdb__msix *msix, uint32_t vector)
{
	uint64_t bits;

	vdb__msix_pba_read(msix, vector / 64 * 8, &bits, sizeof(bits));
	return bits >> (vector % 64) & 1;
}

static struct vdb_irq *open_one(struct vdb__msix *msix, uint32_t vector)
{
	aim(msix, vector, SOMEWHERE, 0x40);
	mask(msix, vector, 0);
	return last;
}

START_TEST(irqs_are_made_when_a_vector_is_first_open)
{
	struct vdb__msix *msix = make();

	aim(msix, 3, SOMEWHERE, 0x41);
	vdb__msix_raise(msix, 3);
	ck_assert_uint_eq(made, 0);
	vdb__msix_control(msix, true, true);
	mask(msix, 3, 0);
	ck_assert_uint_eq(made, 0);
	vdb__msix_control(msix, true, false);
	ck_assert_uint_eq(made, 1);
	ck_assert_uint_eq(last->address, SOMEWHERE);
	ck_assert_uint_eq(last->data, 0x41);
	ck_assert_uint_eq(sent(last), 1); /* what was pending */
	vdb__msix_destroy(msix);
	ck_assert_uint_eq(gone, 1);
}
END_TEST

START_TEST(a_masked_vector_is_sent_once_when_it_is_unmasked)
{
	struct vdb__msix *msix = make();
	struct vdb_irq *irq = open_one(msix, 65);

	vdb__msix_raise(msix, 65);
	vdb__msix_raise(msix, 65);
	ck_assert_uint_eq(sent(irq), 2);
	mask(msix, 65, 1);
	for (unsigned i = 0; i < 1000; i++)
		vdb__msix_raise(msix, 65);
	ck_assert_uint_eq(sent(irq), 0);
	ck_assert(pending(msix, 65));
	ck_assert(!pending(msix, 64));
	vdb__msix_control(msix, true, true);
	mask(msix, 65, 0);
	ck_assert(pending(msix, 65));
	ck_assert_uint_eq(sent(irq), 0);
	vdb__msix_control(msix, true, false);
	ck_assert(!pending(msix, 65));
	ck_assert_uint_eq(sent(irq), 1);
	mask(msix, 65, 1);
	mask(msix, 65, 0);
	ck_assert_uint_eq(sent(irq), 0);
	ck_assert_uint_eq(made, 1);
	ck_assert_uint_eq(moved, 0);
	vdb__msix_destroy(msix);
}
END_TEST

START_TEST(off_forgets)
{
	struct vdb__msix *msix = make();
	struct vdb_irq *irq = open_one(msix, 0);

	mask(msix, 0, 1);
	vdb__msix_raise(msix, 0);
	vdb__msix_control(msix, false, false);
	ck_assert(!pending(msix, 0));
	vdb__msix_raise(msix, 0);
	mask(msix, 0, 0);
	vdb__msix_control(msix, true, false);
	ck_assert_uint_eq(sent(irq), 0);
	vdb__msix_raise(msix, 0);
	ck_assert_uint_eq(sent(irq), 1);
	mask(msix, 0, 1);
	aim(msix, 0, 0, 0);
	mask(msix, 0, 0); /* open, but it leads nowhere any more */
	vdb__msix_raise(msix, 0);
	ck_assert_uint_eq(sent(irq), 0);
	vdb__msix_destroy(msix);
}
END_TEST

START_TEST(only_a_message_that_changed_is_routed_anew)
{
	struct vdb__msix *msix = make();
	struct vdb_irq *irq = open_one(msix, 1);

	for (unsigned i = 0; i < 100; i++) {
		mask(msix, 1, 1);
		aim(msix, 1, SOMEWHERE, 0x40);
		mask(msix, 1, 0);
	}
	ck_assert_uint_eq(moved, 0);
	mask(msix, 1, 1);
	aim(msix, 1, SOMEWHERE + 0x1000, 0x55);
	aim(msix, 1, SOMEWHERE + 0x2000, 0x56);
	ck_assert_uint_eq(moved, 0);
	mask(msix, 1, 0);
	ck_assert_uint_eq(moved, 1);
	ck_assert_uint_eq(irq->address, SOMEWHERE + 0x2000);
	ck_assert_uint_eq(irq->data, 0x56);
	/* The specification leaves it open what a change of an open vector does; ours follows. */
	put(msix, 16 + 8, 0x57);
	ck_assert_uint_eq(irq->data, 0x57);
	vdb__msix_destroy(msix);
}
END_TEST

START_TEST(g22_messages_to_nowhere_are_delivered_to_nobody)
{
	struct vdb__msix *msix = make();
	struct vdb_irq *irq;

	mask(msix, 2, 0); /* address 0 */
	vdb__msix_raise(msix, 2);
	ck_assert_uint_eq(made, 0);
	aim(msix, 2, 0xdeadbeec, 0xffffffff);
	vdb__msix_raise(msix, 2);
	ck_assert_uint_eq(made, 0);
	/* KVM has no route left: the next try may fare better. */
	refusal = -ENOSPC;
	aim(msix, 2, SOMEWHERE, 0x40);
	vdb__msix_raise(msix, 2);
	mask(msix, 2, 1);
	vdb__msix_raise(msix, 2);
	ck_assert(pending(msix, 2));
	mask(msix, 2, 0);
	ck_assert(!pending(msix, 2));
	refusal = 0;
	mask(msix, 2, 0);
	ck_assert_uint_eq(made, 1);
	irq = last;
	vdb__msix_raise(msix, 2);
	ck_assert_uint_eq(sent(irq), 1);
	/* KVM does not take the new place: the old one must not be interrupted. */
	refusal = -EINVAL;
	put(msix, 2 * 16 + 4, 0xff);
	vdb__msix_raise(msix, 2);
	ck_assert_uint_eq(sent(irq), 0);
	refusal = 0;
	vdb__msix_destroy(msix);
}
END_TEST

START_TEST(g22_odd_accesses_read_zeroes_and_write_nowhere)
{
	struct vdb__msix *msix = make();
	static const struct {
		uint64_t offset;
		uint32_t len;
	} odd[] = {{0, 1},
	           {2, 2},
	           {1, 4},
	           {4, 8},
	           {VECTORS * 16, 4},
	           {VECTORS * 16 - 4, 8},
	           {UINT64_MAX - 3, 4},
	           {UINT64_MAX - 7, 8}};
	uint64_t value;

	aim(msix, 0, SOMEWHERE, 0x12345678);
	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		value = UINT64_MAX;
		vdb__msix_table_read(msix, odd[i].offset, &value, odd[i].len);
		ck_assert_uint_eq(value, odd[i].len == 8 ? 0 : UINT64_MAX << (8 * odd[i].len));
		value = UINT64_MAX;
		vdb__msix_table_write(msix, odd[i].offset, &value, odd[i].len);
		vdb__msix_pba_read(msix, odd[i].offset, &value, odd[i].len);
	}
	ck_assert_uint_eq(get(msix, 0), SOMEWHERE);
	ck_assert_uint_eq(get(msix, 8), 0x12345678);
	value = (uint64_t)0xfffffff1 << 32 | 0x99;
	vdb__msix_table_write(msix, 8, &value, 8); /* data and control at once */
	vdb__msix_table_read(msix, 8, &value, 8);
	ck_assert_uint_eq(value, (uint64_t)1 << 32 | 0x99);
	put(msix, 0, SOMEWHERE | 3);
	ck_assert_uint_eq(get(msix, 0), SOMEWHERE);
	ck_assert_uint_eq(vdb__msix_table_bytes(msix), VECTORS * 16);
	ck_assert_uint_eq(vdb__msix_pba_bytes(msix), 16);
	ck_assert_uint_eq(vdb__msix_vectors(msix), VECTORS);
	vdb__msix_raise(msix, VECTORS);
	vdb__msix_raise(msix, 0xffff);
	vdb__msix_destroy(msix);
	vdb__msix_destroy(NULL);
	ck_assert_int_eq(vdb__msix_create(NULL, 0, &msix), -EINVAL);
	ck_assert_int_eq(vdb__msix_create(NULL, VDB__MSIX_MAX + 1, &msix), -EINVAL);
}
END_TEST

/* ---- Two threads ---- */

#define ROUNDS 20000u

struct race {
	struct vdb__msix *msix;
	uint32_t round; /* the raiser's next one */
	uint32_t raised;
};

static void await(const uint32_t *word, uint32_t value)
{
	while (vdb__load_acquire(word) != value)
		vdb__cpu_relax();
}

static void *raiser(void *arg)
{
	struct race *race = arg;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		await(&race->round, i);
		vdb__msix_raise(race->msix, 0);
		vdb__store_release(&race->raised, i);
	}
	return NULL;
}

START_TEST(g22_raising_and_unmasking_at_once_is_exactly_one)
{
	struct race race = {.msix = make()};
	struct vdb_irq *irq = open_one(race.msix, 0);
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, raiser, &race), 0);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		mask(race.msix, 0, 1);
		vdb__store_release(&race.round, i);
		for (uint32_t wait = i % 64; wait; wait--)
			vdb__cpu_relax();
		if (i % 2)
			mask(race.msix, 0, 0);
		else
			vdb__msix_table_write(race.msix, 8, &(uint64_t){0x40}, 8);
		await(&race.raised, i);
		ck_assert(!pending(race.msix, 0));
		if (sent(irq) != 1)
			ck_abort_msg("round %u", i);
	}
	pthread_join(thread, NULL);
	vdb__msix_destroy(race.msix);
}
END_TEST

static void *storm(void *arg)
{
	struct race *race = arg;

	for (uint32_t i = 0; i < ROUNDS; i++)
		vdb__msix_raise(race->msix, 0);
	vdb__store_release(&race->raised, 1u);
	return NULL;
}

START_TEST(g22_a_storm_of_masks_loses_nothing)
{
	struct race race = {.msix = make()};
	struct vdb_irq *irq = open_one(race.msix, 0);
	uint64_t before, total;
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, storm, &race), 0);
	while (!vdb__load_acquire(&race.raised)) {
		mask(race.msix, 0, 1);
		vdb__msix_control(race.msix, true, true);
		mask(race.msix, 0, 0);
		vdb__msix_control(race.msix, true, false);
	}
	pthread_join(thread, NULL);
	total = sent(irq);
	ck_assert_uint_ge(total, 1);
	ck_assert_uint_le(total, ROUNDS);
	ck_assert(!pending(race.msix, 0));
	before = moved;
	vdb__msix_raise(race.msix, 0);
	ck_assert_uint_eq(sent(irq), 1);
	ck_assert_uint_eq(moved, before);
	vdb__msix_destroy(race.msix);
}
END_TEST

SUITE("msix", irqs_are_made_when_a_vector_is_first_open, a_masked_vector_is_sent_once_when_it_is_unmasked,
      off_forgets, only_a_message_that_changed_is_routed_anew,
      g22_messages_to_nowhere_are_delivered_to_nobody, g22_odd_accesses_read_zeroes_and_write_nowhere,
      g22_raising_and_unmasking_at_once_is_exactly_one, g22_a_storm_of_masks_loses_nothing)
