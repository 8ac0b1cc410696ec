/* SPDX-License-Identifier: Apache-2.0 */
/* What no doorbell may have is refused, with a word why, and nothing is left of the attempt. */
#include <errno.h>
#include <string.h>

#include "bells.h"
#include "kvm_fixture.h"
#include "leak.h"

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 1);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

static struct vdb_doorbell *make(const struct vdb_doorbell_config *config)
{
	struct vdb_doorbell *bell;

	must(vdb_doorbell_create(f.vm, config, &bell));
	return bell;
}

static void refuse(const struct vdb_doorbell_config *config, int err, const char *word)
{
	struct vdb_doorbell *bell;
	int rc, fds = leak_fds();

	rc = vdb_doorbell_create(f.vm, config, &bell);
	ck_assert_msg(rc == err, "%d instead of %d: %s", rc, err, vdb_errmsg());
	ck_assert_msg(strstr(vdb_errmsg(), word), "'%s' is not in: %s", word, vdb_errmsg());
	ck_assert_int_eq(leak_fds(), fds);
}

static const struct vdb_bus_ops device = {.size = sizeof(device)};

START_TEST(addresses_in_use_are_refused)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_MMIO, 1);
	struct vdb_doorbell *bell;

	must(vdb_bus_add(vdb_vm_mmio(f.vm), "nic", 0xe0001800, 16, &device, NULL));
	must(vdb_bus_add(vdb_vm_pio(f.vm), "uart", 0x3f8, 8, &device, NULL));
	config.addr = GUEST_MEM - 0x1000;
	refuse(&config, -EEXIST, "memory");
	config.addr = 0xe0001000;
	refuse(&config, -EEXIST, "nic");
	config.addr = 0xd0000000;
	refuse(&config, -EEXIST, "doorbell pages");
	config.addr = 0xe0000000;
	bell = make(&config);
	refuse(&config, -EEXIST, "'doorbell'");
	config.kind = VDB_DOORBELL_PAGE;
	refuse(&config, -EEXIST, "'doorbell'");
	config.addr = GUEST_DATA;
	refuse(&config, -EEXIST, "memory");
	config.addr = 0xe0001000;
	refuse(&config, -EEXIST, "nic");
	config.kind = VDB_DOORBELL_PIO;
	config.addr = 0x3fc;
	refuse(&config, -EEXIST, "uart");
	vdb_doorbell_destroy(bell);
	config = some(VDB_DOORBELL_PAGE, 1);
	bell = make(&config);
	config.addr = vdb_doorbell_addr(bell);
	refuse(&config, -EEXIST, "another");
	vdb_doorbell_destroy(bell);
}
END_TEST

START_TEST(addresses_that_cannot_be_are_refused)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_PAGE, 1);

	config.addr = 0xd0000800;
	refuse(&config, -EINVAL, "page-aligned");
	config.addr = 0xfffffffffffff000;
	refuse(&config, -EINVAL, "space");
	config.kind = VDB_DOORBELL_MMIO;
	refuse(&config, -EINVAL, "space");
	config.addr = 4;
	refuse(&config, -EINVAL, "page-aligned");
	config.addr = 0xe0000000;
	config.describe = 1;
	config.page = 0xe0001004;
	refuse(&config, -EINVAL, "page-aligned");
	config.describe = 2;
	refuse(&config, -EINVAL, "describe");
	config = some(VDB_DOORBELL_PIO, 1);
	config.addr = 0x10000;
	refuse(&config, -EINVAL, "port");
	config.addr = 0x501;
	refuse(&config, -EINVAL, "port");
	config = some(3, 1);
	refuse(&config, -EINVAL, "kind");
	config = some(VDB_DOORBELL_PAGE, 1);
	config.page = 0xe0000000;
	refuse(&config, -EINVAL, "own page");
}
END_TEST

