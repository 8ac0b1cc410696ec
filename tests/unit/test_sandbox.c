/* SPDX-License-Identifier: Apache-2.0 */
/* What is refused to whom inside a sandbox, and what is not. Each case enters in a process of its own. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/loop.h>
#include <vdb/sandbox.h>
#include <vdb/worker.h>

#include "run.h"

/* KVM's, whose header is for the kvm layer alone. */
#define KVM_RUN_REQUEST 0xae80u
#define KVM_CREATE_VM_REQUEST 0xae01u

static struct vdb_sandbox *make(struct vdb_sandbox_config config)
{
	struct vdb_sandbox *sandbox;

	config.size = sizeof(config);
	ck_assert_msg(vdb_sandbox_create(&config, &sandbox) == 0, "%s", vdb_errmsg());
	return sandbox;
}

/* NULL: this build or this kernel has no filters. */
static struct vdb_sandbox *make_filtered(struct vdb_sandbox_config config)
{
	struct vdb_sandbox *sandbox = make(config);

	if (vdb_sandbox_parts(sandbox) & VDB_SANDBOX_SECCOMP)
		return sandbox;
	test_skipped_part("filters of system calls", vdb_sandbox_why(sandbox, VDB_SANDBOX_SECCOMP));
	vdb_sandbox_destroy(sandbox);
	return NULL;
}

static void enter(struct vdb_sandbox *sandbox, uint32_t kind)
{
	ck_assert_msg(vdb_sandbox_enter(sandbox, kind) == 0, "%s", vdb_errmsg());
}

/* Check's own threads call what no filter lists: who enters is another. */
struct inside {
	void (*fn)(int which);
	int which;
};

static void *run_inside(void *arg)
{
	const struct inside *inside = arg;

	inside->fn(inside->which);
	return NULL;
}

static void in_a_thread(void (*fn)(int which), int which)
{
	struct inside inside = {fn, which};
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, run_inside, &inside), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* ---- System calls ---- */

/* Of no thread at all, sanitizers or not. Those with arguments that would do no harm. */
static const struct {
	long nr, a, b, c;
} never[] = {
        {.nr = SYS_execve},
        {.nr = SYS_execveat, .a = -1},
        {.nr = SYS_fork},
        {.nr = SYS_vfork},
        {.nr = SYS_mount},
        {.nr = SYS_umount2},
        {.nr = SYS_pivot_root},
        {.nr = SYS_chroot},
        {.nr = SYS_unshare},
        {.nr = SYS_setns, .a = -1},
        {.nr = SYS_bpf, .a = -1},
        {.nr = SYS_perf_event_open},
        {.nr = SYS_init_module},
        {.nr = SYS_finit_module, .a = -1},
        {.nr = SYS_kexec_load, .b = 99},
        {.nr = SYS_keyctl, .a = -1},
        {.nr = SYS_add_key},
        {.nr = SYS_userfaultfd, .a = -1},
        {.nr = SYS_open_by_handle_at, .a = -1},
        {.nr = SYS_process_vm_writev, .a = -1},
        {.nr = SYS_pidfd_open, .a = -1},
        {.nr = SYS_setuid, .a = -1},
        {.nr = SYS_chmod},
        {.nr = SYS_rename},
        {.nr = SYS_symlink},
        {.nr = SYS_socket, .a = AF_INET, .b = SOCK_STREAM},
        {.nr = SYS_socket, .a = AF_NETLINK, .b = SOCK_RAW},
        {.nr = SYS_socket, .a = AF_PACKET, .b = SOCK_RAW},
        {.nr = SYS_ioctl, .a = 0, .b = 0x5412 /* TIOCSTI: types into a terminal */},
        {.nr = SYS_ioctl, .a = 0, .b = 0x40049409 /* FICLONE */},
        {.nr = SYS_fcntl, .a = 0, .b = F_SETOWN},
        {.nr = SYS_tgkill, .a = 1, .b = 1, .c = 0},
};

static const struct {
	const char *name;
	uint32_t kind;
} kinds[] = {{"control", VDB_THREAD_CONTROL}, {"loop", VDB_THREAD_LOOP}, {"vcpu", VDB_THREAD_VCPU}};
#define KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))

