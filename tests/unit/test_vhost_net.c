/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: open ioctl calloc malloc eventfd pthread_create */
/*
 * virtio-net whose packets the kernel moves, where it has no vhost: open() and ioctl() are this test's, of
 * the tap as well, so it is about what is said in which order, and what happens when the kernel says no.
 * tests/lab has the real one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <net/if.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include <vdb/error.h>

#include "fail.h"
#include "net/tap.h"
#include "ready_rig.h"
#include "run.h"
#include "virtio/net.h"

#define BIT(name) VRIG_BIT(VIRTIO_NET_F_##name)
#define KERNEL (VRIG_V1 | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(MRG_RXBUF) | VRIG_BIT(26) | VRIG_BIT(33))
#define DRIVER (BIT(CTRL_VQ) | BIT(MQ) | BIT(MRG_RXBUF) | BIT(STATUS))
#define PAIRS 2u
#define CONTROL (2 * PAIRS)
#define FDS 1024
#define NOBODY (-1)

static struct virtio_rig rig;
static uint64_t offered; /* by a device that make() has made */
static struct vdb_netdev *netdev;

/* The kernel: an instance of /dev/vhost-net for each pair, opened in their order. */
static int no_vhost;           /* atomic: this errno */
static uint64_t has = KERNEL;  /* before a device is made */
static unsigned long refused;  /* atomic: this ioctl, once, */
static uint32_t refused_after; /* atomic: but for so many of it */
static uint32_t opened;        /* atomic: instances */
static uint8_t pair_of[FDS];   /* atomic: of an instance */
static int backend[PAIRS][2];  /* atomic: fd, or NOBODY */
static uint32_t base[PAIRS][2];
static uint32_t starts[PAIRS], stops[PAIRS], tables[PAIRS]; /* atomic; starts and stops of transmit queues */
static uint64_t agreed[PAIRS];                              /* atomic */
static uint32_t attached[FDS];                              /* atomic: queues of the tap */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

static void count_done(void *word)
{
	count(word);
}

#define load(word) __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define store(word, value) __atomic_store_n(&(word), value, __ATOMIC_RELEASE)

static int fails(int err)
{
	errno = err;
	return -1;
}

static int open_vhost(void)
{
	int fd;

	if (load(no_vhost))
		return fails(load(no_vhost));
	if (fail_now("open"))
		return fails(EIO);
	fd = __real_open("/dev/null", O_RDWR | O_CLOEXEC);
	store(pair_of[fd], (uint8_t)(__atomic_fetch_add(&opened, 1, __ATOMIC_ACQ_REL) % PAIRS));
	return fd;
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list list;
	mode_t mode;

	va_start(list, flags);
	mode = va_arg(list, mode_t);
	va_end(list);
	if (!strcmp(path, "/dev/vhost-net"))
		return open_vhost();
	if (!strcmp(path, "/dev/net/tun"))
		return __real_open("/dev/null", flags);
	return __real_open(path, flags, mode);
}

static int set_vring(uint32_t pair, unsigned long request, void *arg)
{
	struct vhost_vring_state *state = arg;
	const struct vhost_vring_file *file = arg;

	switch (request) {
	case VHOST_SET_VRING_BASE:
		store(base[pair][state->index], state->num);
		return 0;
	case VHOST_GET_VRING_BASE:
		state->num = load(base[pair][state->index]);
		return 0;
	case VHOST_NET_SET_BACKEND:
		if (file->index > 1)
			return fails(ENOBUFS);
		store(backend[pair][file->index], file->fd);
		if (file->index == 1)
			count(file->fd == NOBODY ? &stops[pair] : &starts[pair]);
		return 0;
	default:
		return state->index > 1 ? fails(ENOBUFS) : 0; /* all others begin with an index */
	}
}

static int vhost_ioctl(uint32_t pair, unsigned long request, void *arg)
{
	switch (request) {
	case VHOST_SET_OWNER:
		return 0;
	case VHOST_GET_FEATURES:
		*(uint64_t *)arg = has;
		return 0;
	case VHOST_SET_FEATURES:
		store(agreed[pair], *(uint64_t *)arg);
		return 0;
	case VHOST_SET_MEM_TABLE:
		count(&tables[pair]);
		return 0;
	default:
		return set_vring(pair, request, arg);
	}
}