START_TEST(rings_that_cannot_be_are_refused)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_PAGE, 0);
	struct vdb_doorbell_ring rings[2] = {some_rings[0], some_rings[1]};

	refuse(&config, -EINVAL, "1 to 63");
	config.ring_count = 64;
	refuse(&config, -EINVAL, "1 to 63");
	config.rings = rings;
	config.ring_count = 2;
	rings[1].match = rings[0].match;
	refuse(&config, -EINVAL, "match");
	rings[1].match = 9;
	rings[1].ring_gpa = rings[0].ring_gpa + VDB_RING_BYTES(8, 16) - 64;
	refuse(&config, -EINVAL, "overlap");
	rings[1].ring_gpa = 0x20020;
	refuse(&config, -EINVAL, "aligned");
	rings[1].ring_gpa = 0xffffffffffffffc0;
	refuse(&config, -EINVAL, "wraps");
	rings[1].ring_gpa = 0x20000;
	rings[1].sq_entries = 12;
	refuse(&config, -EINVAL, "powers of two");
	rings[1].sq_entries = 16;
	refuse(&config, -EINVAL, "fewer");
	rings[1].sq_entries = rings[1].cq_entries = 65536;
	refuse(&config, -EINVAL, "powers of two");
}
END_TEST

START_TEST(memory_over_a_doorbell_is_refused)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_MMIO, 1);
	struct vdb_region_config region = {.size = sizeof(region), .gpa = 0xdff00000, .len = 0x200000};
	struct vdb_doorbell *bell;

	config.addr = 0xe0000000;
	bell = make(&config);
	ck_assert_int_eq(vdb_mem_add(f.mem, &region), -EEXIST);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "doorbell"));
	vdb_doorbell_destroy(bell);
	must(vdb_mem_add(f.mem, &region));
	region.gpa = 0xcff00000;
	ck_assert_int_eq(vdb_mem_add(f.mem, &region), -EEXIST);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "doorbell_gpa"));
	must(vdb_mem_remove(f.mem, 0xdff00000, NULL, NULL));
}
END_TEST

static void fill(uint32_t kind, uint32_t pieces)
{
	struct vdb_doorbell_config config = some(kind, 1);
	struct vdb_doorbell *bells[8];

	for (uint32_t i = 0; i < pieces; i++)
		bells[i] = make(&config);
	refuse(&config, -ENOSPC, "full");
	vdb_doorbell_destroy(bells[2]);
	bells[2] = make(&config);
	refuse(&config, -ENOSPC, "full");
	for (uint32_t i = 0; i < pieces; i++)
		vdb_doorbell_destroy(bells[i]);
}

START_TEST(a_full_window_says_so)
{
	struct vdb_vm_config config = {.size = sizeof(config), .doorbell_pages = 4, .doorbell_ports = 5};

	kvm_fixture_end(&f);
	kvm_fixture_make(&f, &config, 1);
	fill(VDB_DOORBELL_PAGE, 4);
	fill(VDB_DOORBELL_MMIO, 4);
	fill(VDB_DOORBELL_PIO, 5);
}
END_TEST

START_TEST(memory_where_the_window_would_be_is_refused)
{
	struct vdb_vm_config config = {.size = sizeof(config), .doorbell_gpa = GUEST_DATA};
	struct vdb_vm *vm;

	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EEXIST);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "doorbell_gpa"));
	config.doorbell_gpa = 0x12345;
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
	config.doorbell_gpa = 0xfffffffffffff000;
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
	config.doorbell_gpa = 0;
	config.doorbell_port = 0xfffc;
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
	/* A doorbell's address can be named again, and that must be a multiple of 4. */
	config.doorbell_ports = 1;
	config.doorbell_port = 0x6001;
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
	config.doorbell_port = 0xfffc;
	must(vdb_vm_create(f.kvm, f.mem, &config, &vm));
	must(vdb_vm_destroy(vm, NULL, NULL));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        addresses_in_use_are_refused,
	        addresses_that_cannot_be_are_refused,
	        rings_that_cannot_be_are_refused,
	        memory_over_a_doorbell_is_refused,
	        a_full_window_says_so,
	        memory_where_the_window_would_be_is_refused,
	        NULL,
	};

	return kvm_tests_run("doorbell_refusals", setup, teardown, tests);
}