static void what_no_thread_needs_is_refused_to_each_inside(int which)
{
	struct vdb_sandbox *sandbox = make_filtered((struct vdb_sandbox_config){0});

	if (!sandbox)
		return;
	enter(sandbox, kinds[which].kind);
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		errno = 0;
		ck_assert_msg(syscall(never[i].nr, never[i].a, never[i].b, never[i].c, 0, 0) == -1 &&
		                      errno == EPERM,
		              "a %s thread: call %ld(%ld, %ld): errno %d", kinds[which].name, never[i].nr,
		              never[i].a, never[i].b, errno);
	}
	vdb_sandbox_destroy(sandbox);
}

START_TEST(what_no_thread_needs_is_refused_to_each)
{
	in_a_thread(what_no_thread_needs_is_refused_to_each_inside, _i);
}
END_TEST

/* Whether a call gets as far as the kernel's own refusal. */
static bool allowed(long nr, long a, long b)
{
	errno = 0;
	return syscall(nr, a, b, 0, 0, 0) >= 0 || errno != EPERM;
}

static void each_kind_has_its_own_inside(int which)
{
	static const struct {
		long nr, a, b;
		bool may[3]; /* by kind */
	} table[] = {
	        {SYS_ioctl, -1, KVM_RUN_REQUEST, {true, false, true}},
	        {SYS_ioctl, -1, KVM_CREATE_VM_REQUEST, {true, false, false}},
	        {SYS_io_uring_enter, -1, 0, {true, true, false}},
	        {SYS_io_uring_setup, 0, 0, {true, false, false}},
	        {SYS_io_uring_register, -1, 2, {true, true, false}},
	        {SYS_io_uring_register, -1, 9, {false, false, false}}, /* a personality */
	        {SYS_sendmsg, -1, 0, {true, true, true}},
	        {SYS_recvmmsg, -1, 0, {true, true, false}},
	        {SYS_memfd_create, 0, 0, {true, false, false}},
	        {SYS_ftruncate, -1, 0, {true, false, false}},
	        {SYS_fdatasync, -1, 0, {true, true, false}},
	};
	struct vdb_sandbox *sandbox = make_filtered((struct vdb_sandbox_config){0});

	if (!sandbox)
		return;
	enter(sandbox, kinds[which].kind);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		ck_assert_msg(allowed(table[i].nr, table[i].a, table[i].b) == table[i].may[kinds[which].kind],
		              "a %s thread: call %ld(%ld, %#lx)", kinds[which].name, table[i].nr, table[i].a,
		              table[i].b);
	vdb_sandbox_destroy(sandbox);
}

START_TEST(each_kind_has_its_own)
{
	in_a_thread(each_kind_has_its_own_inside, _i);
}
END_TEST

static void sockets_are_for_those_who_say_so_inside(int which)
{
	struct vdb_sandbox *sandbox =
	        make_filtered((struct vdb_sandbox_config){.uses = which ? VDB_SANDBOX_SOCKETS : 0});

	if (!sandbox)
		return;
	enter(sandbox, VDB_THREAD_LOOP);
	ck_assert(allowed(SYS_socket, AF_UNIX, SOCK_STREAM) == (bool)which);
	ck_assert(allowed(SYS_connect, -1, 0) == (bool)which);
	ck_assert(allowed(SYS_accept4, -1, 0) == (bool)which);
	ck_assert(!allowed(SYS_socket, AF_INET, SOCK_STREAM));
	vdb_sandbox_destroy(sandbox);
}

START_TEST(sockets_are_for_those_who_say_so)
{
	in_a_thread(sockets_are_for_those_who_say_so_inside, _i);
}
END_TEST

static void an_embedder_adds_what_its_own_code_calls_inside(int which)
{
	const struct vdb_sandbox_call calls[] = {
	        {.kinds = VDB_SANDBOX_THREAD(VDB_THREAD_LOOP), .nr = SYS_sync_file_range},
	        {.nr = SYS_getpriority, .arg = 1, .mask = 0xffffffffu, .value = 0},
	};
	struct vdb_sandbox *sandbox =
	        make_filtered((struct vdb_sandbox_config){.calls = calls, .call_count = 2});
	bool control = kinds[which].kind == VDB_THREAD_CONTROL, loop = kinds[which].kind == VDB_THREAD_LOOP;

	if (!sandbox)
		return;
	enter(sandbox, kinds[which].kind);
	ck_assert(allowed(SYS_sync_file_range, -1, 0) == (control || loop));
	ck_assert(allowed(SYS_getpriority, 0, 0) == control);
	ck_assert(!allowed(SYS_getpriority, 1, 0));
	vdb_sandbox_destroy(sandbox);
}

