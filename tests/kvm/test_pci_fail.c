/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* WRAP: calloc malloc realloc eventfd fcntl ioctl */
/* A PCI bridge of a real VM, with interrupt lines, on a host where any one call fails. */
#include "fail.h"
#include "kvm_fixture.h"
#include "run.h"
#include "turn.h"

static struct kvm_fixture f;
static struct vdb_loop *loop;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 1);
	loop = test_loop_new();
}

static void teardown(void)
{
	test_loop_end(loop);
	kvm_fixture_end(&f);
}

static int come_and_go(void *arg)
{
	const struct vdb_pci_config config = {.size = sizeof(config), .loop = loop};
	struct vdb_pci *pci;
	int err = vdb_pci_create(f.vm, &config, &pci);

	(void)arg;
	if (!err)
		err = vdb_pci_destroy(pci);
	/* What the loop holds of a line it lets go at its turn. */
	for (int i = 0; i < 4; i++)
		fail_check(vdb_loop_step(loop) >= 0);
	return err;
}

START_TEST(f14_a_failure_half_way_leaves_nothing)
{
	ck_assert_uint_ge(fail_sweep(come_and_go, NULL), 5);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("pci_fail");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, f14_a_failure_half_way_leaves_nothing);
	return test_run("pci_fail", tc);
}