static int tun_ioctl(int fd, unsigned long request, void *arg)
{
	struct ifreq *ifreq = arg;

	if (request == TUNSETIFF)
		strcpy(ifreq->ifr_name, "nobodys");
	if (request == TUNSETQUEUE)
		store(attached[fd], ifreq->ifr_flags & IFF_ATTACH_QUEUE ? 1u : 0u);
	return 0;
}

static bool is_refused(unsigned long request)
{
	if (load(refused) != request)
		return false;
	if (load(refused_after)) {
		__atomic_fetch_sub(&refused_after, 1, __ATOMIC_ACQ_REL);
		return false;
	}
	store(refused, 0);
	return true;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list list;
	void *arg;

	va_start(list, request);
	arg = va_arg(list, void *);
	va_end(list);
	if (is_refused(request))
		return fails(EFAULT);
	if (_IOC_TYPE(request) == _IOC_TYPE(TUNSETIFF))
		return tun_ioctl(fd, request, arg);
	if (_IOC_TYPE(request) != VHOST_VIRTIO)
		return __real_ioctl(fd, request, arg);
	if (fail_now("ioctl"))
		return fails(EIO);
	return vhost_ioctl(load(pair_of[fd]), request, arg);
}

/* ---- The device ---- */

static struct vdb_virtio *maker(const struct vdb_virtio_config *at, void *arg)
{
	const struct vdb_tap_config tap = {.size = sizeof(tap), .pairs = PAIRS};
	struct vdb_net_config config = {.size = sizeof(config), .pairs = PAIRS};
	struct vdb_virtio *device;

	(void)arg;
	ck_assert_msg(!vdb_netdev_tap(&tap, &netdev), "%s", vdb_errmsg());
	config.netdev = netdev;
	ck_assert_msg(!vdb_vhost_net_create(at, &config, &device), "%s", vdb_errmsg());
	return device;
}

static void setup(void)
{
	for (uint32_t i = 0; i < PAIRS; i++)
		backend[i][0] = backend[i][1] = NOBODY;
	virtio_rig_open_foreign(&rig, maker, NULL);
}

static void teardown(void)
{
	virtio_rig_close(&rig);
	vdb_netdev_destroy(netdev);
}

static void up(uint64_t features)
{
	virtio_rig_negotiate(&rig, features | VRIG_V1);
	for (uint32_t i = 0; i <= CONTROL; i++)
		virtio_rig_queue(&rig, i, 16);
	virtio_rig_set(&rig, 0xf);
}

static int tap_fd(uint32_t pair)
{
	return vdb__tap_of(netdev)->queues[pair].fd->fd;
}

/* Both queues of the pair, or none; and the tap's queue likewise. */
static bool is_served(uint32_t pair, bool on)
{
	int fd = on ? tap_fd(pair) : NOBODY;

	return load(backend[pair][0]) == fd && load(backend[pair][1]) == fd &&
	       load(attached[tap_fd(pair)]) == on;
}

static void wait_served(uint32_t pair, bool on)
{
	for (int i = 0; i < 400000 && !is_served(pair, on); i++)
		usleep(50);
	ck_assert_msg(is_served(pair, on), "pair %u: served by %d and %d, attached %u", pair,
	              backend[pair][0], backend[pair][1], attached[tap_fd(pair)]);
}

static uint8_t set_pairs(uint16_t pairs)
{
	const uint8_t bytes[] = {VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, (uint8_t)pairs, 0};
	const struct virtq_buf bufs[] = {{.gpa = ready_rig_data(CONTROL, 16), .len = sizeof(bytes)},
	                                 {.gpa = ready_rig_data(CONTROL, 0), .len = 1, .write = true}};
	uint8_t *answer = mock_at(&rig.ram, bufs[1].gpa);
	uint64_t one = 1;
	uint32_t used;

	memcpy(mock_at(&rig.ram, bufs[0].gpa), bytes, sizeof(bytes));
	ck_assert(virtq_add(&rig.driver[CONTROL], bufs, 2, 88));
	if (virtq_publish(&rig.driver[CONTROL]))
		ck_assert_int_eq(write(rig.kick[CONTROL], &one, sizeof(one)), sizeof(one));
	ck_assert_uint_eq(ready_rig_reap(&rig, CONTROL, &used), 88);
	return *answer;
}