START_TEST(an_embedder_adds_what_its_own_code_calls)
{
	in_a_thread(an_embedder_adds_what_its_own_code_calls_inside, _i);
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void memory_never_becomes_code_inside(int which)
{
	struct vdb_sandbox *sandbox = make_filtered((struct vdb_sandbox_config){0});

	if (!sandbox)
		return;
	enter(sandbox, kinds[which].kind);
	errno = 0;
	ck_assert_int_eq(syscall(SYS_mmap, NULL, 4096, 5 /* read, execute */, 0x22, -1, 0), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert(!allowed(SYS_openat, -1, 0));
	vdb_sandbox_destroy(sandbox);
}

START_TEST(memory_never_becomes_code)
{
	in_a_thread(memory_never_becomes_code_inside, _i);
}
END_TEST
#endif

START_TEST(killed_by_what_is_refused)
{
	struct vdb_sandbox *sandbox = make_filtered((struct vdb_sandbox_config){.refuse = VDB_REFUSE_KILL});

	if (!sandbox)
		raise(SIGSYS);
	else
		enter(sandbox, kinds[_i].kind);
	(void)syscall(SYS_chroot, NULL);
	exit(0); /* which is the wrong end */
}
END_TEST

/* ---- Files ---- */

static void only_given_paths_can_be_opened_inside(int which)
{
	char folder[] = "/tmp/vdb-sandbox-XXXXXX", inside[64], there[64];
	struct vdb_sandbox_path path = {.path = folder, .access = VDB_SANDBOX_READ};
	struct vdb_sandbox *sandbox;
	int fd;

	ck_assert_ptr_nonnull(mkdtemp(folder));
	(void)snprintf(inside, sizeof(inside), "%s/new", folder);
	(void)snprintf(there, sizeof(there), "%s/there", folder);
	fd = open(there, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	path.access |= which ? VDB_SANDBOX_CREATE : 0;
	sandbox = make((struct vdb_sandbox_config){.paths = &path, .path_count = 1});
	if (vdb_sandbox_parts(sandbox) & VDB_SANDBOX_LANDLOCK) {
		enter(sandbox, VDB_THREAD_CONTROL);
		ck_assert_int_eq(open("/etc/passwd", O_RDONLY | O_CLOEXEC), -1);
		ck_assert_int_eq(errno, EACCES);
		ck_assert_int_eq(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC), -1);
		ck_assert_int_ge(open(there, O_RDONLY | O_CLOEXEC), 0);
		ck_assert_int_eq(open(there, O_WRONLY | O_CLOEXEC) >= 0, which);
		ck_assert_int_eq(open(inside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0, which);
		ck_assert_int_eq(unlink(there) == 0, which);
		ck_assert_int_eq((int)write(fd, "x", 1), 1); /* open before */
	} else {
		test_skipped_part("Landlock", vdb_sandbox_why(sandbox, VDB_SANDBOX_LANDLOCK));
	}
	vdb_sandbox_destroy(sandbox);
}

START_TEST(only_given_paths_can_be_opened)
{
	in_a_thread(only_given_paths_can_be_opened_inside, _i);
}
END_TEST

START_TEST(a_path_must_be_there)
{
	const struct vdb_sandbox_path path = {.path = "/nowhere/at/all", .access = VDB_SANDBOX_READ};
	struct vdb_sandbox_config config = {.size = sizeof(config), .paths = &path, .path_count = 1};
	struct vdb_sandbox *sandbox = NULL;

	ck_assert_int_eq(vdb_sandbox_create(&config, &sandbox), -ENOENT);
	ck_assert_ptr_null(sandbox);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "/nowhere/at/all"));
}
END_TEST

/* ---- Privileges ---- */

static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

	ck_assert_int_eq((int)syscall(SYS_capget, &header, data), 0);
	return data[0].effective || data[0].permitted || data[1].effective || data[1].permitted;
}

