/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* A guest rings and goes on: the write arrives at an eventfd, and nowhere else. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bells.h"
#include "kvm/page.h"
#include "kvm_fixture.h"
#include "leak.h"

#define RINGS 1000u

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

/* What has arrived since it was last asked. */
static uint64_t arrived(const struct vdb_doorbell *bell, uint32_t ring)
{
	uint64_t count = 0;

	if (read(vdb_doorbell_fd(bell, ring), &count, sizeof(count)) < 0)
		ck_assert_int_eq(errno, EAGAIN);
	return count;
}

/* Writes esi, ecx times; by mmio to rdi or by out to port dx. */
GUEST(mmio, "1: mov %esi, (%rdi)\n dec %ecx\n jnz 1b\n ud2");
GUEST(pio, "mov %esi, %eax\n mov %edi, %edx\n 1: out %eax, %dx\n dec %ecx\n jnz 1b\n ud2");

/* Returns how often KVM_RUN returned, but for the end. */
static uint64_t write_at(bool port, uint64_t addr, uint32_t value, uint32_t times)
{
	struct vdb_x86_regs regs;
	uint64_t before = kvm_fixture_stats(&f, 0).runs;

	if (port)
		LOAD(&f, 0, pio, addr);
	else
		LOAD(&f, 0, mmio, addr);
	must(vdb_x86_get_regs(f.vcpu[0], &regs));
	regs.rsi = value;
	regs.rcx = times;
	must(vdb_x86_set_regs(f.vcpu[0], &regs));
	kvm_fixture_run(&f, 0);
	return kvm_fixture_stats(&f, 0).runs - before - 1;
}

static uint64_t ring_bell(const struct vdb_doorbell *bell, bool port, uint32_t value, uint32_t times)
{
	return write_at(port, vdb_doorbell_addr(bell), value, times);
}

static void rings_without_exit(uint32_t kind)
{
	struct vdb_doorbell_config config = some(kind, 1);
	struct vdb_doorbell *bell = make(&config);
	bool port = kind == VDB_DOORBELL_PIO;

	ck_assert_uint_eq(ring_bell(bell, port, 0, RINGS), 0);
	ck_assert_uint_eq(arrived(bell, 0), RINGS);
	/* With one ring every value rings. */
	ck_assert_uint_eq(ring_bell(bell, port, 0xdeadbeef, 1), 0);
	ck_assert_uint_eq(arrived(bell, 0), 1);
	ck_assert_int_eq(vdb_doorbell_fd(bell, 1), -1);
	vdb_doorbell_destroy(bell);
}

START_TEST(a_page_rings_without_an_exit_to_user_space)
{
	rings_without_exit(VDB_DOORBELL_PAGE);
}
END_TEST

START_TEST(unbacked_mmio_rings_without_an_exit_to_user_space)
{
	rings_without_exit(VDB_DOORBELL_MMIO);
}
END_TEST

START_TEST(a_port_rings_without_an_exit_to_user_space)
{
	rings_without_exit(VDB_DOORBELL_PIO);
}
END_TEST

static void value_picks_the_ring(uint32_t kind)
{
	struct vdb_doorbell_config config = some(kind, 3);
	struct vdb_doorbell *bell = make(&config);
	bool port = kind == VDB_DOORBELL_PIO;

	ck_assert_uint_eq(ring_bell(bell, port, 7, 200), 0);
	ck_assert_uint_eq(ring_bell(bell, port, 5, 3), 0);
	ck_assert_uint_eq(ring_bell(bell, port, 0xffffffff, 1), 0);
	ck_assert_uint_eq(arrived(bell, 0), 3);
	ck_assert_uint_eq(arrived(bell, 1), 200);
	ck_assert_uint_eq(arrived(bell, 2), 1);
	/* What rings nobody is an exit, and ends there. */
	ck_assert_uint_eq(ring_bell(bell, port, 6, 2), 2);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(arrived(bell, i), 0);
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).unclaimed, 0);
	vdb_doorbell_destroy(bell);
}

START_TEST(the_value_picks_one_of_several_rings)
{
	value_picks_the_ring(VDB_DOORBELL_PAGE);
	value_picks_the_ring(VDB_DOORBELL_MMIO);
	value_picks_the_ring(VDB_DOORBELL_PIO);
}
END_TEST

