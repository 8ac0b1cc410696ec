/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU in a sandbox: its guest runs, rings, is kicked and stopped; its thread can do nothing else. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kvm_fixture.h"
#include "run.h"

#define PORT_TRY 0x40u
#define KVM_CREATE_VM_REQUEST 0xae01u
#define KVM_RUN_REQUEST 0xae80u

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 1);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

/* NULL: this build or this kernel has no filters. */
static struct vdb_sandbox *make_sandbox(uint32_t refuse)
{
	struct vdb_sandbox_config config = {.size = sizeof(config), .refuse = refuse};
	struct vdb_sandbox *sandbox;

	must(vdb_sandbox_create(&config, &sandbox));
	if (vdb_sandbox_parts(sandbox) & VDB_SANDBOX_SECCOMP)
		return sandbox;
	test_skipped_part("a vCPU's filter", vdb_sandbox_why(sandbox, VDB_SANDBOX_SECCOMP));
	vdb_sandbox_destroy(sandbox);
	return NULL;
}

/* On the vCPU's thread: errno of each call, as it would be for whoever has taken that thread over. */
static int seen[6];

static int tried(long nr, long a, long b)
{
	errno = 0;
	return syscall(nr, a, b, 0, 0, 0) < 0 ? errno : 0;
}

static void try_what_is_forbidden(void *ctx, struct vdb_bus_access *access)
{
	(void)ctx;
	(void)access;
	seen[0] = tried(SYS_socket, AF_INET, SOCK_STREAM);
	seen[1] = tried(SYS_execve, 0, 0);
	seen[2] = tried(SYS_io_uring_setup, 1, 0);
	seen[3] = tried(SYS_ioctl, -1, KVM_CREATE_VM_REQUEST);
	seen[4] = tried(SYS_tgkill, 1, 1);
	seen[5] = tried(SYS_ioctl, -1, KVM_RUN_REQUEST);
}

GUEST(tries, "out %eax, $0x40\n mov $7, %eax\n out %eax, $0x10\n ud2");

START_TEST(a_vcpus_thread_runs_its_guest_and_nothing_else)
{
	static const struct vdb_bus_ops ops = {.size = sizeof(ops), .write = try_what_is_forbidden};
	struct vdb_sandbox *sandbox = make_sandbox(VDB_REFUSE_ERRNO);

	if (!sandbox)
		return;
	must(vdb_bus_add(vdb_vm_pio(f.vm), "try", PORT_TRY, 4, &ops, NULL));
	LOAD(&f, 0, tries, 0);
	vdb_sandbox_inherit(sandbox);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	wait_for32(&f.events, 1); /* the guest's end */
	ck_assert_uint_eq(f.report[0], 7);
	for (size_t i = 0; i < 5; i++)
		ck_assert_msg(seen[i] == EPERM, "call %zu: errno %d", i, seen[i]);
	ck_assert_int_eq(seen[5], EBADF); /* which is its own */
	vdb_sandbox_inherit(NULL);
	vdb_sandbox_destroy(sandbox);
}
END_TEST

GUEST(spins, "1: incl (%rdi)\n jmp 1b");

START_TEST(kicks_and_stops_need_nothing_that_is_forbidden)
{
	struct vdb_sandbox *sandbox = make_sandbox(VDB_REFUSE_KILL);
	uint32_t stopped = 0;

	if (!sandbox)
		return;
	LOAD(&f, 0, spins, GUEST_DATA);
	vdb_sandbox_inherit(sandbox);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	while (!kvm_fixture_word(&f, GUEST_DATA))
		sched_yield();
	for (unsigned i = 0; i < 100; i++) {
		uint64_t before = kvm_fixture_stats(&f, 0).exits_intr;

		vdb_vcpu_kick(f.vcpu[0]);
		while (kvm_fixture_stats(&f, 0).exits_intr == before)
			sched_yield();
	}
	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	ck_assert_uint_eq(f.events, 0);
	vdb_sandbox_inherit(NULL);
	vdb_sandbox_destroy(sandbox);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_vcpus_thread_runs_its_guest_and_nothing_else,
	                              kicks_and_stops_need_nothing_that_is_forbidden, NULL};

	return kvm_tests_run("sandbox", setup, teardown, tests);
}
