/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* A bare bell rings at its address, by its width and value, and nowhere else. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kvm/vm.h"
#include "kvm_fixture.h"
#include "leak.h"

#define HERE 0xe0000000u
#define THERE 0xe0002000u
#define PORT 0x510u

static struct kvm_fixture f;
static uint32_t on_bus; /* accesses that reached the device behind the bells */

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	(void)access;
	count_done(ctx);
}

static void setup(void)
{
	const struct vdb_bus_ops device = {.size = sizeof(device), .write = on_write};

	kvm_fixture_make(&f, NULL, 1);
	on_bus = 0;
	must(vdb_bus_add(vdb_vm_mmio(f.vm), "device", HERE, 0x4000, &device, &on_bus));
	must(vdb_bus_add(vdb_vm_pio(f.vm), "device", PORT, 0x10, &device, &on_bus));
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

static struct vdb_bell_config at(uint64_t addr, uint32_t len, uint32_t flags, uint64_t match)
{
	return (struct vdb_bell_config){.size = sizeof(struct vdb_bell_config),
	                                .addr = addr,
	                                .len = len,
	                                .flags = flags,
	                                .match = match};
}

static struct vdb_bell *make(uint64_t addr, uint32_t len, uint32_t flags, uint64_t match)
{
	const struct vdb_bell_config config = at(addr, len, flags, match);
	struct vdb_bell *bell;

	must(vdb_bell_create(f.vm, &config, &bell));
	return bell;
}

/* How often it rang since it was last asked. */
static uint64_t rang(const struct vdb_bell *bell)
{
	uint64_t count = 0;

	if (read(vdb_bell_fd(bell), &count, sizeof(count)) < 0)
		ck_assert_int_eq(errno, EAGAIN);
	return count;
}

/* Each writes esi by every width, the widest last, at rdi or to port dx. */
GUEST(widths, "mov %sil, (%rdi)\n mov %si, (%rdi)\n mov %esi, (%rdi)\n mov %rsi, (%rdi)\n ud2");
GUEST(ports, "mov %esi, %eax\n mov %edi, %edx\n out %al, %dx\n out %ax, %dx\n out %eax, %dx\n ud2");
GUEST(word, "mov %esi, (%rdi)\n ud2");

#define WRITE(guest, addr, value) \
	write_by(guest_##guest, (size_t)(guest_##guest##_end - guest_##guest), addr, value)

/* Returns how many of the writes reached the bus. */
static uint32_t write_by(const void *code, size_t bytes, uint64_t addr, uint64_t value)
{
	struct vdb_x86_regs regs;
	uint32_t before = on_bus;

	kvm_fixture_load(&f, 0, code, bytes, addr);
	must(vdb_x86_get_regs(f.vcpu[0], &regs));
	regs.rsi = value;
	must(vdb_x86_set_regs(f.vcpu[0], &regs));
	kvm_fixture_run(&f, 0);
	return on_bus - before;
}

START_TEST(its_width_rings_and_no_other)
{
	for (uint32_t len = 1; len <= 8; len *= 2) {
		struct vdb_bell *bell = make(HERE + 0x10, len, 0, 0);

		ck_assert_uint_eq(WRITE(widths, HERE + 0x10, 5), 3);
		ck_assert_uint_eq(rang(bell), 1);
		ck_assert_uint_eq(WRITE(widths, HERE, 5), 4);
		ck_assert_uint_eq(rang(bell), 0);
		vdb_bell_destroy(bell);
	}
	for (uint32_t len = 1; len <= 4; len *= 2) {
		struct vdb_bell *bell = make(PORT, len, VDB_BELL_PORT, 0);

		ck_assert_uint_eq(WRITE(ports, PORT, 5), 2);
		ck_assert_uint_eq(rang(bell), 1);
		vdb_bell_destroy(bell);
	}
}
END_TEST

START_TEST(any_width_rings)
{
	struct vdb_bell *mmio, *pio;

	if (!(f.kvm->info.features & VDB_KVM_IOEVENTFD_ANY))
		return;
	mmio = make(HERE, 0, 0, 0);
	pio = make(PORT, 0, VDB_BELL_PORT, 0);
	ck_assert_uint_eq(WRITE(widths, HERE, 5), 0);
	ck_assert_uint_eq(rang(mmio), 4);
	ck_assert_uint_eq(WRITE(ports, PORT, 5), 0);
	ck_assert_uint_eq(rang(pio), 3);
	vdb_bell_destroy(mmio);
	vdb_bell_destroy(pio);
}
END_TEST

START_TEST(where_kvm_knows_no_any_width_two_bytes_ring)
{
	struct vdb_bell *bell;

	f.kvm->info.features &= ~(uint64_t)VDB_KVM_IOEVENTFD_ANY;
	bell = make(HERE, 0, 0, 0);
	ck_assert_uint_eq(WRITE(widths, HERE, 5), 3);
	ck_assert_uint_eq(rang(bell), 1);
	vdb_bell_destroy(bell);
}
END_TEST

START_TEST(the_value_picks_the_bell)
{
	struct vdb_bell *five = make(HERE, 4, VDB_BELL_MATCH, 5), *six = make(HERE, 4, VDB_BELL_MATCH, 6);

	ck_assert_uint_eq(WRITE(word, HERE, 5), 0);
	ck_assert_uint_eq(WRITE(word, HERE, 6), 0);
	ck_assert_uint_eq(WRITE(word, HERE, 6), 0);
	ck_assert_uint_eq(WRITE(word, HERE, 7), 1);
	ck_assert_uint_eq(rang(five), 1);
	ck_assert_uint_eq(rang(six), 2);
	vdb_bell_destroy(five);
	vdb_bell_destroy(six);
}
END_TEST

START_TEST(it_moves_with_its_eventfd)
{
	struct vdb_bell *bell = make(VDB_GPA_ANY, 4, 0, 0), *other = make(THERE + 8, 4, 0, 0);
	int fd = vdb_bell_fd(bell);

	ck_assert_uint_eq(WRITE(word, HERE, 1), 1);
	must(vdb_bell_move(bell, HERE));
	ck_assert_uint_eq(WRITE(word, HERE, 1), 0);
	must(vdb_bell_move(bell, THERE));
	must(vdb_bell_move(bell, THERE));
	ck_assert_uint_eq(WRITE(word, HERE, 1), 1);
	ck_assert_uint_eq(WRITE(word, THERE, 1), 0);
	ck_assert_uint_eq(rang(bell), 2);
	/* Where another is it cannot be: silent, and not lost. */
	ck_assert_int_eq(vdb_bell_move(bell, THERE + 8), -EEXIST);
	ck_assert_uint_eq(WRITE(word, THERE, 1), 1);
	ck_assert_int_eq(vdb_bell_move(bell, UINT64_MAX - 1), -EINVAL);
	must(vdb_bell_move(bell, HERE));
	ck_assert_uint_eq(WRITE(word, HERE, 1), 0);
	must(vdb_bell_move(bell, VDB_GPA_ANY));
	ck_assert_uint_eq(WRITE(word, HERE, 1), 1);
	ck_assert_uint_eq(rang(bell), 1);
	ck_assert_int_eq(vdb_bell_fd(bell), fd);
	ck_assert_uint_eq(rang(other), 0);
	vdb_bell_destroy(bell);
	vdb_bell_destroy(other);
}
END_TEST

START_TEST(two_ring_one_eventfd)
{
	struct vdb_bell *page = make(HERE, 4, 0, 0), *port;
	struct vdb_bell_config config = at(PORT, 4, VDB_BELL_PORT | VDB_BELL_FD, 0);
	int fds;

	config.fd = vdb_bell_fd(page);
	fds = leak_fds();
	must(vdb_bell_create(f.vm, &config, &port));
	ck_assert_int_eq(vdb_bell_fd(port), config.fd);
	ck_assert_int_eq(leak_fds(), fds);
	(void)WRITE(word, HERE, 5);
	(void)WRITE(ports, PORT, 5);
	ck_assert_uint_eq(rang(page), 2);
	vdb_bell_destroy(port);
	(void)WRITE(ports, PORT, 5);
	(void)WRITE(word, HERE, 5);
	ck_assert_uint_eq(rang(page), 1);
	vdb_bell_destroy(page);
}
END_TEST

START_TEST(destroy_leaves_nothing_in_the_kernel)
{
	struct vdb_bell *bell = make(HERE, 4, 0, 0);
	int fd = dup(vdb_bell_fd(bell));
	uint64_t count;

	ck_assert_int_eq(vdb_vm_destroy(f.vm, NULL, NULL), -EBUSY);
	vdb_bell_destroy(bell);
	vdb_bell_destroy(NULL);
	ck_assert_uint_eq(WRITE(word, HERE, 1), 1);
	ck_assert_int_lt(read(fd, &count, sizeof(count)), 0);
	close(fd);
}
END_TEST

static void refuse(struct vdb_bell_config config, int err, const char *word)
{
	struct vdb_bell *bell;
	int rc, fds = leak_fds();

	rc = vdb_bell_create(f.vm, &config, &bell);
	ck_assert_msg(rc == err, "%d instead of %d: %s", rc, err, vdb_errmsg());
	ck_assert_msg(strstr(vdb_errmsg(), word), "'%s' is not in: %s", word, vdb_errmsg());
	ck_assert_int_eq(leak_fds(), fds);
}

START_TEST(what_cannot_be_is_refused)
{
	struct vdb_bell_config config = at(THERE, 4, VDB_BELL_FD, 0);
	struct vdb_bell *bell = make(HERE, 4, 0, 0);

	refuse(at(HERE, 4, 0, 0), -EEXIST, "another");
	refuse(at(HERE, 4, VDB_BELL_MATCH, 3), -EEXIST, "another");
	refuse(at(THERE, 3, 0, 0), -EINVAL, "3 bytes");
	refuse(at(THERE, 16, 0, 0), -EINVAL, "16 bytes");
	refuse(at(THERE, 0, VDB_BELL_MATCH, 1), -EINVAL, "length");
	refuse(at(THERE, 2, VDB_BELL_MATCH, 0x10000), -EINVAL, "fit");
	refuse(at(THERE, 4, 8, 0), -EINVAL, "flags");
	config.fd = -1;
	refuse(config, -EINVAL, "fd -1");
	config.flags = 0;
	refuse(config, -EINVAL, "fd -1");
	refuse(at(PORT, 8, VDB_BELL_PORT, 0), -EINVAL, "8 bytes");
	refuse(at(0x10000, 1, VDB_BELL_PORT, 0), -EINVAL, "port");
	refuse(at(0xfffd, 4, VDB_BELL_PORT, 0), -EINVAL, "port");
	refuse(at(UINT64_MAX - 2, 4, 0, 0), -EINVAL, "space");
	vdb_bell_destroy(bell);
}
END_TEST

static void *come_and_go(void *arg)
{
	uint64_t mine = HERE + 0x100 * (uint64_t)(uintptr_t)arg;

	for (unsigned i = 0; i < 25; i++) {
		struct vdb_bell *bell = make(mine, 4, 0, 0);

		must(vdb_bell_move(bell, mine + 8));
		vdb_bell_destroy(bell);
	}
	return NULL;
}

START_TEST(threads_make_bells_at_once)
{
	pthread_t thread[4];
	struct vdb_bell *bell;
	int fds = leak_fds();

	for (uintptr_t i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, come_and_go, (void *)i), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	ck_assert_int_eq(leak_fds(), fds);
	bell = make(HERE + 8, 4, 0, 0);
	ck_assert_uint_eq(WRITE(word, HERE + 8, 1), 0);
	vdb_bell_destroy(bell);
}
END_TEST

/* What takes back an ioeventfd waits for RCU; close(vm) takes back all. */
START_TEST(a_stopped_vm_keeps_them_until_it_goes)
{
	const struct vdb_bell_config config = at(HERE, 4, 0, 0);
	struct vdb_bell *bell = make(HERE, 4, 0, 0), *again;
	int fds = leak_fds();

	must(vdb_vm_stop(f.vm, NULL, NULL));
	vdb_bell_destroy(bell);
	ck_assert_int_eq(leak_fds(), fds - 1);
	ck_assert_int_eq(vdb_bell_create(f.vm, &config, &again), -EEXIST);
	ck_assert_int_eq(leak_fds(), fds - 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        its_width_rings_and_no_other,
	        any_width_rings,
	        where_kvm_knows_no_any_width_two_bytes_ring,
	        the_value_picks_the_bell,
	        it_moves_with_its_eventfd,
	        two_ring_one_eventfd,
	        destroy_leaves_nothing_in_the_kernel,
	        what_cannot_be_is_refused,
	        threads_make_bells_at_once,
	        a_stopped_vm_keeps_them_until_it_goes,
	        NULL,
	};

	return kvm_tests_run("bell", setup, teardown, tests);
}