GUEST(widths, "movb $1, (%rdi)\n movw $1, (%rdi)\n movl $1, (%rdi)\n movq $1, (%rdi)\n ud2");

START_TEST(unbacked_mmio_with_one_ring_takes_every_width)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_MMIO, 1);
	struct vdb_doorbell *bell = make(&config);
	struct vdb_kvm_info info = {.size = sizeof(info)};

	must(vdb_kvm_query(f.kvm, &info));
	LOAD(&f, 0, widths, vdb_doorbell_addr(bell));
	kvm_fixture_run(&f, 0);
	ck_assert_uint_eq(arrived(bell, 0), info.features & VDB_KVM_IOEVENTFD_ANY ? 4 : 1);
	vdb_doorbell_destroy(bell);
}
END_TEST

/* ---- What the page says ---- */

GUEST(copy, "mov %rdi, %rsi\n mov $0x300000, %edi\n mov $1024, %ecx\n rep movsl\n ud2");

static void guest_reads(vdb_gpa_t page, unsigned char *to)
{
	memset(f.ram + GUEST_DATA, 0xee, VDB_PAGE_SIZE);
	LOAD(&f, 0, copy, page);
	kvm_fixture_run(&f, 0);
	memcpy(to, f.ram + GUEST_DATA, VDB_PAGE_SIZE);
}

static void expect_page(const struct vdb_doorbell *bell, uint32_t kind, uint32_t rings)
{
	unsigned char expected[VDB_PAGE_SIZE], read[VDB_PAGE_SIZE];
	struct vdb__bell where = {.kind = kind, .addr = vdb_doorbell_addr(bell)};
	uint64_t exits = kvm_fixture_stats(&f, 0).exits_mmio;

	vdb__page_build(expected, vdb_doorbell_page(bell), &where, some_rings, rings);
	guest_reads(vdb_doorbell_page(bell), read);
	ck_assert_mem_eq(expected, read, sizeof(read));
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).exits_mmio, exits);
}

START_TEST(the_guest_reads_the_page_at_memory_speed)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_PAGE, 3);
	struct vdb_doorbell *bell = make(&config);

	ck_assert_uint_eq(vdb_doorbell_page(bell), vdb_doorbell_addr(bell));
	expect_page(bell, VDB_BELL_MMIO, 3);
	vdb_doorbell_destroy(bell);
}
END_TEST

START_TEST(the_guest_cannot_change_the_page)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_PAGE, 1);
	struct vdb_doorbell *bell = make(&config);

	/* Past the bell: an exit that nobody heeds. */
	ck_assert_uint_eq(write_at(false, vdb_doorbell_page(bell) + 64, 0, 1), 1);
	ck_assert_uint_eq(ring_bell(bell, false, 0, 1), 0);
	expect_page(bell, VDB_BELL_MMIO, 1);
	ck_assert_uint_eq(arrived(bell, 0), 1);
	vdb_doorbell_destroy(bell);
}
END_TEST

START_TEST(a_page_may_name_a_bell_elsewhere)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_MMIO, 2);
	struct vdb_doorbell *mmio, *pio;

	config.describe = 1;
	mmio = make(&config);
	config.kind = VDB_DOORBELL_PIO;
	config.page = 0xe0000000;
	pio = make(&config);
	ck_assert_uint_ne(vdb_doorbell_page(mmio), vdb_doorbell_addr(mmio));
	ck_assert_uint_eq(vdb_doorbell_page(pio), 0xe0000000);
	expect_page(mmio, VDB_BELL_MMIO, 2);
	expect_page(pio, VDB_BELL_PIO, 2);
	ck_assert_uint_eq(ring_bell(mmio, false, 7, 1), 0);
	ck_assert_uint_eq(ring_bell(pio, true, 5, 2), 0);
	ck_assert_uint_eq(arrived(mmio, 1), 1);
	ck_assert_uint_eq(arrived(pio, 0), 2);
	vdb_doorbell_destroy(mmio);
	vdb_doorbell_destroy(pio);
}
END_TEST

START_TEST(without_a_page_there_is_none)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_MMIO, 1);
	const struct vdb_doorbell_ring nothing = {.match = 0};
	struct vdb_doorbell *bell;

	/* A virtio notify register: the rings are described elsewhere. */
	config.rings = &nothing;
	bell = make(&config);
	ck_assert_uint_eq(vdb_doorbell_page(bell), VDB_GPA_ANY);
	vdb_doorbell_destroy(bell);
}
END_TEST

