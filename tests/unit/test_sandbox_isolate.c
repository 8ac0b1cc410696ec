/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces and an empty root: of who is privileged, and of who is not. Each case in a child of its own. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/sandbox.h>

#include "run.h"

#define NOBODY 65534u
#define SKIPPED 77

static char folder[] = "/tmp/vdb-isolate-XXXXXX";

/* In the child: what is wrong ends it. */
static void check(int truth, const char *what)
{
	if (truth)
		return;
	(void)fprintf(stderr, "%s: errno %s, %s\n", what, strerror(errno), vdb_errmsg());
	_exit(1);
}

static struct vdb_sandbox *make(void)
{
	const struct vdb_sandbox_path path = {.path = folder,
	                                      .access = VDB_SANDBOX_READ | VDB_SANDBOX_CREATE};
	/* No filter: the child looks around. */
	struct vdb_sandbox_config config = {.size = sizeof(config),
	                                    .parts = VDB_SANDBOX_NAMESPACES | VDB_SANDBOX_CAPABILITIES,
	                                    .paths = &path,
	                                    .path_count = 1};
	struct vdb_sandbox *sandbox;

	check(vdb_sandbox_create(&config, &sandbox) == 0, "create");
	return sandbox;
}

static ino_t network(void)
{
	struct stat st;

	check(!stat("/proc/self/ns/net", &st), "the network namespace");
	return st.st_ino;
}

static void isolated(void)
{
	struct vdb_sandbox *sandbox = make();
	ino_t before = network();
	char text[64];
	int err = vdb_sandbox_isolate(sandbox), fd;

	if (err == -EOPNOTSUPP || err == -EBUSY) {
		test_skipped_part("namespaces", vdb_errmsg());
		_exit(SKIPPED);
	}
	check(err == 0, "isolate");
	check(network() != before, "a network of its own");
	check(vdb_sandbox_parts(sandbox) & VDB_SANDBOX_NAMESPACES, "its part");
	check(!access("/etc/passwd", R_OK), "the root is as before, until somebody enters");
	check(vdb_sandbox_enter(sandbox, VDB_THREAD_CONTROL) == 0, "enter");
	check(access("/etc/passwd", F_OK) && errno == ENOENT, "an empty root");
	check(access("/usr", F_OK) && errno == ENOENT, "an empty root");
	(void)snprintf(text, sizeof(text), "%s/new", folder);
	fd = open(text, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0 && write(fd, "x", 1) == 1 && !unlink(text), "the path, where it was");
	check(mkdir("/more", 0700) != 0, "nothing is added to the root");
	vdb_sandbox_destroy(sandbox);
	_exit(0);
}

static void *wait_for_nothing(void *arg)
{
	(void)pause();
	return arg;
}

static void with_two_threads(void)
{
	struct vdb_sandbox *sandbox = make();
	pthread_t thread;

	check(!pthread_create(&thread, NULL, wait_for_nothing, NULL), "a thread");
	check(vdb_sandbox_isolate(sandbox) == -EBUSY, "refused");
	_exit(0);
}

static void as_nobody(void)
{
	check(!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY), "become nobody");
	check(!prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "own /proc/self"); /* as who never was anybody else */
	isolated();
}

static void in_a_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		fn();
	ck_assert_int_gt(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == SKIPPED);
}

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chmod(folder, 0777), 0);
}

static void teardown(void)
{
	(void)rmdir(folder);
}

START_TEST(whoever_it_is_has_namespaces_and_an_empty_root)
{
	if (_i && getuid())
		test_skipped_part("an ordinary user", "only root can become one");
	else
		in_a_child(_i ? as_nobody : isolated);
}
END_TEST

static void whole(void)
{
	const struct vdb_sandbox_path path = {.path = "/tmp/../", .access = VDB_SANDBOX_READ};
	const struct vdb_sandbox_config config = {
	        .size = sizeof(config), .parts = VDB_SANDBOX_NAMESPACES, .paths = &path, .path_count = 1};
	struct vdb_sandbox *sandbox;

	check(vdb_sandbox_create(&config, &sandbox) == 0, "create");
	check(vdb_sandbox_isolate(sandbox) == -EOPNOTSUPP, "isolate");
	check(strstr(vdb_errmsg(), "paths is /") != NULL, "why");
	check(strstr(vdb_sandbox_why(sandbox, VDB_SANDBOX_NAMESPACES), "paths is /") != NULL, "why, later");
	vdb_sandbox_destroy(sandbox);
	_exit(0);
}

START_TEST(a_path_that_is_everything_leaves_nothing_to_hide)
{
	in_a_child(whole);
}
END_TEST

START_TEST(a_process_of_two_threads_is_refused)
{
	in_a_child(with_two_threads);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("sandbox_isolate");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, whoever_it_is_has_namespaces_and_an_empty_root, 0, 2);
	tcase_add_test(tc, a_path_that_is_everything_leaves_nothing_to_hide);
	tcase_add_test(tc, a_process_of_two_threads_is_refused);
	return test_run("sandbox_isolate", tc);
}
