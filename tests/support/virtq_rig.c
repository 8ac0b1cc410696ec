/* SPDX-License-Identifier: Apache-2.0 */
#include "virtq_rig.h"

#include <errno.h>

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vdb/error.h>

#include "io/cursor.h"

static void ring_bell(void *arg)
{
	struct vrig *v = arg;
	uint64_t one = 1;

	ck_assert_int_eq(write(v->kick, &one, sizeof(one)), sizeof(one));
}

static void triggered(void *arg)
{
	struct vrig *v = arg;

	v->triggers++;
}

static void broke(void *arg, uint32_t reason)
{
	struct vrig *v = arg;

	v->broken = reason;
}

static void gone(void *arg)
{
	struct vrig *v = arg;

	v->gone++;
}

static struct vdb_queue *make_queue(struct vrig *v, const struct vrig_config *config)
{
	const struct vdb__framing *framing = config->framing ? config->framing : &vdb__framing_plain;
	struct vdb_queue *queue = NULL;

	v->d.config.left_at = &v->left_at;
	ck_assert_msg(vdb__virtq_create(v->ram.mem, &v->d.config, framing, config->framing_ctx, &queue) == 0,
	              "%s", vdb_errmsg());
	return queue;
}

void vrig_open(struct vrig *v, const struct vrig_config *config)
{
	struct vdb_virtq_config virtq = config->virtq;
	struct vdb_lane_config lane = config->lane;

	memset(v, 0, sizeof(*v));
	rig_open(&v->rig, NULL);
	mock_ram_open(&v->ram, 0, VRIG_RAM);
	if (!virtq.desc)
		virtq.desc = VRIG_QUEUE;
	virtq_driver_open(&v->d, &v->ram, &virtq);
	v->d.bell = ring_bell;
	v->d.bell_arg = v;
	v->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(v->kick, 0);
	lane.size = sizeof(lane);
	lane.kick_fd = v->kick;
	lane.trigger = triggered;
	lane.broken = broke;
	lane.trigger_arg = lane.broken_arg = v;
	ck_assert_msg(vdb_lane_create(v->rig.loop, make_queue(v, config), config->backend, &lane, &v->lane) ==
	                      0,
	              "%s", vdb_errmsg());
	rig_turns(&v->rig, 4);
}

void vrig_stop(struct vrig *v)
{
	vdb_lane_destroy(v->lane, gone, v);
	v->lane = NULL;
	while (!v->gone)
		rig_wait(&v->rig);
}

void vrig_close(struct vrig *v)
{
	if (v->lane)
		vrig_stop(v);
	virtq_driver_close(&v->d);
	close(v->kick);
	mock_ram_close(&v->ram);
	rig_close(&v->rig);
}

uint32_t vrig_reap(struct vrig *v, uint64_t *cookie)
{
	uint64_t unused;
	uint32_t len = 0;

	while (!virtq_reap(&v->d, cookie ? cookie : &unused, &len))
		rig_wait(&v->rig);
	return len;
}

uint32_t vrig_do(struct vrig *v, const struct virtq_buf *bufs, uint32_t n)
{
	uint64_t cookie = 0;
	uint32_t len;

	ck_assert(virtq_add(&v->d, bufs, n, 0xabcdef));
	(void)virtq_publish(&v->d);
	len = vrig_reap(v, &cookie);
	ck_assert_uint_eq(cookie, 0xabcdef);
	return len;
}

struct vdb_lane_stats vrig_stats(const struct vrig *v)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_lane_stats(v->lane, &stats), 0);
	return stats;
}

void *vrig_at(const struct vrig *v, vdb_gpa_t gpa)
{
	return mock_at(&v->ram, gpa);
}

/* ---- Echo ---- */

static uint64_t copy_across(const struct vdb_req *req)
{
	struct vdb__cursor from = {0, 0}, to = {0, 0};
	uint64_t left = req->len - req->readable, done = 0;
	struct iovec in, out;

	vdb__cursor_skip(&to, req->iov, req->readable);
	if (left > req->readable)
		left = req->readable;
	for (; left; left -= in.iov_len, done += in.iov_len) {
		out = vdb__cursor_piece(&to, req->iov, left);
		in = vdb__cursor_piece(&from, req->iov, out.iov_len);
		memcpy(out.iov_base, in.iov_base, in.iov_len);
		vdb__cursor_pass(&from, req->iov, in.iov_len);
		vdb__cursor_pass(&to, req->iov, in.iov_len);
	}
	return done;
}

static int echo_start(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	if (req->op < VDB_OP_USER)
		return -EOPNOTSUPP;
	vdb_req_complete(req, (int32_t)copy_across(req));
	return VDB_REQ_PENDING;
}

struct vdb_backend *vrig_echo(void)
{
	static const struct vdb_backend_ops ops = {.size = sizeof(ops), .name = "echo", .start = echo_start};
	static const struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	struct vdb_backend *backend = NULL;

	ck_assert_int_eq(vdb_backend_create(&ops, NULL, &info, &backend), 0);
	return backend;
}
