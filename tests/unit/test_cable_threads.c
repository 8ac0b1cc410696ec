/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Cables that come and go on one thread while the loop that serves them runs on another, with packets on
 * their way. */
#include <check.h>
#include <poll.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vdb/vdb.h>

#include "run.h"
#include "turn.h"

#define ROUNDS 20u
#define FRAME 200u

static struct vdb_loop *loop;
static struct vdb_netdev *netdev[2];
static int far[2]; /* of the sockets */

static void open_socket(int n)
{
	struct vdb_net_socket_config config = {.size = sizeof(config)};
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	config.fd = fds[0];
	ck_assert_msg(!vdb_netdev_dgram(&config, &netdev[n]), "%s", vdb_errmsg());
	close(fds[0]);
	far[n] = fds[1];
}

static void setup(void)
{
	loop = test_loop_new();
	open_socket(0);
	open_socket(1);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
}

static void teardown(void)
{
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	test_loop_end(loop);
	for (int n = 0; n < 2; n++) {
		vdb_netdev_destroy(netdev[n]);
		close(far[n]);
	}
}

static void wait_for(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	ck_assert_int_eq(poll(&p, 1, 30000), 1);
}

static bool send_one(int n, uint32_t tag)
{
	uint8_t frame[FRAME] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5};

	memcpy(frame + 14, &tag, sizeof(tag));
	return send(far[n], frame, sizeof(frame), 0) == FRAME;
}

/* Those of earlier rounds may come before. */
static void expect(int n, uint32_t tag)
{
	uint8_t frame[2 * FRAME];
	uint32_t got = tag + 1;

	while (got != tag) {
		wait_for(far[n], POLLIN);
		ck_assert_int_eq(recv(far[n], frame, sizeof(frame), 0), FRAME);
		memcpy(&got, frame + 14, sizeof(got));
	}
}

static void on_gone(void *arg)
{
	ck_assert_int_eq(sem_post(arg), 0);
}

static void one_round(uint32_t tag)
{
	const struct vdb_cable_config config = {.size = sizeof(config), .netdev = {netdev[0], netdev[1]}};
	struct vdb_net_stats stats = {.size = sizeof(stats)};
	struct vdb_cable *cable = NULL;
	sem_t gone;

	ck_assert_int_eq(sem_init(&gone, 0, 0), 0);
	ck_assert_msg(!vdb_cable_create(loop, &config, &cable), "%s", vdb_errmsg());
	for (int n = 0; n < 2 && tag % 3; n++) {
		while (!send_one(n, tag))
			wait_for(far[n], POLLOUT);
		ck_assert_int_eq(vdb_cable_stats(cable, (uint32_t)n, &stats), 0);
		expect(!n, tag);
	}
	for (uint32_t i = 0; i < 10 * (tag % 4); i++)
		(void)send_one((int)i % 2, tag);
	vdb_cable_destroy(cable, on_gone, &gone);
	while (sem_wait(&gone))
		;
	sem_destroy(&gone);
}

START_TEST(they_come_and_go)
{
	for (uint32_t i = 0; test_goes_on(i, ROUNDS); i++)
		one_round(i);
}
END_TEST

/* The loop ends before the cable. */
START_TEST(the_loop_is_destroyed_first)
{
	const struct vdb_cable_config config = {.size = sizeof(config), .netdev = {netdev[0], netdev[1]}};
	struct vdb_cable *cable = NULL;
	sem_t gone;

	ck_assert_int_eq(sem_init(&gone, 0, 0), 0);
	ck_assert_int_eq(vdb_cable_create(loop, &config, &cable), 0);
	for (uint32_t i = 0; i < 20; i++)
		(void)send_one((int)i % 2, i);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	test_loop_end(loop);
	vdb_cable_destroy(cable, on_gone, &gone);
	ck_assert_int_eq(sem_trywait(&gone), 0);
	sem_destroy(&gone);
	loop = test_loop_new();
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	one_round(1);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("cable_threads");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, they_come_and_go);
	tcase_add_test(tc, the_loop_is_destroyed_first);
	return test_run("cable_threads", tc);
}
