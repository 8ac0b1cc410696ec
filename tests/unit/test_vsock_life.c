/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* A vsock device that is quiesced, saved and restored, limited, or driven in each ring layout. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "run.h"
#include "vsock_rig.h"

enum { G = 5000 };

static struct vsock_rig v;

static void count(void *arg)
{
	__atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_ACQ_REL);
}

static void quiesce(void)
{
	uint32_t done = 0;

	ck_assert_int_eq(vdb_virtio_quiesce(v.rig.device, count, &done), 0);
	virtio_rig_wait(&done, 1);
}

static void resume(void)
{
	ck_assert_msg(!vdb_virtio_resume(v.rig.device), "%s", vdb_errmsg());
}

static const uint64_t layouts[] = {
        0,
        VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
        VRIG_BIT(VIRTIO_F_RING_PACKED),
        VRIG_BIT(VIRTIO_F_RING_PACKED) | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX),
};

static void talk(int fd, uint32_t port)
{
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);

	vsock_rig_send(&v, &p, "ping", 4);
	vsock_host_expect(fd, "ping");
	vsock_host_write(fd, "pong");
	vsock_rig_expect_data(&v, G, port, "pong");
}

START_TEST(each_layout)
{
	uint32_t port = 0;
	int fd;

	vsock_rig_make(&v, NULL, NULL);
	vsock_rig_up(&v, layouts[_i], VSOCK_BUFFERS);
	fd = vsock_rig_from_host(&v, G, &port);
	for (int i = 0; i < 50; i++)
		talk(fd, port);
	close(fd);
	vsock_rig_close(&v);
}
END_TEST

/* In the same process connections outlive it, and what both sides say meanwhile waits. */
START_TEST(quiesced_and_resumed)
{
	const struct vsock_packet *rw;
	struct vsock_packet p;
	uint32_t port = 0, len;
	int fd;

	vsock_rig_make(&v, NULL, NULL);
	vsock_rig_up(&v, layouts[_i], VSOCK_BUFFERS);
	fd = vsock_rig_from_host(&v, G, &port);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	p.len = 5;
	rw = &p;
	for (int i = 0; i < 10; i++) {
		quiesce();
		vsock_host_write(fd, "later");
		vsock_rig_push(&v, rw, "later", 5, 0);
		vsock_rig_quiet(&v);
		ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_host, 5u * (unsigned)i);
		ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_guest, 5u * (unsigned)i);
		resume();
		vsock_host_expect(fd, "later");
		ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_TX, &len), v.sent - 1);
		vsock_rig_expect_data(&v, G, port, "later");
	}
	close(fd);
	vsock_rig_close(&v);
}
END_TEST

static struct vdb_virtio *another(void)
{
	struct vdb_virtio_config at = {.size = sizeof(at), .mem = v.rig.ram.mem, .loop = v.rig.loop};
	struct vdb_vsock_config config = {.size = sizeof(config), .cid = VSOCK_CID, .path = v.path};
	struct vdb_virtio *device = NULL;

	ck_assert_msg(!vdb_vsock_create(&at, &config, &device), "%s", vdb_errmsg());
	return device;
}

static void give_event_buffer(uint32_t len, uint64_t cookie)
{
	const struct virtq_buf buf = {ready_rig_data(VSOCK_EVENT, (uint32_t)cookie * 16), len, true};

	ck_assert(virtq_add(&v.rig.driver[VSOCK_EVENT], &buf, 1, cookie));
	(void)virtq_publish(&v.rig.driver[VSOCK_EVENT]);
}

/* Its connections are no more, and the guest is told so, once. */
START_TEST(restored_it_says_so)
{
	const struct virtio_vsock_event *event;
	uint64_t cookie;
	uint32_t port = 0, len = 0;
	uint8_t state[1024];
	size_t size = sizeof(state);
	int fd;

	vsock_rig_make(&v, NULL, NULL);
	vsock_rig_up(&v, layouts[_i], VSOCK_BUFFERS);
	fd = vsock_rig_from_host(&v, G, &port);
	give_event_buffer(2, 0); /* too small for it */
	give_event_buffer(4, 1);
	give_event_buffer(4, 2);
	quiesce();
	ck_assert_msg(!vdb_virtio_save(v.rig.device, state, &size), "%s", vdb_errmsg());
	/* Elsewhere; its rings go on where they were. */
	virtio_rig_unplug(&v.rig);
	v.rig.device = another();
	vsock_host_expect_end(fd);
	close(fd);
	ck_assert_msg(!vdb_virtio_restore(v.rig.device, state, size), "%s", vdb_errmsg());
	virtio_rig_attach(&v.rig);
	resume();
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_EVENT, &len), 0);
	ck_assert_uint_eq(len, 0);
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_EVENT, &len), 1);
	ck_assert_uint_eq(len, 4);
	event = mock_at(&v.rig.ram, ready_rig_data(VSOCK_EVENT, 16));
	ck_assert_uint_eq(event->id, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET);
	vsock_rig_quiet(&v);
	ck_assert(!virtq_reap(&v.rig.driver[VSOCK_EVENT], &cookie, &len));
	/* What the guest still believes in is answered by RST; new ones are as ever. */
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_CREDIT_UPDATE, G, port);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	fd = vsock_rig_from_host(&v, G, &port);
	talk(fd, port);
	close(fd);
	vsock_rig_close(&v);
}
END_TEST

