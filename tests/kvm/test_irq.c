/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* An eventfd interrupts a guest: by pin, by level with resample, by MSI. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "irq_guest.h"
#include "kvm/vm.h"
#include "leak.h"

#define VECTOR IRQ_VECTOR
#define VECTORS 4u
#define PIN_EDGE 5u   /* vector 0x41 */
#define PIN_LEVEL 11u /* vector 0x42 */
#define MSI_TO(cpu) (0xfee00000u | (uint64_t)(cpu) << 12)

static struct kvm_fixture f;

static void start_waiters(void)
{
	static const struct irq_guest_pin pins[] = {{PIN_EDGE, 0x41, false}, {PIN_LEVEL, 0x42, true}};

	irq_guest_start(&f, 0, pins, 2);
}

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 2);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

static const uint32_t *counter(uint32_t cpu, uint32_t vector)
{
	return irq_guest_count(&f, cpu, vector);
}

static void raise_irq(int fd)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

static struct vdb_irq *make(uint32_t kind, uint32_t gsi, uint64_t address, uint32_t data)
{
	const struct vdb_irq_config config = {
	        .size = sizeof(config), .kind = kind, .gsi = gsi, .msi_address = address, .msi_data = data};
	struct vdb_irq *irq;

	must(vdb_irq_create(f.vm, &config, &irq));
	return irq;
}

static int refusal(uint32_t kind, uint32_t gsi)
{
	const struct vdb_irq_config config = {.size = sizeof(config),
	                                      .kind = kind,
	                                      .gsi = gsi,
	                                      .msi_address = MSI_TO(0),
	                                      .msi_data = VECTOR};
	struct vdb_irq *irq;
	int rc, fds = leak_fds();

	rc = vdb_irq_create(f.vm, &config, &irq);
	ck_assert_int_eq(leak_fds(), fds);
	return rc;
}

/* Raises it n times, each after the one before has arrived: `vector` counts n more on `cpu`. */
static void expect_arrivals(const struct vdb_irq *irq, uint32_t cpu, uint32_t vector, uint32_t n)
{
	uint32_t before = *counter(cpu, vector);

	for (uint32_t i = 1; i <= n; i++) {
		raise_irq(vdb_irq_fd(irq));
		wait_for32(counter(cpu, vector), before + i);
	}
}

START_TEST(an_msi_reaches_the_guest_without_an_exit)
{
	struct vdb_irq *irq = make(VDB_IRQ_MSI, 0, MSI_TO(0), VECTOR);
	uint64_t runs;

	start_waiters();
	runs = kvm_fixture_stats(&f, 0).runs;
	expect_arrivals(irq, 0, VECTOR, 100);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).runs, runs);
	ck_assert_uint_eq(*counter(1, VECTOR), 0);
	ck_assert_uint_ge(vdb_irq_gsi(irq), 24);
	ck_assert_int_eq(vdb_irq_resample_fd(irq), -1);
	vdb_irq_destroy(irq);
}
END_TEST

START_TEST(a_pin_reaches_the_guest)
{
	struct vdb_irq *irq = make(VDB_IRQ_PIN, PIN_EDGE, 0, 0);

	start_waiters();
	expect_arrivals(irq, 0, 0x41, 20);
	ck_assert_uint_eq(vdb_irq_gsi(irq), PIN_EDGE);
	vdb_irq_destroy(irq);
}
END_TEST

START_TEST(a_level_pin_says_when_the_guest_has_acknowledged)
{
	struct vdb_irq *irq = make(VDB_IRQ_LEVEL, PIN_LEVEL, 0, 0);
	struct pollfd resample = {.fd = vdb_irq_resample_fd(irq), .events = POLLIN};
	uint64_t count;

	start_waiters();
	ck_assert_int_eq(poll(&resample, 1, 0), 0);
	for (unsigned i = 0; i < 5; i++) {
		expect_arrivals(irq, 0, 0x42, 1);
		ck_assert_int_eq(poll(&resample, 1, 10000), 1);
		ck_assert_int_eq(read(resample.fd, &count, sizeof(count)), sizeof(count));
	}
	vdb_irq_destroy(irq);
}
END_TEST

START_TEST(an_msi_can_be_sent_elsewhere)
{
	struct vdb_irq *irq = make(VDB_IRQ_MSI, 0, MSI_TO(0), VECTOR);

	start_waiters();
	expect_arrivals(irq, 0, VECTOR, 1);
	must(vdb_irq_retarget(irq, MSI_TO(1), VECTOR + 3));
	expect_arrivals(irq, 1, VECTOR + 3, 3);
	ck_assert_uint_eq(*counter(0, VECTOR), 1);
	vdb_irq_destroy(irq);
	irq = make(VDB_IRQ_PIN, 4, 0, 0);
	ck_assert_int_eq(vdb_irq_retarget(irq, MSI_TO(0), VECTOR), -EINVAL);
	vdb_irq_destroy(irq);
}
END_TEST

