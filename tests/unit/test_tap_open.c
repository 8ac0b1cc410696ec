/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: open calloc malloc mmap ioctl fcntl */
/* Taps as they are made, found and refused: in a network namespace of the test's own. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vdb/error.h>
#include <vdb/tap.h>

#include "fail.h"
#include "leak.h"
#include "net/netdev.h"
#include "netns.h"
#include "run.h"

#define VNET (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

/* ---- A host without the device ---- */

static int open_error;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

int __wrap_open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (!strcmp(path, "/dev/net/tun") && (open_error || fail_now("open"))) {
		errno = open_error ? open_error : EMFILE;
		return -1;
	}
	return __real_open(path, flags, mode);
}

static struct vdb_tap_config config_of(const char *name, uint32_t pairs)
{
	return (struct vdb_tap_config){.size = sizeof(struct vdb_tap_config), .name = name, .pairs = pairs};
}

static struct vdb_netdev *make(const struct vdb_tap_config *config)
{
	struct vdb_netdev *netdev = NULL;
	int err = vdb_netdev_tap(config, &netdev);

	ck_assert_msg(!err, "%d: %s", err, vdb_errmsg());
	return netdev;
}

static struct vdb_tap_info query(const struct vdb_netdev *netdev)
{
	struct vdb_tap_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_netdev_tap_query(netdev, &info), 0);
	return info;
}

static struct vdb_netdev_info netdev_info(const struct vdb_netdev *netdev)
{
	struct vdb_netdev_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_netdev_query(netdev, &info), 0);
	return info;
}

static void refused(const struct vdb_tap_config *config, int err, const char *words)
{
	struct vdb_netdev *netdev = (void *)1;

	int got = vdb_netdev_tap(config, &netdev);

	ck_assert_msg(got == err, "%d, not %d: where `%s` was expected", got, err, words);
	ck_assert_ptr_eq(netdev, (void *)1);
	ck_assert_msg(strstr(vdb_errmsg(), words), "`%s` lacks `%s`", vdb_errmsg(), words);
}

/* ---- What works ---- */

START_TEST(a_new_one_lives_as_long_as_the_netdev)
{
	struct vdb_tap_config config = config_of("fresh", 0);
	struct vdb_netdev *netdev = make(&config);
	struct vdb_netdev_info info = netdev_info(netdev);

	ck_assert_str_eq(query(netdev).name, "fresh");
	ck_assert_uint_eq(query(netdev).index, netns_index("fresh"));
	ck_assert_uint_eq(query(netdev).flags & VDB_TAP_IS_KNOWN, VDB_TAP_IS_KNOWN);
	ck_assert_uint_eq(query(netdev).mtu, 1500);
	ck_assert_uint_eq(info.pairs, 1);
	ck_assert_uint_eq(info.mtu, 1500);
	/* All kernels that have io_uring know these. */
	ck_assert_uint_eq(info.offloads & 15, VDB_NET_CSUM | VDB_NET_TSO4 | VDB_NET_TSO6 | VDB_NET_ECN);
	ck_assert(!netns_is_up("fresh"));
	vdb_netdev_destroy(netdev);
	ck_assert_uint_eq(netns_index("fresh"), 0);
}
END_TEST

START_TEST(the_kernel_names_one_without_a_name)
{
	struct vdb_tap_config config = config_of(_i ? "" : NULL, 0);
	struct vdb_netdev *netdev = make(&config);

	ck_assert_uint_eq(query(netdev).index, netns_index(query(netdev).name));
	ck_assert_uint_gt(query(netdev).index, 0);
	vdb_netdev_destroy(netdev);
}
END_TEST

START_TEST(one_that_is_there_stays)
{
	struct vdb_tap_config config = config_of("stays", 0);

	netns_tap("stays", false, -1);
	for (int i = 0; i < 3; i++) {
		struct vdb_netdev *netdev = make(&config);

		ck_assert_str_eq(query(netdev).name, "stays");
		vdb_netdev_destroy(netdev);
	}
	ck_assert_uint_ne(netns_index("stays"), 0);
	netns_delete("stays");
}
END_TEST