/* Bytes that no vsock device has saved. */
START_TEST(state_with_more_in_it)
{
	uint8_t state[1024];
	size_t size = sizeof(state);

	vsock_rig_make(&v, NULL, NULL);
	quiesce();
	ck_assert_int_eq(vdb_virtio_save(v.rig.device, state, &size), 0);
	virtio_rig_unplug(&v.rig);
	v.rig.device = another();
	state[36]++; /* header.extra */
	ck_assert_int_eq(vdb_virtio_restore(v.rig.device, state, size + 1), -EINVAL);
	state[36]--;
	ck_assert_int_eq(vdb_virtio_restore(v.rig.device, state, size), 0);
	vsock_rig_close(&v);
}
END_TEST

/* ---- Limits ---- */

static struct vdb_limit *limit;

static void set_limit(uint64_t ops)
{
	struct vdb_limit_config config = {.size = sizeof(config), .ops_per_s = ops};

	ck_assert_int_eq(vdb_limit_set(limit, &config), 0);
}

static struct vdb_limit_stats limit_stats(void)
{
	struct vdb_limit_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_limit_stats(limit, &stats), 0);
	return stats;
}

/* Both directions stand still; what was asked for goes on when there is something again. */
START_TEST(a_limit_holds_both_directions)
{
	struct vdb_virtio_config at = {.size = sizeof(at)};
	struct vsock_packet p;
	uint32_t port = 0, len;
	uint64_t before;
	int fd;

	ck_assert_int_eq(vdb_limit_create(NULL, &limit), 0);
	at.limit = limit;
	vsock_rig_make(&v, NULL, &at);
	vsock_rig_up(&v, 0, VSOCK_BUFFERS);
	fd = vsock_rig_from_host(&v, G, &port);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	p.len = 4;
	before = limit_stats().ops;
	set_limit(1);
	for (unsigned i = 0; i < 6; i++)
		vsock_rig_push(&v, &p, "ping", 4, i * 64);
	vsock_host_write(fd, "pong");
	while (limit_stats().waiting < 2) /* each direction's queue */
		usleep(200);
	ck_assert_uint_le(limit_stats().ops, before + 5); /* seconds may have passed */
	set_limit(0);
	for (unsigned i = 0; i < 6; i++)
		ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_TX, &len), v.sent - 6 + i);
	vsock_host_expect(fd, "pingpingpingpingpingping");
	vsock_rig_expect_data(&v, G, port, "pong");
	ck_assert_uint_eq(limit_stats().ops, before + 7);
	ck_assert_uint_ge(limit_stats().bytes, 6 * 48);
	close(fd);
	vsock_rig_close(&v);
	vdb_limit_destroy(limit);
}
END_TEST

static uint32_t held, let_go;

/* The loop's thread stands still until then. */
static void hold(void *arg, int status)
{
	(void)arg;
	(void)status;
	count(&held);
	virtio_rig_wait(&let_go, 1);
}

/* The loop hears of that first, and of the device's end behind it. */
START_TEST(a_host_program_comes_as_the_device_goes)
{
	int fd;

	vsock_rig_make(&v, NULL, NULL);
	vsock_rig_up(&v, layouts[_i], VSOCK_BUFFERS);
	virtio_rig_reset(&v.rig);
	vsock_rig_quiet(&v);
	ck_assert_int_eq(vdb_loop_post(v.rig.loop, hold, NULL), 0);
	virtio_rig_wait(&held, 1);
	fd = vsock_host_connect(&v);
	vsock_host_write(fd, "CONNECT 5\n");
	v.rig.destroyed = 1; /* as vsock_rig_close() has it */
	virtio_rig_unplug(&v.rig);
	count(&let_go);
	vsock_host_expect_end(fd);
	close(fd);
	vsock_rig_close(&v);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vsock life");
	const int n = sizeof(layouts) / sizeof(layouts[0]);

	tcase_add_loop_test(tc, each_layout, 0, n);
	tcase_add_loop_test(tc, quiesced_and_resumed, 0, n);
	tcase_add_loop_test(tc, restored_it_says_so, 0, n);
	tcase_add_test(tc, state_with_more_in_it);
	tcase_add_test(tc, a_limit_holds_both_directions);
	tcase_add_loop_test(tc, a_host_program_comes_as_the_device_goes, 0, n);
	return test_run("vsock life", tc);
}
