/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock_rig.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "leak.h"

#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))

static uint16_t type_of(const struct vsock_rig *v)
{
	return v->seqpacket ? VSOCK_SEQPACKET : VSOCK_STREAM;
}

static void nap(void)
{
	const struct timespec ns = {.tv_nsec = 1000000};

	nanosleep(&ns, NULL);
}

/* ---- Life ---- */

static void make_tenant(struct vsock_rig *v, const struct vdb_caps *caps, struct vdb_virtio_config *place)
{
	if (!caps)
		return;
	ck_assert_int_eq(vdb_tenant_create(place->loop, &v->tenant), 0);
	ck_assert_int_eq(vdb_tenant_caps(v->tenant, caps), 0);
	place->tenant = v->tenant;
}

void vsock_rig_make(struct vsock_rig *v, const struct vdb_vsock_config *config,
                    const struct vdb_virtio_config *at)
{
	vsock_rig_make_capped(v, config, at, NULL);
}

void vsock_rig_make_capped(struct vsock_rig *v, const struct vdb_vsock_config *config,
                           const struct vdb_virtio_config *at, const struct vdb_caps *caps)
{
	struct vdb_vsock_config own = {0};
	struct vdb_virtio_config place;
	struct vdb_virtio *device = NULL;

	memset(v, 0, sizeof(*v));
	v->fds = leak_fds();
	(void)snprintf(v->dir, sizeof(v->dir), "/tmp/vdb-vsock-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(v->dir));
	(void)snprintf(v->path, sizeof(v->path), "%s/v", v->dir);
	place = ready_rig_open(&v->rig);
	place.limit = at ? at->limit : NULL;
	make_tenant(v, caps, &place);
	if (config)
		own = *config;
	own.size = sizeof(own);
	own.cid = own.cid ? own.cid : VSOCK_CID;
	if (!own.path && own.listen_fd <= 0 && !own.connect)
		own.path = v->path;
	ck_assert_msg(vdb_vsock_create(&place, &own, &device) == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&v->rig, device);
}

void vsock_rig_up(struct vsock_rig *v, uint64_t features, unsigned buffers)
{
	virtio_rig_up(&v->rig, features | VRIG_BIT(0), VSOCK_QUEUES);
	for (unsigned i = 0; i < buffers; i++)
		vsock_rig_give(v, i, VSOCK_BUFFER);
}

void vsock_rig_open(struct vsock_rig *v, const struct vdb_vsock_config *config)
{
	vsock_rig_make(v, config, NULL);
	vsock_rig_up(v, 0, VSOCK_BUFFERS);
}

static void remove_dir(const struct vsock_rig *v)
{
	struct stat st;

	ck_assert_msg(lstat(v->path, &st) && errno == ENOENT, "%s is still there", v->path);
	ck_assert_msg(!rmdir(v->dir), "%s: %s", v->dir, strerror(errno));
}

void vsock_rig_close(struct vsock_rig *v)
{
	vdb_tenant_destroy(v->tenant);
	v->tenant = NULL;
	/* A device that is not the rig's own says nothing to it at its end. */
	v->rig.destroyed = 1;
	virtio_rig_close(&v->rig);
	remove_dir(v);
	ck_assert_int_eq(leak_fds(), v->fds);
}

struct vdb_vsock_stats vsock_rig_stats(struct vsock_rig *v)
{
	struct vdb_vsock_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_vsock_stats(v->rig.device, &stats), 0);
	return stats;
}

void vsock_rig_settle(struct vsock_rig *v, uint32_t connections)
{
	uint32_t now = 0;

	for (int i = 0; i < 60000; i++) {
		now = vsock_rig_stats(v).connections;
		if (now == connections)
			return;
		nap();
	}
	ck_abort_msg("waited long for %u connections, there are %u", connections, now);
}

void vsock_rig_quiet(struct vsock_rig *v)
{
	struct vdb_loop_stats before, after = {.size = sizeof(after)};

	arena_rest(v->rig.loop);
	ck_assert_int_eq(vdb_loop_stats(v->rig.loop, &after), 0);
	do {
		before = after;
		for (int i = 0; i < 20; i++)
			nap();
		ck_assert_int_eq(vdb_loop_stats(v->rig.loop, &after), 0);
	} while (after.turns != before.turns || after.events != before.events);
	arena_resume(v->rig.loop);
}

/* ---- The guest ---- */

struct vsock_packet vsock_rig_packet(uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	return (struct vsock_packet){
	        .src_cid = VSOCK_CID,
	        .dst_cid = VSOCK_HOST,
	        .src_port = guest_port,
	        .dst_port = host_port,
	        .type = VIRTIO_VSOCK_TYPE_STREAM,
	        .op = op,
	        .buf_alloc = 1u << 16,
	};
}