START_TEST(a_pair_that_is_used_is_served)
{
	up(DRIVER);
	wait_served(0, true);
	ck_assert(is_served(1, false));
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	wait_served(1, true);
	ck_assert(is_served(0, true));
	ck_assert_uint_eq(set_pairs(1), VIRTIO_NET_OK);
	wait_served(1, false);
	ck_assert(is_served(0, true));
	ck_assert_uint_eq(set_pairs(3), VIRTIO_NET_ERR);
	ck_assert_uint_eq(starts[0], 1);
	ck_assert_uint_eq(tables[0], 1);
	ck_assert_uint_eq(tables[1], 1);
}
END_TEST

/* What the tap is told (offloads), and what is ours, is none of vhost's. */
START_TEST(only_what_both_know_is_agreed_on)
{
	struct vdb_virtio_info info = {.size = sizeof(info)};

	ck_assert_int_eq(vdb_virtio_query(rig.device, &info), 0);
	ck_assert(info.offered & BIT(MRG_RXBUF));
	ck_assert(info.offered & BIT(MQ));
	ck_assert(info.offered & BIT(GUEST_TSO4));
	ck_assert(!(info.offered & (VRIG_BIT(VIRTIO_F_RING_PACKED) | VRIG_BIT(VRIG_RING_RESET) |
	                            VRIG_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VRIG_BIT(26) | VRIG_BIT(33))));
	up(DRIVER | BIT(GUEST_CSUM) | BIT(GUEST_TSO4) | BIT(CSUM));
	wait_served(0, true);
	for (uint32_t i = 0; i < PAIRS; i++)
		ck_assert_uint_eq(agreed[i], VRIG_V1 | BIT(MRG_RXBUF));
}
END_TEST

START_TEST(a_link_that_is_down_is_not_served)
{
	up(DRIVER);
	wait_served(0, true);
	ck_assert_int_eq(vdb_net_link(rig.device, false), 0);
	wait_served(0, false);
	vdb_netdev_link(netdev, false);
	ck_assert_int_eq(vdb_net_link(rig.device, true), 0);
	vdb_netdev_link(netdev, true);
	wait_served(0, true);
	vdb_netdev_link(netdev, false);
	wait_served(0, false);
	vdb_netdev_link(netdev, true);
	wait_served(0, true);
}
END_TEST

START_TEST(a_reset_ends_all)
{
	up(DRIVER);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	wait_served(1, true);
	virtio_rig_reset(&rig);
	ck_assert(is_served(0, false));
	ck_assert(is_served(1, false));
	up(DRIVER);
	wait_served(0, true);
	ck_assert(is_served(1, false));
}
END_TEST

START_TEST(it_goes_on_where_it_was)
{
	uint32_t done = 0;

	up(DRIVER);
	ck_assert_uint_eq(set_pairs(2), VIRTIO_NET_OK);
	wait_served(0, true);
	wait_served(1, true);
	store(base[1][0], 7u);
	store(base[1][1], 9u);
	ck_assert_int_eq(vdb_virtio_quiesce(rig.device, count_done, &done), 0);
	virtio_rig_wait(&done, 1);
	ck_assert(is_served(1, false));
	store(base[1][0], 0u);
	store(base[1][1], 0u);
	ck_assert_int_eq(vdb_virtio_resume(rig.device), 0);
	wait_served(0, true);
	wait_served(1, true);
	ck_assert_uint_eq(base[1][0], 7);
	ck_assert_uint_eq(base[1][1], 9);
	ck_assert_uint_eq(base[0][1], 0);
}
END_TEST