static void no_capability_and_no_new_privilege_is_left_inside(int which)
{
	struct vdb_sandbox *sandbox = make((struct vdb_sandbox_config){.parts = VDB_SANDBOX_CAPABILITIES,
	                                                               .required = VDB_SANDBOX_CAPABILITIES});

	enter(sandbox, kinds[which].kind);
	ck_assert(!has_capabilities());
	ck_assert_int_eq(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1);
	vdb_sandbox_destroy(sandbox);
}

START_TEST(no_capability_and_no_new_privilege_is_left)
{
	in_a_thread(no_capability_and_no_new_privilege_is_left_inside, _i);
}
END_TEST

/* ---- Threads that the library starts ---- */

struct look {
	int of_loops, of_control; /* errno of a call for loops, of one for control threads; 0: it is theirs */
	int new_privileges;
};

static int tried(long nr)
{
	return allowed(nr, -1, 0) ? 0 : EPERM;
}

static int look_around(void *arg)
{
	struct look *look = arg;

	look->of_loops = tried(SYS_fdatasync);
	look->of_control = tried(SYS_ftruncate);
	return 0;
}

static void a_loops_thread_enters_first_inside(int which)
{
	struct vdb_sandbox *sandbox = make_filtered((struct vdb_sandbox_config){0});
	struct look seen = {0}, own = {0};
	struct vdb_loop *loop;

	if (!sandbox)
		return;
	vdb_sandbox_inherit(sandbox);
	if (which) /* the starter is inside, too */
		enter(sandbox, VDB_THREAD_CONTROL);
	ck_assert_int_eq(vdb_loop_create(NULL, &loop), 0);
	ck_assert_msg(vdb_loop_start(loop, -1, "inside") == 0, "%s", vdb_errmsg());
	ck_assert_int_eq(vdb_loop_call(loop, look_around, &seen), 0);
	(void)look_around(&own);
	ck_assert_int_eq(seen.of_loops, 0);
	ck_assert_int_eq(seen.of_control, EPERM);
	ck_assert_int_eq(own.of_control, 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
	vdb_sandbox_destroy(sandbox);
}

START_TEST(a_loops_thread_enters_first)
{
	in_a_thread(a_loops_thread_enters_first_inside, _i);
}
END_TEST

static void job(void *arg)
{
	(void)look_around(arg);
	((struct look *)arg)->new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static void a_worker_is_a_control_thread_inside(int which)
{
	struct vdb_sandbox *sandbox = make_filtered((struct vdb_sandbox_config){0});
	struct look seen = {.of_loops = 1, .of_control = 1};
	struct vdb_worker *worker;

	(void)which;
	if (!sandbox)
		return;
	vdb_sandbox_inherit(sandbox);
	ck_assert_int_eq(vdb_worker_create("inside", &worker), 0);
	ck_assert_int_eq(vdb_worker_submit(worker, job, &seen), 0);
	ck_assert_int_eq(vdb_worker_destroy(worker), 0);
	ck_assert_int_eq(seen.of_loops, 0);
	ck_assert_int_eq(seen.of_control, 0);
	vdb_sandbox_destroy(sandbox);
}

START_TEST(a_worker_is_a_control_thread)
{
	in_a_thread(a_worker_is_a_control_thread_inside, _i);
}
END_TEST

static void who_no_longer_inherits_starts_them_outside_inside(int which)
{
	struct vdb_sandbox *sandbox = make_filtered((struct vdb_sandbox_config){0});
	struct look seen = {0};
	struct vdb_loop *loop;

	(void)which;
	if (!sandbox)
		return;
	vdb_sandbox_inherit(sandbox);
	vdb_sandbox_inherit(NULL);
	ck_assert_int_eq(vdb_loop_create(NULL, &loop), 0);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	ck_assert_int_eq(vdb_loop_call(loop, look_around, &seen), 0);
	ck_assert_int_eq(seen.of_control, 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
	vdb_sandbox_destroy(sandbox);
}

START_TEST(who_no_longer_inherits_starts_them_outside)
{
	in_a_thread(who_no_longer_inherits_starts_them_outside_inside, _i);
}
END_TEST

/* ---- Mistakes ---- */

static void entering_twice_or_as_nothing_is_refused_inside(int which)
{
	struct vdb_sandbox *sandbox = make((struct vdb_sandbox_config){.parts = VDB_SANDBOX_CAPABILITIES});

	(void)which;
	ck_assert_int_eq(vdb_sandbox_enter(sandbox, 3), -EINVAL);
	enter(sandbox, VDB_THREAD_CONTROL);
	ck_assert_int_eq(vdb_sandbox_enter(sandbox, VDB_THREAD_CONTROL), -EALREADY);
	vdb_sandbox_destroy(sandbox);
	vdb_sandbox_destroy(NULL);
}

START_TEST(entering_twice_or_as_nothing_is_refused)
{
	in_a_thread(entering_twice_or_as_nothing_is_refused_inside, _i);
}
END_TEST

static const struct vdb_sandbox_path nothing_to_do = {.path = "/tmp"};
static const struct vdb_sandbox_path unknown_access = {.path = "/tmp", .access = 8};
static const struct vdb_sandbox_call seventh = {.nr = SYS_read, .arg = 7};
static const struct vdb_sandbox_call fourth_kind = {.nr = SYS_read, .kinds = 8};

static const struct vdb_sandbox_config wrong[] = {
        {.parts = 16},
        {.required = 16},
        {.parts = VDB_SANDBOX_SECCOMP, .required = VDB_SANDBOX_LANDLOCK},
        {.refuse = 2},
        {.uses = 2},
        {.reserved = 1},
        {.path_count = 1},
        {.call_count = 1},
        {.path_count = 1, .paths = &nothing_to_do},
        {.path_count = 1, .paths = &unknown_access},
        {.call_count = 1, .calls = &seventh},
        {.call_count = 1, .calls = &fourth_kind},
};

START_TEST(what_makes_no_sense_is_refused)
{
	struct vdb_sandbox_config config = wrong[_i];
	struct vdb_sandbox *sandbox = NULL;

	config.size = sizeof(config);
	ck_assert_int_eq(vdb_sandbox_create(&config, &sandbox), -EINVAL);
	ck_assert_ptr_null(sandbox);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "sandbox"));
}
END_TEST

START_TEST(why_is_said_of_what_is_not_in_force)
{
	struct vdb_sandbox *sandbox = make((struct vdb_sandbox_config){.parts = VDB_SANDBOX_NAMESPACES});

	ck_assert_uint_eq(vdb_sandbox_parts(sandbox), 0);
	ck_assert_str_ne(vdb_sandbox_why(sandbox, VDB_SANDBOX_NAMESPACES), "");
	ck_assert_str_eq(vdb_sandbox_why(sandbox, VDB_SANDBOX_SECCOMP), ""); /* nobody asked */
	ck_assert_str_eq(vdb_sandbox_why(sandbox, VDB_SANDBOX_ALL), "");
	vdb_sandbox_destroy(sandbox);
}
END_TEST

static void add_filters(TCase *tc)
{
	tcase_add_loop_test(tc, what_no_thread_needs_is_refused_to_each, 0, KINDS);
	tcase_add_loop_test(tc, each_kind_has_its_own, 0, KINDS);
	tcase_add_loop_test(tc, sockets_are_for_those_who_say_so, 0, 2);
	tcase_add_loop_test(tc, an_embedder_adds_what_its_own_code_calls, 0, KINDS);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	tcase_add_loop_test(tc, memory_never_becomes_code, 0, KINDS);
#endif
	tcase_add_loop_test_raise_signal(tc, killed_by_what_is_refused, SIGSYS, 0, KINDS);
}

int main(void)
{
	TCase *tc = tcase_create("sandbox");

	add_filters(tc);
	tcase_add_loop_test(tc, only_given_paths_can_be_opened, 0, 2);
	tcase_add_test(tc, a_path_must_be_there);
	tcase_add_loop_test(tc, no_capability_and_no_new_privilege_is_left, 0, KINDS);
	tcase_add_loop_test(tc, a_loops_thread_enters_first, 0, 2);
	tcase_add_test(tc, a_worker_is_a_control_thread);
	tcase_add_test(tc, who_no_longer_inherits_starts_them_outside);
	tcase_add_test(tc, entering_twice_or_as_nothing_is_refused);
	tcase_add_loop_test(tc, what_makes_no_sense_is_refused, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(tc, why_is_said_of_what_is_not_in_force);
	return test_run("sandbox", tc);
}