static struct virtio_vsock_hdr to_guest_order(const struct vsock_packet *p)
{
	return (struct virtio_vsock_hdr){
	        .src_cid = htole64(p->src_cid),
	        .dst_cid = htole64(p->dst_cid),
	        .src_port = htole32(p->src_port),
	        .dst_port = htole32(p->dst_port),
	        .len = htole32(p->len),
	        .type = htole16(p->type),
	        .op = htole16(p->op),
	        .flags = htole32(p->flags),
	        .buf_alloc = htole32(p->buf_alloc),
	        .fwd_cnt = htole32(p->fwd_cnt),
	};
}

struct vsock_packet vsock_rig_parse(const void *at)
{
	const struct virtio_vsock_hdr *h = at;

	return (struct vsock_packet){
	        .src_cid = le64toh(h->src_cid),
	        .dst_cid = le64toh(h->dst_cid),
	        .src_port = le32toh(h->src_port),
	        .dst_port = le32toh(h->dst_port),
	        .len = le32toh(h->len),
	        .type = le16toh(h->type),
	        .op = le16toh(h->op),
	        .flags = le32toh(h->flags),
	        .buf_alloc = le32toh(h->buf_alloc),
	        .fwd_cnt = le32toh(h->fwd_cnt),
	};
}

void vsock_rig_push(struct vsock_rig *v, const struct vsock_packet *p, const void *data, uint32_t len,
                    uint32_t at)
{
	const struct virtio_vsock_hdr header = to_guest_order(p);
	const struct virtq_buf bufs[] = {{ready_rig_data(VSOCK_TX, at), HEADER, false},
	                                 {ready_rig_data(VSOCK_TX, at) + HEADER, len, false}};

	memcpy(mock_at(&v->rig.ram, bufs[0].gpa), &header, HEADER);
	if (len)
		memcpy(mock_at(&v->rig.ram, bufs[1].gpa), data, len);
	ck_assert(virtq_add(&v->rig.driver[VSOCK_TX], bufs, len ? 2 : 1, v->sent++));
	(void)virtq_publish(&v->rig.driver[VSOCK_TX]);
}

void vsock_rig_send(struct vsock_rig *v, const struct vsock_packet *p, const void *data, uint32_t len)
{
	struct vsock_packet whole = *p;
	uint32_t used = 1;

	if (len && !whole.len)
		whole.len = len;
	vsock_rig_push(v, &whole, data, len, 0);
	ck_assert_uint_eq(ready_rig_reap(&v->rig, VSOCK_TX, &used), v->sent - 1);
	ck_assert_uint_eq(used, 0);
}

void vsock_rig_say(struct vsock_rig *v, uint16_t op, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_packet p = vsock_rig_packet(op, guest_port, host_port);

	p.type = type_of(v);
	vsock_rig_send(v, &p, NULL, 0);
}

void vsock_rig_give(struct vsock_rig *v, unsigned i, uint32_t len)
{
	const struct virtq_buf buf = {ready_rig_data(VSOCK_RX, i * VSOCK_BUFFER), len, true};

	ck_assert(virtq_add(&v->rig.driver[VSOCK_RX], &buf, 1, i));
	(void)virtq_publish(&v->rig.driver[VSOCK_RX]);
}

struct vsock_packet vsock_rig_receive(struct vsock_rig *v, void *data)
{
	struct vsock_packet p = {0};
	const uint8_t *at;
	uint32_t len = 0;
	unsigned i;

	/* What a quiesce gave back is no packet. */
	while (len == 0) {
		i = (unsigned)ready_rig_reap(&v->rig, VSOCK_RX, &len);
		at = mock_at(&v->rig.ram, ready_rig_data(VSOCK_RX, i * VSOCK_BUFFER));
		if (len) {
			ck_assert_uint_ge(len, HEADER);
			p = vsock_rig_parse(at);
			ck_assert_uint_eq(len - HEADER, p.len);
			if (data)
				memcpy(data, at + HEADER, p.len);
		}
		vsock_rig_give(v, i, VSOCK_BUFFER);
	}
	return p;
}

void vsock_rig_drain(struct vsock_rig *v)
{
	uint64_t i;
	uint32_t len;

	while (virtq_reap(&v->rig.driver[VSOCK_RX], &i, &len))
		vsock_rig_give(v, (unsigned)i, VSOCK_BUFFER);
}