/* Its control queue would be where the second pair is. */
START_TEST(a_driver_with_a_control_queue_needs_mq)
{
	virtio_rig_reset(&rig);
	virtio_rig_set(&rig, 3);
	virtio_rig_accept(&rig, (DRIVER & ~BIT(MQ)) | VRIG_V1);
	virtio_rig_set(&rig, 0xb);
	ck_assert_uint_eq(virtio_rig_status(&rig), 3);
	virtio_rig_negotiate(&rig, VRIG_V1);
	virtio_rig_queue(&rig, 0, 16);
	virtio_rig_queue(&rig, 1, 16);
	virtio_rig_set(&rig, 0xf);
	wait_served(0, true);
}
END_TEST

/* Each ioctl of a start, the last of them of the pair's second queue: the driver finds NEEDS_RESET, and after
 * its reset a kernel that is asked anew. */
START_TEST(the_kernel_says_no)
{
	static const struct {
		unsigned long request;
		uint32_t after;
	} cases[] = {{VHOST_SET_FEATURES, 1},   {VHOST_SET_MEM_TABLE, 1},  {VHOST_SET_VRING_NUM, 0},
	             {VHOST_SET_VRING_BASE, 0}, {VHOST_SET_VRING_ADDR, 0}, {VHOST_SET_VRING_CALL, 0},
	             {VHOST_SET_VRING_ERR, 0},  {VHOST_SET_VRING_KICK, 3}, {VHOST_NET_SET_BACKEND, 0},
	             {TUNSETQUEUE, 0},          {VHOST_NET_SET_BACKEND, 1}};

	store(refused_after, cases[_i].after);
	store(refused, cases[_i].request);
	up(DRIVER);
	virtio_rig_wait_status(&rig, VIRTIO_CONFIG_S_NEEDS_RESET);
	virtio_rig_wait(&rig.breaks, 1);
	ck_assert_uint_eq(rig.reason, VDB_REASON_HOST);
	up(DRIVER);
	wait_served(0, true);
	ck_assert_uint_eq(opened, 2 * PAIRS);
	ck_assert_uint_eq(virtio_rig_status(&rig), 0xf);
}
END_TEST

START_TEST(the_kernel_does_not_say_where_it_stopped)
{
	up(DRIVER);
	wait_served(0, true);
	store(refused, VHOST_GET_VRING_BASE);
	virtio_rig_reset(&rig);
	ck_assert_uint_eq(attached[tap_fd(0)], 0);
	up(DRIVER);
	wait_served(0, true);
}
END_TEST

/* ---- Refusals ---- */

static int make_at(const struct vdb_virtio_config *at, struct vdb_netdev *of, uint32_t pairs)
{
	const struct vdb_net_config config = {
	        .size = sizeof(config), .netdev = of, .pairs = pairs, .mac = {2, 0, 0, 0, 0, 1}};
	struct vdb_virtio_info info = {.size = sizeof(info)};
	struct vdb_virtio *device;
	uint32_t gone = 0;
	int rc = vdb_vhost_net_create(at, &config, &device);

	if (rc)
		return rc;
	fail_check(!vdb_virtio_query(device, &info));
	offered = info.offered;
	vdb_virtio_destroy(device, count_done, &gone);
	while (!load(gone))
		usleep(100);
	return 0;
}

static int make(struct vdb_netdev *of, uint32_t pairs)
{
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = rig.ram.mem, .loop = rig.loop};

	return make_at(&at, of, pairs);
}

static struct vdb_netdev *another(void)
{
	const struct vdb_tap_config tap = {.size = sizeof(tap), .pairs = PAIRS};
	struct vdb_netdev *of;

	ck_assert_msg(!vdb_netdev_tap(&tap, &of), "%s", vdb_errmsg());
	return of;
}

START_TEST(no_vhost_in_the_kernel)
{
	struct vdb_netdev *of = another();

	store(no_vhost, ENOENT);
	ck_assert_int_eq(make(of, 1), -ENOENT);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "modprobe vhost_net"));
	store(no_vhost, EACCES);
	ck_assert_int_eq(make(of, 1), -EACCES);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "be root, or of its group"));
	store(no_vhost, 0);
	ck_assert_int_eq(make(of, 1), 0);
	vdb_netdev_destroy(of);
}
END_TEST