START_TEST(several_queues_serve_several_pairs_or_one)
{
	struct vdb_tap_config config = config_of("queues", _i ? 1 : 4);
	struct vdb_netdev *netdev;

	netns_tap("queues", true, -1);
	netdev = make(&config);
	ck_assert_uint_eq(netdev_info(netdev).pairs, _i ? 1 : 4);
	vdb_netdev_destroy(netdev);
	netns_delete("queues");
}
END_TEST

START_TEST(its_owner_needs_no_privileges)
{
	struct vdb_tap_config config = config_of("owned", 0);
	struct vdb_netdev *netdev;

	netns_tap("owned", false, (int)geteuid());
	netns_mtu("owned", 2000);
	netns_drop_admin();
	netdev = make(&config);
	vdb_netdev_destroy(netdev);
	config.mtu = 1400; /* is told to the guest; the interface may have more */
	netdev = make(&config);
	ck_assert_uint_eq(netdev_info(netdev).mtu, 1400);
	ck_assert_uint_eq(query(netdev).mtu, 2000);
	vdb_netdev_destroy(netdev);
	config.mtu = 3000;
	refused(&config, -EPERM, "CAP_NET_ADMIN");
	config.mtu = 0;
	config.flags = VDB_TAP_UP;
	refused(&config, -EPERM, "ip link set owned up");
}
END_TEST

START_TEST(it_is_set_up_as_is_asked)
{
	struct vdb_tap_config config = config_of("asked", 0);
	struct vdb_netdev *netdev;

	config.mtu = 9000;
	config.flags = VDB_TAP_UP;
	netdev = make(&config);
	ck_assert_uint_eq(query(netdev).mtu, 9000);
	ck_assert_uint_eq(netdev_info(netdev).mtu, 9000);
	ck_assert(netns_is_up("asked"));
	ck_assert_uint_eq(query(netdev).flags, VDB_TAP_IS_KNOWN | VDB_TAP_IS_UP | VDB_TAP_HAS_CARRIER);
	vdb_netdev_destroy(netdev);
}
END_TEST

START_TEST(open_queues_are_taken_and_stay_the_callers)
{
	int fds[2] = {netns_queue("given", VNET | IFF_MULTI_QUEUE),
	              netns_queue("given", VNET | IFF_MULTI_QUEUE)};
	struct vdb_tap_config config = config_of(NULL, 2);
	struct vdb_netdev *netdev;

	config.fds = fds;
	netdev = make(&config);
	ck_assert_str_eq(query(netdev).name, "given");
	ck_assert_uint_eq(query(netdev).index, netns_index("given"));
	vdb_netdev_destroy(netdev);
	ck_assert_int_ge(fcntl(fds[0], F_GETFD), 0);
	ck_assert_uint_ne(netns_index("given"), 0);
	close(fds[0]);
	close(fds[1]);
	ck_assert_uint_eq(netns_index("given"), 0);
}
END_TEST

/* ---- The link ---- */

START_TEST(the_link_is_the_interfaces)
{
	struct vdb_tap_config config = config_of("link", 0);
	struct vdb_netdev *netdev = make(&config);

	ck_assert(netdev->down);
	netns_up("link", true);
	ck_assert_uint_eq(query(netdev).flags & VDB_TAP_IS_UP, VDB_TAP_IS_UP);
	ck_assert(!netdev->down); /* who looks also tells */
	netns_up("link", false);
	ck_assert_uint_eq(query(netdev).flags & VDB_TAP_IS_UP, 0);
	ck_assert(netdev->down);
	netns_delete("link");
	ck_assert_uint_eq(query(netdev).flags, VDB_TAP_IS_GONE);
	ck_assert(netdev->down);
	vdb_netdev_destroy(netdev);
}
END_TEST

/* Given by somebody who lives elsewhere: nobody knows, so it counts as up. */
START_TEST(a_tap_of_another_namespace_is_up)
{
	int fd = netns_queue("away", VNET);
	struct vdb_tap_config config = config_of(NULL, 0);
	struct vdb_netdev *netdev;

	ck_assert_int_eq(netns_enter(), 0);
	if (_i)
		close(netns_queue("away", VNET)); /* and is gone again */
	config.fds = &fd;
	netdev = make(&config);
	ck_assert_str_eq(query(netdev).name, "away");
	ck_assert_uint_eq(query(netdev).flags, 0);
	ck_assert_uint_eq(query(netdev).index, 0);
	ck_assert(!netdev->down);
	vdb_netdev_destroy(netdev);
	close(fd);
}
END_TEST