START_TEST(many_sources_come_and_go_and_keep_their_routes)
{
	struct vdb_irq *irqs[24], *pin = make(VDB_IRQ_PIN, PIN_EDGE, 0, 0);
	int fds;

	start_waiters();
	fds = leak_fds();
	for (uint32_t i = 0; i < 24; i++)
		irqs[i] = make(VDB_IRQ_MSI, 0, MSI_TO(i % 2), VECTOR + i % VECTORS);
	for (uint32_t i = 0; i < 24; i += 3) {
		vdb_irq_destroy(irqs[i]);
		irqs[i] = NULL;
	}
	for (uint32_t i = 0; i < 24; i++) {
		if (irqs[i])
			expect_arrivals(irqs[i], i % 2, VECTOR + i % VECTORS, 2);
		for (uint32_t j = 0; j < i && irqs[i]; j++)
			ck_assert(!irqs[j] || vdb_irq_gsi(irqs[i]) != vdb_irq_gsi(irqs[j]));
	}
	/* The pins' routes are still there. */
	expect_arrivals(pin, 0, 0x41, 3);
	/* A number that became free is used again. */
	irqs[0] = make(VDB_IRQ_MSI, 0, MSI_TO(0), VECTOR);
	ck_assert_uint_eq(vdb_irq_gsi(irqs[0]), 24);
	expect_arrivals(irqs[0], 0, VECTOR, 1);
	for (uint32_t i = 0; i < 24; i++)
		vdb_irq_destroy(irqs[i]);
	ck_assert_int_eq(leak_fds(), fds);
	vdb_irq_destroy(pin);
}
END_TEST

/* Another holder of the eventfd, as a backend may be, reaches nobody. */
static void leaves_nothing(struct vdb_irq *irq, uint32_t vector)
{
	const struct timespec soon = {.tv_nsec = 20000000};
	int fd = dup(vdb_irq_fd(irq));

	expect_arrivals(irq, 0, vector, 1);
	ck_assert_int_eq(vdb_vm_destroy(f.vm, NULL, NULL), -EBUSY);
	vdb_irq_destroy(irq);
	raise_irq(fd);
	nanosleep(&soon, NULL);
	ck_assert_uint_eq(*counter(0, vector), 1);
	close(fd);
}

START_TEST(destroy_leaves_nothing_in_the_kernel)
{
	start_waiters();
	leaves_nothing(make(VDB_IRQ_MSI, 0, MSI_TO(0), VECTOR), VECTOR);
	leaves_nothing(make(VDB_IRQ_PIN, PIN_EDGE, 0, 0), 0x41);
	leaves_nothing(make(VDB_IRQ_LEVEL, PIN_LEVEL, 0, 0), 0x42);
}
END_TEST

START_TEST(what_cannot_be_is_refused)
{
	ck_assert_int_eq(refusal(3, 0), -EINVAL);
	ck_assert_int_eq(refusal(VDB_IRQ_PIN, 24), -EINVAL);
	ck_assert_int_eq(refusal(VDB_IRQ_LEVEL, 4711), -EINVAL);
}
END_TEST

START_TEST(f30_without_irqchip_there_are_no_interrupts)
{
	struct vdb_vm_config config = {.size = sizeof(config), .irqchip = VDB_IRQCHIP_NONE};

	kvm_fixture_end(&f);
	kvm_fixture_make(&f, &config, 0);
	ck_assert_int_eq(refusal(VDB_IRQ_PIN, 5), -ENOTSUP);
	ck_assert_int_eq(refusal(VDB_IRQ_MSI, 0), -ENOTSUP);
}
END_TEST

START_TEST(a_split_irqchip_takes_msis_only)
{
	struct vdb_vm_config config = {.size = sizeof(config), .irqchip = VDB_IRQCHIP_SPLIT};
	struct vdb_irq *irq;

	kvm_fixture_end(&f);
	kvm_fixture_make(&f, &config, 1);
	ck_assert_int_eq(refusal(VDB_IRQ_PIN, 5), -ENOTSUP);
	irq = make(VDB_IRQ_MSI, 0, MSI_TO(0), VECTOR);
	start_waiters();
	expect_arrivals(irq, 0, VECTOR, 10);
	vdb_irq_destroy(irq);
}
END_TEST

START_TEST(f14_when_no_route_is_left_it_says_so)
{
	uint32_t limit = f.kvm->info.max_gsi_routes;
	struct vdb_irq *irqs[3];

	f.kvm->info.max_gsi_routes = 43; /* 40 lead from the pins */
	for (unsigned i = 0; i < 3; i++)
		irqs[i] = make(VDB_IRQ_MSI, 0, MSI_TO(0), VECTOR);
	ck_assert_int_eq(refusal(VDB_IRQ_MSI, 0), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "43"));
	vdb_irq_destroy(irqs[1]);
	irqs[1] = make(VDB_IRQ_MSI, 0, MSI_TO(0), VECTOR);
	for (unsigned i = 0; i < 3; i++)
		vdb_irq_destroy(irqs[i]);
	f.kvm->info.max_gsi_routes = limit;
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        an_msi_reaches_the_guest_without_an_exit,
	        a_pin_reaches_the_guest,
	        a_level_pin_says_when_the_guest_has_acknowledged,
	        an_msi_can_be_sent_elsewhere,
	        many_sources_come_and_go_and_keep_their_routes,
	        destroy_leaves_nothing_in_the_kernel,
	        what_cannot_be_is_refused,
	        f30_without_irqchip_there_are_no_interrupts,
	        a_split_irqchip_takes_msis_only,
	        f14_when_no_route_is_left_it_says_so,
	        NULL,
	};

	return kvm_tests_run("irq", setup, teardown, tests);
}