/* ---- Addresses ---- */

START_TEST(the_caller_may_name_every_address)
{
	static const vdb_gpa_t pages[] = {0xd0003000, 0xe0000000, 0x100000000};
	struct vdb_doorbell_config config = some(VDB_DOORBELL_PAGE, 1);
	struct vdb_doorbell *bell[3], *mmio, *pio, *next[4];

	for (unsigned i = 0; i < 3; i++) {
		config.addr = pages[i];
		bell[i] = make(&config);
		ck_assert_uint_eq(vdb_doorbell_addr(bell[i]), pages[i]);
	}
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_uint_eq(ring_bell(bell[i], false, 0, i + 1), 0);
		ck_assert_uint_eq(arrived(bell[i], 0), i + 1);
		expect_page(bell[i], VDB_BELL_MMIO, 1);
	}
	config.kind = VDB_DOORBELL_MMIO;
	config.addr = 0xe0001000;
	mmio = make(&config);
	ck_assert_uint_eq(ring_bell(mmio, false, 0, 7), 0);
	ck_assert_uint_eq(arrived(mmio, 0), 7);
	config.kind = VDB_DOORBELL_PIO;
	config.addr = 0x510;
	pio = make(&config);
	ck_assert_uint_eq(ring_bell(pio, true, 0, 7), 0);
	ck_assert_uint_eq(arrived(pio, 0), 7);
	/* The allocator goes round what was named. */
	config.kind = VDB_DOORBELL_PAGE;
	for (unsigned i = 0; i < 4; i++) {
		config.addr = VDB_GPA_ANY;
		next[i] = make(&config);
		ck_assert_uint_eq(vdb_doorbell_addr(next[i]), 0xd0000000 + (i < 3 ? i : 4) * 0x1000);
	}
	/* The VM cannot go before them. */
	ck_assert_int_eq(vdb_vm_destroy(f.vm, NULL, NULL), -EBUSY);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "9 bells"));
	for (unsigned i = 0; i < 3; i++)
		vdb_doorbell_destroy(bell[i]);
	for (unsigned i = 0; i < 4; i++)
		vdb_doorbell_destroy(next[i]);
	vdb_doorbell_destroy(mmio);
	vdb_doorbell_destroy(pio);
}
END_TEST

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	(void)access;
	count_done(ctx);
}

static const struct vdb_bus_ops device = {.size = sizeof(device), .write = on_write};

/* A device may move in where a doorbell was, and a doorbell where the device was. */
static void leaves_nothing(uint32_t kind, uint64_t addr)
{
	struct vdb_doorbell_config config = some(kind, 1);
	bool port = kind == VDB_DOORBELL_PIO;
	struct vdb_bus *bus = port ? vdb_vm_pio(f.vm) : vdb_vm_mmio(f.vm);
	struct vdb_doorbell *bell;
	uint32_t writes = 0;
	uint64_t count;
	int fd;

	config.addr = addr;
	for (unsigned i = 1; i <= 3; i++) {
		bell = make(&config);
		ck_assert_int_eq(vdb_bus_add(bus, "device", addr, 4, &device, &writes), -EEXIST);
		fd = dup(vdb_doorbell_fd(bell, 0));
		vdb_doorbell_destroy(bell);
		must(vdb_bus_add(bus, "device", addr, 4, &device, &writes));
		ck_assert_uint_eq(write_at(port, addr, 1, 1), 1);
		ck_assert_uint_eq(writes, i);
		ck_assert_int_eq(read(fd, &count, sizeof(count)), -1);
		close(fd);
		must(vdb_bus_remove(bus, addr));
		ck_assert_uint_eq(write_at(port, addr, 1, 1), 1);
	}
	bell = make(&config);
	ck_assert_uint_eq(write_at(port, addr, 1, 4), 0);
	ck_assert_uint_eq(arrived(bell, 0), 4);
	vdb_doorbell_destroy(bell);
}