/* The same name here is another interface. */
START_TEST(a_namesake_is_not_taken_for_it)
{
	int fd = netns_queue("twin", VNET), here;
	struct vdb_tap_config config = config_of(NULL, 0);
	struct vdb_netdev *netdev;

	ck_assert_int_eq(netns_enter(), 0);
	here = netns_queue("twin", VNET);
	config.fds = &fd;
	netdev = make(&config);
	ck_assert_uint_eq(query(netdev).flags, 0);
	vdb_netdev_destroy(netdev);
	close(here);
	close(fd);
}
END_TEST

/* ---- What is refused ---- */

START_TEST(what_makes_no_sense_is_refused)
{
	static const int32_t fds[] = {0};
	static const struct {
		struct vdb_tap_config config;
		const char *words;
	} wrong[] = {
	        {{.flags = 2}, "flags"},
	        {{.pairs = 257}, "256"},
	        {{.name = "a", .fds = fds}, "not both"},
	        {{.mtu = 67}, "68 to 65521"},
	        {{.mtu = 65522}, "68 to 65521"},
	        {{.name = "sixteen-letters."}, "15 characters"},
	        {{.name = "a/b"}, "no name"},
	        {{.name = "a b"}, "no name"},
	        {{.name = "a:1"}, "no name"},
	        {{.name = "."}, "no name"},
	        {{.name = ".."}, "no name"},
	        {{.name = "lo"}, "no tap"},
	        {{.fds = fds}, "no queue of a tap"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct vdb_tap_config config = wrong[i].config;

		config.size = sizeof(config);
		refused(&config, -EINVAL, wrong[i].words);
	}
}
END_TEST

START_TEST(one_queue_is_not_enough_for_two_pairs)
{
	struct vdb_tap_config config = config_of("single", 2);

	netns_tap("single", false, -1);
	refused(&config, -EINVAL, "multi_queue");
	netns_delete("single");
}
END_TEST

START_TEST(one_that_is_in_use_is_busy)
{
	struct vdb_tap_config config = config_of("busy", 0);
	int fd = netns_queue("busy", VNET);

	refused(&config, -EBUSY, "in use already");
	close(fd);
}
END_TEST

START_TEST(without_privileges_there_is_no_new_one)
{
	struct vdb_tap_config config = config_of(_i ? NULL : "mine", 0);

	netns_drop_admin();
	refused(&config, -EPERM, "CAP_NET_ADMIN");
}
END_TEST

/* Nobody: a uid that this namespace knows, where there is more than one. */
START_TEST(somebody_elses_is_not_ours)
{
	struct vdb_tap_config config = config_of("theirs", 0);
	pid_t child;
	int status;

	netns_tap("theirs", false, -1);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		netns_drop_admin();
		/* Without an owner it is everybody's. */
		_exit(vdb_netdev_tap(&config, &(struct vdb_netdev *){NULL}) == 0 ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	netns_delete("theirs");
	if (setegid(65534) || seteuid(65534)) {
		test_skipped_part("another owner", "there is only one user here");
		return;
	}
	ck_assert_int_eq(seteuid(0), 0);
	netns_tap("others", false, 65534);
	netns_drop_admin();
	config.name = "others";
	refused(&config, -EPERM, "another user");
}
END_TEST

START_TEST(a_host_without_the_device_says_what_to_do)
{
	struct vdb_tap_config config = config_of("none", 0);

	open_error = ENOENT;
	refused(&config, -ENOENT, "modprobe tun");
	open_error = ENODEV;
	refused(&config, -ENOENT, "modprobe tun");
	open_error = EACCES;
	refused(&config, -EPERM, "no permission to open /dev/net/tun");
	open_error = EMFILE;
	refused(&config, -EMFILE, "open /dev/net/tun");
}
END_TEST

START_TEST(queues_that_are_given_must_fit)
{
	static const struct {
		short flags;
		const char *words;
	} wrong[] = {{IFF_TAP | IFF_NO_PI, "IFF_VNET_HDR"}, {IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, "IFF_TAP"}};
	struct vdb_tap_config config = config_of(NULL, 1);
	int fds[2];

	config.fds = fds;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		fds[0] = netns_queue("wrong", wrong[i].flags);
		refused(&config, -EINVAL, wrong[i].words);
		close(fds[0]);
	}
	config.pairs = 2;
	fds[0] = netns_queue("one", VNET);
	fds[1] = fds[0];
	refused(&config, -EINVAL, "IFF_MULTI_QUEUE");
	close(fds[0]);
	fds[0] = netns_queue("one", VNET | IFF_MULTI_QUEUE);
	fds[1] = netns_queue("two", VNET | IFF_MULTI_QUEUE);
	refused(&config, -EINVAL, "two");
	close(fds[0]);
	close(fds[1]);
	refused(&config, -EINVAL, "no queue of a tap");
}
END_TEST

static int nothing(void *ctx, uint32_t index, struct vdb_req *packet)
{
	(void)ctx;
	(void)index;
	(void)packet;
	return 0;
}

static void no_close(void *ctx, uint32_t index)
{
	(void)ctx;
	(void)index;
}

static int no_open(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	(void)ctx;
	(void)index;
	(void)pair;
	(void)loop;
	return 0;
}

START_TEST(only_taps_are_queried)
{
	const struct vdb_netdev_ops ops = {.size = sizeof(ops),
	                                   .open = no_open,
	                                   .close = no_close,
	                                   .transmit = nothing,
	                                   .receive = no_close};
	const struct vdb_netdev_info info = {.size = sizeof(info)};
	struct vdb_tap_info tap = {.size = sizeof(tap)};
	struct vdb_netdev *netdev;

	ck_assert_int_eq(vdb_netdev_create(&ops, NULL, &info, &netdev), 0);
	ck_assert_int_eq(vdb_netdev_tap_query(netdev, &tap), -EINVAL);
	vdb_netdev_destroy(netdev);
}
END_TEST

/* ---- What fails ---- */

static int make_and_drop(void *arg)
{
	struct vdb_netdev *netdev;
	int err = vdb_netdev_tap(arg, &netdev);

	if (!err)
		vdb_netdev_destroy(netdev);
	return err;
}

START_TEST(every_failure_is_undone)
{
	struct vdb_tap_config config = config_of("sweep", _i ? 3 : 1);

	config.mtu = 1300;
	config.flags = VDB_TAP_UP;
	ck_assert_uint_gt(fail_sweep(make_and_drop, &config), 8);
	ck_assert_uint_eq(netns_index("sweep"), 0);
}
END_TEST

static void again(void *arg)
{
	ck_assert_int_eq(make_and_drop(arg), 0);
}

START_TEST(nothing_is_left)
{
	struct vdb_tap_config config = config_of("leak", 4);

	leak_check(again, &config, 1 << 20);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("open");
	int skip = netns_enter();

	if (skip)
		return skip;
	tcase_add_test(tc, a_new_one_lives_as_long_as_the_netdev);
	tcase_add_loop_test(tc, the_kernel_names_one_without_a_name, 0, 2);
	tcase_add_test(tc, one_that_is_there_stays);
	tcase_add_loop_test(tc, several_queues_serve_several_pairs_or_one, 0, 2);
	tcase_add_test(tc, its_owner_needs_no_privileges);
	tcase_add_test(tc, it_is_set_up_as_is_asked);
	tcase_add_test(tc, open_queues_are_taken_and_stay_the_callers);
	tcase_add_test(tc, the_link_is_the_interfaces);
	tcase_add_loop_test(tc, a_tap_of_another_namespace_is_up, 0, 2);
	tcase_add_test(tc, a_namesake_is_not_taken_for_it);
	tcase_add_test(tc, what_makes_no_sense_is_refused);
	tcase_add_test(tc, one_queue_is_not_enough_for_two_pairs);
	tcase_add_test(tc, one_that_is_in_use_is_busy);
	tcase_add_loop_test(tc, without_privileges_there_is_no_new_one, 0, 2);
	tcase_add_test(tc, somebody_elses_is_not_ours);
	tcase_add_test(tc, a_host_without_the_device_says_what_to_do);
	tcase_add_test(tc, queues_that_are_given_must_fit);
	tcase_add_test(tc, only_taps_are_queried);
	tcase_add_loop_test(tc, every_failure_is_undone, 0, 2);
	tcase_add_test(tc, nothing_is_left);
	return test_run("taps", tc);
}
