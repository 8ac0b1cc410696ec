/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: syscall calloc malloc memfd_create pthread_create */
/* Kernels that have less, and hosts that are short of everything. */
#include <check.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <vdb/error.h>
#include <vdb/loop.h>
#include <vdb/sandbox.h>

#include "fail.h"
#include "run.h"

static long missing; /* this call gives `how` */
static int how;

long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, ...);

long __wrap_syscall(long nr, ...)
{
	long arg[5];
	va_list args;

	va_start(args, nr);
	for (size_t i = 0; i < 5; i++)
		arg[i] = va_arg(args, long);
	va_end(args);
	if (missing && nr == missing) {
		errno = how;
		return -1;
	}
	return __real_syscall(nr, arg[0], arg[1], arg[2], arg[3], arg[4]);
}

static const struct {
	long nr;
	int how;
	uint32_t part;
	const char *words;
} lacks[] = {
        {SYS_seccomp, ENOSYS, VDB_SANDBOX_SECCOMP, "seccomp"},
        {SYS_seccomp, EOPNOTSUPP, VDB_SANDBOX_SECCOMP, "seccomp"},
        {SYS_landlock_create_ruleset, ENOSYS, VDB_SANDBOX_LANDLOCK, "no Landlock"},
        {SYS_landlock_create_ruleset, EOPNOTSUPP, VDB_SANDBOX_LANDLOCK, "not enabled"},
};
#define LACKS (int)(sizeof(lacks) / sizeof(lacks[0]))

#ifdef HAVE_SECCOMP
START_TEST(a_kernel_that_has_less_is_told_of)
{
	struct vdb_sandbox_config config = {.size = sizeof(config)};
	struct vdb_sandbox *sandbox;

	missing = lacks[_i].nr;
	how = lacks[_i].how;
	ck_assert_int_eq(vdb_sandbox_create(&config, &sandbox), 0);
	ck_assert_uint_eq(vdb_sandbox_parts(sandbox) & lacks[_i].part, 0);
	ck_assert_ptr_nonnull(strstr(vdb_sandbox_why(sandbox, lacks[_i].part), lacks[_i].words));
	ck_assert_uint_ne(vdb_sandbox_parts(sandbox) & VDB_SANDBOX_CAPABILITIES, 0);
	vdb_sandbox_destroy(sandbox);
}
END_TEST

START_TEST(a_part_that_is_required_must_be_there)
{
	struct vdb_sandbox_config config = {.size = sizeof(config), .required = lacks[_i].part};
	struct vdb_sandbox *sandbox = NULL;

	missing = lacks[_i].nr;
	how = lacks[_i].how;
	ck_assert_int_eq(vdb_sandbox_create(&config, &sandbox), -EOPNOTSUPP);
	ck_assert_ptr_null(sandbox);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), lacks[_i].words));
}
END_TEST
#endif

static int make_and_free(void *arg)
{
	const struct vdb_sandbox_path paths[] = {{.path = "/tmp", .access = VDB_SANDBOX_READ},
	                                         {.path = ".", .access = VDB_SANDBOX_READ}};
	struct vdb_sandbox_config config = {.size = sizeof(config), .paths = paths, .path_count = 2};
	struct vdb_sandbox *sandbox;
	int err = vdb_sandbox_create(&config, &sandbox);

	(void)arg;
	if (!err)
		vdb_sandbox_destroy(sandbox);
	return err;
}

START_TEST(whatever_fails_leaves_nothing)
{
	ck_assert_uint_ge(fail_sweep(make_and_free, NULL), 2);
}
END_TEST

/* A thread that cannot enter does not run: nobody is outside who should be inside. */
START_TEST(a_thread_that_cannot_enter_is_not_started)
{
	struct vdb_sandbox_config config = {.size = sizeof(config)};
	struct vdb_sandbox *sandbox;
	struct vdb_loop *loop;

	ck_assert_int_eq(vdb_sandbox_create(&config, &sandbox), 0);
	ck_assert_int_eq(vdb_loop_create(NULL, &loop), 0);
	vdb_sandbox_inherit(sandbox);
	missing = SYS_capset;
	how = EPERM;
	ck_assert_int_eq(vdb_loop_start(loop, -1, "outside"), -EPERM);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "outside"));
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "capabilities"));
	missing = 0;
	ck_assert_int_eq(vdb_loop_start(loop, -1, "inside"), 0);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
	vdb_sandbox_destroy(sandbox);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("sandbox_fail");

#ifdef HAVE_SECCOMP
	tcase_add_loop_test(tc, a_kernel_that_has_less_is_told_of, 0, LACKS);
	tcase_add_loop_test(tc, a_part_that_is_required_must_be_there, 0, LACKS);
#endif
	tcase_add_test(tc, whatever_fails_leaves_nothing);
	tcase_add_test(tc, a_thread_that_cannot_enter_is_not_started);
	return test_run("sandbox_fail", tc);
}