START_TEST(destroy_leaves_nothing_in_the_kernel)
{
	int fds = leak_fds();

	leaves_nothing(VDB_DOORBELL_PAGE, 0xe0000000);
	leaves_nothing(VDB_DOORBELL_MMIO, 0xe0000000);
	leaves_nothing(VDB_DOORBELL_MMIO, 0xd0100000); /* in the window */
	leaves_nothing(VDB_DOORBELL_PIO, 0x6000);
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

START_TEST(a_page_of_the_window_is_blank_afterwards)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_PAGE, 3);
	unsigned char read[VDB_PAGE_SIZE], blank[VDB_PAGE_SIZE] = {0};
	struct vdb_doorbell *bell = make(&config);
	vdb_gpa_t gpa = vdb_doorbell_addr(bell);

	vdb_doorbell_destroy(bell);
	guest_reads(gpa, read);
	ck_assert_mem_eq(read, blank, sizeof(read));
	ck_assert_uint_eq(write_at(false, gpa, 5, 1), 1);
	bell = make(&config);
	ck_assert_uint_eq(vdb_doorbell_addr(bell), gpa);
	ck_assert_uint_eq(ring_bell(bell, false, 5, 2), 0);
	ck_assert_uint_eq(arrived(bell, 0), 2);
	vdb_doorbell_destroy(bell);
}
END_TEST

/* ---- Limits ---- */

START_TEST(the_limit_of_open_files_is_named)
{
	struct vdb_doorbell_config config = some(VDB_DOORBELL_MMIO, 3);
	struct rlimit before, limit;
	struct vdb_doorbell *bell;
	char number[24];
	int next;

	must(getrlimit(RLIMIT_NOFILE, &before));
	limit = before;
	next = dup(0);
	close(next);
	limit.rlim_cur = (rlim_t)next + 2; /* two of three rings */
	snprintf(number, sizeof(number), " %llu ", (unsigned long long)limit.rlim_cur);
	must(setrlimit(RLIMIT_NOFILE, &limit));
	ck_assert_int_eq(vdb_doorbell_create(f.vm, &config, &bell), -EMFILE);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "RLIMIT_NOFILE"));
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), number));
	must(setrlimit(RLIMIT_NOFILE, &before));
	bell = make(&config);
	vdb_doorbell_destroy(bell);
}
END_TEST

#define MANY 2000u

START_TEST(two_thousand_doorbells_in_one_vm)
{
	struct vdb_vm_config vm_config = {.size = sizeof(vm_config), .doorbell_pages = MANY};
	struct vdb_doorbell_config config = some(VDB_DOORBELL_PAGE, 1);
	static struct vdb_doorbell *bells[MANY];
	struct rlimit limit;

	must(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = limit.rlim_max;
	must(setrlimit(RLIMIT_NOFILE, &limit));
	ck_assert_msg(limit.rlim_max > MANY + 50, "needs a hard limit of %u open files", MANY + 50);
	kvm_fixture_end(&f);
	kvm_fixture_make(&f, &vm_config, 1);
	for (uint32_t i = 0; i < MANY; i++) {
		config.kind = i % 2 ? VDB_DOORBELL_PAGE : VDB_DOORBELL_MMIO;
		bells[i] = make(&config);
	}
	for (uint32_t i = 0; i < MANY; i += i < 2 ? 1 : 333) {
		ck_assert_uint_eq(ring_bell(bells[i], false, 0, i + 1), 0);
		ck_assert_uint_eq(arrived(bells[i], 0), i + 1);
	}
	for (uint32_t i = 0; i < MANY; i++)
		vdb_doorbell_destroy(bells[i]);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        a_page_rings_without_an_exit_to_user_space,
	        unbacked_mmio_rings_without_an_exit_to_user_space,
	        a_port_rings_without_an_exit_to_user_space,
	        the_value_picks_one_of_several_rings,
	        unbacked_mmio_with_one_ring_takes_every_width,
	        the_guest_reads_the_page_at_memory_speed,
	        the_guest_cannot_change_the_page,
	        a_page_may_name_a_bell_elsewhere,
	        without_a_page_there_is_none,
	        the_caller_may_name_every_address,
	        destroy_leaves_nothing_in_the_kernel,
	        a_page_of_the_window_is_blank_afterwards,
	        the_limit_of_open_files_is_named,
	        two_thousand_doorbells_in_one_vm,
	        NULL,
	};

	return kvm_tests_run("doorbell", setup, teardown, tests);
}
