/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_echo.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <vdb/error.h>

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

/* ---- The backend ---- */

/* Of [at, at+len) what lies below `end`. */
static uint64_t part(uint64_t at, uint64_t len, uint64_t end)
{
	if (at >= end)
		return 0;
	return len < end - at ? len : end - at;
}

static void answer(struct virtio_echo *echo, struct vdb_req *req)
{
	uint8_t bytes[VIRTIO_ECHO_MAX] = {0};
	uint64_t at = 0, written = 0, n;

	for (uint32_t i = 0; i < req->niov; at += req->iov[i].iov_len, i++) {
		if (at < req->readable) {
			memcpy(bytes + at, req->iov[i].iov_base, req->iov[i].iov_len);
			continue;
		}
		n = part(written, req->iov[i].iov_len, sizeof(bytes));
		memcpy(req->iov[i].iov_base, bytes + written, n);
		written += n;
	}
	count(&echo->served);
	vdb_req_complete(req, (int32_t)written);
}

static void is_late(void *arg)
{
	struct vdb_req *req = arg;
	struct vdb_timer *timer;
	struct virtio_echo *echo;

	memcpy(&timer, &req->scratch[0], sizeof(timer));
	memcpy(&echo, &req->scratch[1], sizeof(echo));
	vdb_timer_destroy(timer);
	answer(echo, req);
}

static int set_timer(struct virtio_echo *echo, struct vdb_req *req)
{
	struct vdb_timer *timer;
	int rc = vdb_timer_create(req->loop, is_late, req, &timer);

	if (rc)
		return rc;
	memcpy(&req->scratch[0], &timer, sizeof(timer));
	memcpy(&req->scratch[1], &echo, sizeof(echo));
	vdb_timer_arm(timer, echo->late_us * 1000ull);
	return VDB_REQ_PENDING;
}

static int start(void *ctx, struct vdb_req *req)
{
	struct virtio_echo *echo = ctx;

	if (req->len > VIRTIO_ECHO_MAX)
		return -EINVAL;
	if (echo->on_start)
		echo->on_start();
	count(&echo->started);
	if (__atomic_load_n(&echo->hold, __ATOMIC_ACQUIRE)) {
		echo->req[echo->held] = req;
		count(&echo->held);
	} else if (echo->late_us) {
		return set_timer(echo, req);
	} else {
		answer(echo, req);
	}
	return VDB_REQ_PENDING;
}

void virtio_echo_open(struct virtio_echo *echo)
{
	static const struct vdb_backend_ops ops = {.size = sizeof(ops), .name = "echo", .start = start};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};

	ck_assert_int_eq(vdb_backend_create(&ops, echo, &info, &echo->backend), 0);
}

void virtio_echo_close(struct virtio_echo *echo)
{
	vdb_backend_destroy(echo->backend);
	echo->backend = NULL;
}

static int release(void *arg)
{
	struct virtio_echo *echo = arg;
	uint32_t held = echo->held;

	__atomic_store_n(&echo->hold, false, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < held; i++)
		answer(echo, echo->req[i]);
	__atomic_store_n(&echo->held, 0, __ATOMIC_RELEASE);
	return 0;
}

void virtio_echo_release(struct virtio_echo *echo, struct vdb_loop *loop)
{
	ck_assert_int_eq(vdb_loop_call(loop, release, echo), 0);
}

/* ---- The device ---- */

static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	(void)index;
	return ((struct virtio_echo *)ctx)->backend;
}

static void destroy(void *ctx)
{
	count(&((struct virtio_echo *)ctx)->destroyed);
}

struct vdb_virtio *virtio_echo_device(struct virtio_echo *echo, struct vdb_mem *mem, struct vdb_loop *loop,
                                      uint32_t queues)
{
	static const struct vdb_virtio_ops ops = {.size = sizeof(ops),
	                                          .device_id = VIRTIO_ECHO,
	                                          .name = "echo",
	                                          .backend = backend_of,
	                                          .destroy = destroy};
	const struct vdb_virtio_config config = {
	        .size = sizeof(config), .mem = mem, .loop = loop, .tenant = echo->tenant, .queues = queues};
	struct vdb_virtio *device;

	ck_assert_msg(!vdb_virtio_create(&ops, echo, &config, &device), "%s", vdb_errmsg());
	return device;
}
