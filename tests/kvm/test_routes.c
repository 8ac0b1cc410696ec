/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: ioctl */
/* LABELS: tsan */
/* The routing table under several threads, and how often KVM is given it. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "kvm/vm.h"
#include "kvm_fixture.h"

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

#define MSI_TO(cpu) (0xfee00000u | (uint64_t)(cpu) << 12)
#define THREADS 4u
#define KEPT 8u

static struct kvm_fixture f;
static uint32_t routings; /* KVM_SET_GSI_ROUTING calls */
static int refused;       /* errno that the next ones get; 0 = none */

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	unsigned long arg;

	va_start(args, request);
	arg = va_arg(args, unsigned long);
	va_end(args);
	if (request == KVM_SET_GSI_ROUTING) {
		__atomic_fetch_add(&routings, 1, __ATOMIC_RELAXED);
		if (refused) {
			errno = refused;
			return -1;
		}
	}
	return __real_ioctl(fd, request, arg);
}

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 0);
	routings = 0;
	refused = 0;
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

static struct vdb_irq *make(uint32_t data)
{
	const struct vdb_irq_config config = {
	        .size = sizeof(config), .kind = VDB_IRQ_MSI, .msi_address = MSI_TO(0), .msi_data = data};
	struct vdb_irq *irq;

	must(vdb_irq_create(f.vm, &config, &irq));
	return irq;
}

/* Where the table that KVM has leads an irq: exactly one entry of it. */
static void expect_route(const struct vdb_irq *irq, uint64_t address, uint32_t data)
{
	const struct kvm_irq_routing *table = f.vm->routes.table;
	uint32_t found = 0;

	for (uint32_t i = 0; i < table->nr; i++) {
		if (table->entries[i].gsi != vdb_irq_gsi(irq))
			continue;
		found++;
		ck_assert_uint_eq(table->entries[i].u.msi.address_lo, address & 0xffffffff);
		ck_assert_uint_eq(table->entries[i].u.msi.address_hi, address >> 32);
		ck_assert_uint_eq(table->entries[i].u.msi.data, data);
	}
	ck_assert_uint_eq(found, 1);
}

START_TEST(a_retarget_is_one_call_whatever_the_number_of_routes)
{
	struct vdb_irq *irqs[200];

	for (uint32_t i = 0; i < 200; i++)
		irqs[i] = make(i);
	ck_assert_uint_eq(routings, 200);
	must(vdb_irq_retarget(irqs[100], MSI_TO(3), 0x77));
	ck_assert_uint_eq(routings, 201);
	expect_route(irqs[100], MSI_TO(3), 0x77);
	/* Where it leads already it needs not be sent. */
	must(vdb_irq_retarget(irqs[100], MSI_TO(3), 0x77));
	must(vdb_irq_retarget(irqs[7], MSI_TO(0), 7));
	ck_assert_uint_eq(routings, 201);
	for (uint32_t i = 0; i < 200; i++) {
		if (i != 100)
			expect_route(irqs[i], MSI_TO(0), i);
	}
	for (uint32_t i = 0; i < 200; i++)
		vdb_irq_destroy(irqs[i]);
}
END_TEST

START_TEST(a_refused_retarget_leaves_it_where_it_was)
{
	struct vdb_irq *irq = make(5);

	refused = EINVAL;
	ck_assert_int_eq(vdb_irq_retarget(irq, MSI_TO(1), 6), -EINVAL);
	expect_route(irq, MSI_TO(0), 5);
	refused = 0;
	must(vdb_irq_retarget(irq, MSI_TO(1), 6));
	expect_route(irq, MSI_TO(1), 6);
	vdb_irq_destroy(irq);
}
END_TEST

static void *come_and_go(void *arg)
{
	uint32_t mine = (uint32_t)(uintptr_t)arg * 0x10;
	struct vdb_irq *irqs[4];

	for (unsigned i = 0; i < 10; i++) {
		for (uint32_t j = 0; j < 4; j++)
			irqs[j] = make(mine + j);
		for (uint32_t j = 0; j < 4; j++)
			must(vdb_irq_retarget(irqs[j], MSI_TO(j), mine + j));
		for (uint32_t j = 0; j < 4; j++)
			vdb_irq_destroy(irqs[j]);
	}
	return NULL;
}

START_TEST(threads_make_and_move_irqs_at_once)
{
	struct vdb_irq *kept[KEPT];
	pthread_t thread[THREADS];
	uint32_t routes;

	for (uint32_t i = 0; i < KEPT; i++)
		kept[i] = make(0x80 + i);
	routes = f.vm->routes.table->nr;
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, come_and_go, (void *)i), 0);
	for (uint32_t i = 0; i < KEPT; i++)
		must(vdb_irq_retarget(kept[i], MSI_TO(2), 0x90 + i));
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(f.vm->routes.table->nr, routes);
	for (uint32_t i = 0; i < KEPT; i++) {
		expect_route(kept[i], MSI_TO(2), 0x90 + i);
		vdb_irq_destroy(kept[i]);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        a_retarget_is_one_call_whatever_the_number_of_routes,
	        a_refused_retarget_leaves_it_where_it_was,
	        threads_make_and_move_irqs_at_once,
	        NULL,
	};

	return kvm_tests_run("routes", setup, teardown, tests);
}