struct vsock_packet vsock_rig_expect(struct vsock_rig *v, uint16_t op, uint32_t guest_port,
                                     uint32_t host_port)
{
	struct vsock_packet p = vsock_rig_receive(v, NULL);

	ck_assert_uint_eq(p.op, op);
	ck_assert_uint_eq(p.src_cid, VSOCK_HOST);
	ck_assert_uint_eq(p.dst_cid, VSOCK_CID);
	ck_assert_uint_eq(p.src_port, host_port);
	ck_assert_uint_eq(p.dst_port, guest_port);
	ck_assert_uint_eq(p.type, type_of(v));
	return p;
}

/* However it is cut into packets. */
void vsock_rig_expect_data(struct vsock_rig *v, uint32_t guest_port, uint32_t host_port, const char *data)
{
	char got[VSOCK_DATA];
	struct vsock_packet p;

	for (size_t left = strlen(data); left; left -= p.len, data += p.len) {
		p = vsock_rig_receive(v, got);
		ck_assert_uint_eq(p.op, VIRTIO_VSOCK_OP_RW);
		ck_assert_uint_eq(p.src_port, host_port);
		ck_assert_uint_eq(p.dst_port, guest_port);
		ck_assert_uint_le(p.len, left);
		ck_assert_mem_eq(got, data, p.len);
	}
}

/* ---- Host programs ---- */

static void patience(int fd)
{
	const struct timeval wait = {.tv_sec = 100};

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)), 0);
}

static int unix_socket(const struct vsock_rig *v)
{
	int fd = socket(AF_UNIX, (v->seqpacket ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	patience(fd);
	return fd;
}

int vsock_host_connect(const struct vsock_rig *v)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = unix_socket(v);

	(void)snprintf(to.sun_path, sizeof(to.sun_path), "%s/v%s", v->dir, v->seqpacket ? "_seqpacket" : "");
	ck_assert_msg(!connect(fd, (const struct sockaddr *)&to, sizeof(to)), "%s: %s", v->path,
	              strerror(errno));
	return fd;
}

/* Only the listener needs the name: whoever listens may remove it at once. */
int vsock_host_listen(const struct vsock_rig *v, uint32_t port)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = unix_socket(v);

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/v_%u", v->dir, port);
	(void)unlink(at.sun_path);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(fd, 1024), 0);
	return fd;
}

int vsock_host_accept(int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	ck_assert_msg(fd >= 0, "accept: %s", strerror(errno));
	patience(fd);
	return fd;
}

void vsock_host_write(int fd, const char *data)
{
	ck_assert_int_eq(send(fd, data, strlen(data), MSG_NOSIGNAL), (ssize_t)strlen(data));
}

void vsock_host_read(int fd, void *data, size_t len)
{
	ssize_t n;

	for (char *at = data; len; at += n, len -= (size_t)n) {
		n = recv(fd, at, len, 0);
		ck_assert_msg(n > 0, "host: %zu bytes are missing: %s", len,
		              n ? strerror(errno) : "end of file");
	}
}

void vsock_host_expect(int fd, const char *data)
{
	char got[256];
	size_t len = strlen(data);

	ck_assert_uint_lt(len, sizeof(got));
	vsock_host_read(fd, got, len);
	got[len] = 0;
	ck_assert_str_eq(got, data);
}

void vsock_host_expect_end(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, 0);

	ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "host: no end: %zd %s", n, strerror(errno));
}

/* ---- Connections ---- */

int vsock_rig_from_host(struct vsock_rig *v, uint32_t guest_port, uint32_t *host_port)
{
	int fd = vsock_host_connect(v);
	struct vsock_packet p;
	char line[64];

	(void)snprintf(line, sizeof(line), "CONNECT %u\n", guest_port);
	vsock_host_write(fd, line);
	p = vsock_rig_receive(v, NULL);
	ck_assert_uint_eq(p.op, VIRTIO_VSOCK_OP_REQUEST);
	ck_assert_uint_eq(p.dst_port, guest_port);
	*host_port = p.src_port;
	vsock_rig_say(v, VIRTIO_VSOCK_OP_RESPONSE, guest_port, p.src_port);
	(void)snprintf(line, sizeof(line), "OK %u\n", p.src_port);
	vsock_host_expect(fd, line);
	return fd;
}

int vsock_rig_from_guest(struct vsock_rig *v, uint32_t guest_port, uint32_t host_port, int listener)
{
	int fd;

	vsock_rig_say(v, VIRTIO_VSOCK_OP_REQUEST, guest_port, host_port);
	fd = vsock_host_accept(listener);
	(void)vsock_rig_expect(v, VIRTIO_VSOCK_OP_RESPONSE, guest_port, host_port);
	return fd;
}