START_TEST(a_kernel_that_merges_no_buffers)
{
	struct vdb_netdev *of = another();

	ck_assert_int_eq(make(of, 1), 0);
	ck_assert(offered & BIT(MRG_RXBUF));
	has = KERNEL & ~BIT(MRG_RXBUF);
	ck_assert_int_eq(make(of, 1), 0);
	ck_assert(!(offered & BIT(MRG_RXBUF)));
	vdb_netdev_destroy(of);
}
END_TEST

START_TEST(what_cannot_be)
{
	const struct vdb_limit_config none = {.size = sizeof(none), .ops_per_s = 5};
	struct vdb_virtio_config at = {.size = sizeof(at), .mem = rig.ram.mem, .loop = rig.loop};
	struct vdb_netdev *of = another();

	ck_assert_int_eq(make(of, PAIRS + 1), -EINVAL);
	ck_assert_int_eq(make(of, VDB_NET_MAX_PAIRS + 1), -EINVAL);
	ck_assert_int_eq(make(NULL, 1), -EINVAL);
	at.flags = VDB_VIRTIO_IN_ORDER;
	ck_assert_int_eq(make_at(&at, of, 1), -EINVAL);
	at.flags = 0;
	ck_assert_int_eq(vdb_limit_create(&none, &at.limit), 0);
	ck_assert_int_eq(make_at(&at, of, 1), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "cannot be limited"));
	vdb_limit_destroy(at.limit);
	vdb_netdev_destroy(of);
}
END_TEST

static int no_open(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	(void)ctx;
	(void)index;
	(void)pair;
	(void)loop;
	return -EIO;
}

static void nothing(void *ctx, uint32_t index)
{
	(void)ctx;
	(void)index;
}

static int no_transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	(void)ctx;
	(void)index;
	(void)packet;
	return -EIO;
}

START_TEST(a_netdev_that_is_no_tap)
{
	static const struct vdb_netdev_ops ops = {.size = sizeof(ops),
	                                          .name = "wire",
	                                          .open = no_open,
	                                          .close = nothing,
	                                          .transmit = no_transmit,
	                                          .receive = nothing};
	const struct vdb_netdev_info info = {.size = sizeof(info)};
	struct vdb_netdev *of;

	ck_assert_int_eq(vdb_netdev_create(&ops, NULL, &info, &of), 0);
	ck_assert_int_eq(make(of, 1), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "netdev wire is no tap"));
	vdb_netdev_destroy(of);
}
END_TEST

/* And its device goes on. */
START_TEST(a_tap_that_has_a_device)
{
	up(DRIVER);
	wait_served(0, true);
	ck_assert_int_eq(make(netdev, 1), -EBUSY);
	ck_assert(is_served(0, true));
}
END_TEST

static int there_and_back(void *of)
{
	return make(of, PAIRS);
}

START_TEST(each_call_fails_once)
{
	struct vdb_netdev *of = another();

	ck_assert_uint_ge(fail_sweep(there_and_back, of), 12);
	vdb_netdev_destroy(of);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vhost_net");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_pair_that_is_used_is_served);
	tcase_add_test(tc, only_what_both_know_is_agreed_on);
	tcase_add_test(tc, a_link_that_is_down_is_not_served);
	tcase_add_test(tc, a_reset_ends_all);
	tcase_add_test(tc, it_goes_on_where_it_was);
	tcase_add_test(tc, a_driver_with_a_control_queue_needs_mq);
	tcase_add_loop_test(tc, the_kernel_says_no, 0, 11);
	tcase_add_test(tc, the_kernel_does_not_say_where_it_stopped);
	tcase_add_test(tc, no_vhost_in_the_kernel);
	tcase_add_test(tc, what_cannot_be);
	tcase_add_test(tc, a_netdev_that_is_no_tap);
	tcase_add_test(tc, a_tap_that_has_a_device);
	tcase_add_test(tc, each_call_fails_once);
	tcase_add_test(tc, a_kernel_that_merges_no_buffers);
	return test_run("vhost_net", tc);
}
