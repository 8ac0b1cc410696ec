/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* TIMEOUT: 300 */
/* virtio-vsock under a guest, or host programs, without measure (HOSTILE G71): caps hold, and nothing spins.
 */
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "arena.h"
#include "leak.h"
#include "run.h"
#include "virtio/vsock.h"
#include "vsock_rig.h"

enum { G = 5000, P = 80 };

static struct vsock_rig v;
static int listener;

static void open_rig_for(uint32_t max_connections, uint32_t timeout_ms)
{
	const struct vdb_vsock_config config = {.max_connections = max_connections, .timeout_ms = timeout_ms};

	vsock_rig_open(&v, &config);
	listener = vsock_host_listen(&v, P);
}

static void open_rig(uint32_t max_connections)
{
	open_rig_for(max_connections, 0);
}

static void close_rig(void)
{
	char path[sizeof(v.path) + 16];

	(void)snprintf(path, sizeof(path), "%s_%u", v.path, P);
	ck_assert_int_eq(unlink(path), 0);
	close(listener);
	vsock_rig_close(&v);
}

static void drain_listener(void)
{
	struct pollfd fd = {.fd = listener, .events = POLLIN};

	while (poll(&fd, 1, 0) > 0)
		close(vsock_host_accept(listener));
}

/* ---- Too many ---- */

/* So many ports as there are; the cap is on all of them, and each packet has its answer. */
START_TEST(g71_65536_connects)
{
	unsigned accepted = 0, refused = 0;
	int fds;

	open_rig(64);
	vsock_rig_quiet(&v); /* one engine has a copy of the device's epoll fd, from then on */
	fds = leak_fds();
	for (uint32_t port = 1; port <= 65536; port++) {
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, port, P);
		if (vsock_rig_receive(&v, NULL).op == VIRTIO_VSOCK_OP_RESPONSE)
			accepted++;
		else
			refused++;
	}
	ck_assert_uint_eq(accepted, 64);
	ck_assert_uint_eq(refused, 65536 - 64);
	ck_assert_uint_eq(vsock_rig_stats(&v).connections, 64);
	ck_assert_uint_eq(vsock_rig_stats(&v).refused_by_host, refused);
	vsock_rig_quiet(&v);
	ck_assert_int_eq(leak_fds(), fds + 64);
	close_rig();
}
END_TEST

START_TEST(g71_connect_and_reset)
{
	int fds;

	open_rig(16);
	vsock_rig_quiet(&v);
	fds = leak_fds();
	for (unsigned i = 0; i < 5000; i++) {
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G + i % 7, P);
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G + i % 7, P);
		vsock_rig_drain(&v); /* a RESPONSE, or none: it was reset before */
		if (i % 100 == 0)
			drain_listener();
	}
	vsock_rig_settle(&v, 0);
	drain_listener();
	vsock_rig_quiet(&v);
	ck_assert_int_eq(leak_fds(), fds);
	close_rig();
}
END_TEST

/* Host programs beyond the cap wait, in the backlog of the socket, and have their turn. */
START_TEST(g71_more_host_programs_than_connections)
{
	struct vsock_packet p[4];
	int fds[4];

	open_rig(2);
	for (int i = 0; i < 4; i++) {
		fds[i] = vsock_host_connect(&v);
		vsock_host_write(fds[i], "CONNECT 5000\n");
	}
	for (int i = 0; i < 2; i++)
		p[i] = vsock_rig_receive(&v, NULL);
	vsock_rig_quiet(&v);
	ck_assert_uint_eq(vsock_rig_stats(&v).connections, 2);
	/* The guest finds none left for itself. */
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, 7, P);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, 7, P);
	for (int i = 0; i < 4; i++) {
		if (i >= 2)
			p[i] = vsock_rig_receive(&v, NULL);
		ck_assert_uint_eq(p[i].op, VIRTIO_VSOCK_OP_REQUEST);
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G, p[i].src_port);
		vsock_host_expect_end(fds[i]);
		close(fds[i]);
	}
	vsock_rig_settle(&v, 0);
	close_rig();
}
END_TEST

/* The VM's own cap is below the device's: the guest is refused, host programs wait, and both have their turn.
 */
START_TEST(g71_no_more_fds_than_the_vm_may_have)
{
	const struct vdb_caps caps = {.size = sizeof(caps), .fds = 2};
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};
	int fd, fds;

	vsock_rig_make_capped(&v, NULL, NULL, &caps);
	vsock_rig_up(&v, 0, VSOCK_BUFFERS);
	listener = vsock_host_listen(&v, P);
	vsock_rig_quiet(&v);
	fds = leak_fds();
	for (uint32_t port = 1; port <= 5; port++) {
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, port, P);
		(void)vsock_rig_expect(&v, port <= 2 ? VIRTIO_VSOCK_OP_RESPONSE : VIRTIO_VSOCK_OP_RST, port,
		                       P);
	}
	ck_assert_int_eq(leak_fds(), fds + 2);
	ck_assert_int_eq(vdb_tenant_stats(v.tenant, &stats), 0);
	ck_assert_uint_eq(stats.fds, 2);
	ck_assert_uint_eq(stats.fds_refused, 3);
	fd = vsock_host_connect(&v);
	vsock_host_write(fd, "CONNECT 5000\n");
	vsock_rig_quiet(&v);
	ck_assert_uint_eq(vsock_rig_stats(&v).connections, 2);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, 1, P);
	ck_assert_uint_eq(vsock_rig_receive(&v, NULL).op, VIRTIO_VSOCK_OP_REQUEST);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, 2, P);
	vsock_rig_settle(&v, 1);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, 9, P);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RESPONSE, 9, P);
	close(fd);
	drain_listener();
	close_rig();
}
END_TEST

/* ---- No buffers ---- */

/* The guest sends what is answered by RST, and gives no buffer for one: its packets wait in its own queue. */
START_TEST(g71_answers_that_nobody_receives)
{
	const struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_REQUEST, G, 99);
	unsigned pushed = 0, used = 0;
	struct vdb_vsock_stats stats;
	uint64_t cookie;
	uint32_t len;

	open_rig_for(16, 24 * 3600 * 1000);
	virtio_rig_reset(&v.rig);
	vsock_rig_up(&v, 0, 0);
	for (; pushed < VDB__VSOCK_REPLIES; pushed++)
		vsock_rig_send(&v, &p, NULL, 0);
	for (unsigned i = 0; i < 10; i++, pushed++)
		vsock_rig_push(&v, &p, NULL, 0, 0);
	vsock_rig_quiet(&v);
	ck_assert(!virtq_reap(&v.rig.driver[VSOCK_TX], &cookie, &len));
	stats = vsock_rig_stats(&v);
	ck_assert_uint_eq(stats.packets_to_host, VDB__VSOCK_REPLIES);
	ck_assert_uint_eq(stats.packets_to_guest, 0);
	/* With buffers all of it goes on. */
	for (unsigned i = 0; i < VSOCK_BUFFERS; i++)
		vsock_rig_give(&v, i, VSOCK_BUFFER);
	for (; used < pushed; used++)
		(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, 99);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_TX, &len), v.sent - 10 + i);
	close_rig();
}
END_TEST

/* A guest that takes nothing while it owes answers itself, and those stand behind its calls: neither side
 * waits for the other for good. */
START_TEST(g71_both_sides_hold_back)
{
	const struct vsock_packet call = vsock_rig_packet(VIRTIO_VSOCK_OP_REQUEST, G, 99);
	const struct vsock_packet rw = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G + 1, P);
	struct vdb_vsock_stats stats;
	uint32_t len;
	int fd;

	open_rig_for(16, 3000);
	virtio_rig_reset(&v.rig);
	vsock_rig_up(&v, 0, 1);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G + 1, P);
	fd = vsock_host_accept(listener);
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_RX, &len), 0); /* and no other buffer */
	for (int round = 1; round <= 3; round++) {
		for (unsigned i = 0; i < VDB__VSOCK_REPLIES; i++)
			vsock_rig_send(&v, &call, NULL, 0);
		vsock_rig_send(&v, &rw, "goes on", 7);
		vsock_host_expect(fd, "goes on");
		stats = vsock_rig_stats(&v);
		ck_assert_uint_eq(stats.drops, (unsigned)round * VDB__VSOCK_REPLIES);
	}
	/* What has not waited too long is told. */
	vsock_rig_send(&v, &call, NULL, 0);
	vsock_rig_give(&v, 0, VSOCK_BUFFER);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, 99);
	close(fd);
	close_rig();
}
END_TEST

/* Host data stays in the host's socket, which fills up; the loop sleeps, whatever the host writes. */
START_TEST(g71_data_that_nobody_receives)
{
	static char data[4096];
	uint32_t len;
	uint64_t written = 0, got = 0;
	struct vdb_loop_stats before = {.size = sizeof(before)}, after = before;
	struct vsock_packet p;
	ssize_t n;
	int fd;

	open_rig(16);
	arena_spare("what the loop does alone is counted");
	virtio_rig_reset(&v.rig);
	vsock_rig_up(&v, 0, 1);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G, P);
	fd = vsock_host_accept(listener);
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_RX, &len), 0); /* and no other buffer */
	vsock_rig_quiet(&v);
	ck_assert_int_eq(send(fd, data, 1, MSG_DONTWAIT), 1);
	written++;
	vsock_rig_quiet(&v);
	ck_assert_int_eq(vdb_loop_stats(v.rig.loop, &before), 0);
	while ((n = send(fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
		written += (uint64_t)n;
	vsock_rig_quiet(&v);
	ck_assert_int_eq(vdb_loop_stats(v.rig.loop, &after), 0);
	ck_assert_uint_eq(after.events, before.events);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_guest, 0);
	for (unsigned i = 0; i < VSOCK_BUFFERS; i++)
		vsock_rig_give(&v, i, VSOCK_BUFFER);
	while (got < written) {
		p = vsock_rig_receive(&v, NULL);
		if (p.op == VIRTIO_VSOCK_OP_RW)
			got += p.len;
		p = vsock_rig_packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, G, P);
		p.fwd_cnt = (uint32_t)got;
		vsock_rig_send(&v, &p, NULL, 0);
	}
	close(fd);
	close_rig();
}
END_TEST

/* The event queue is no concern of anybody while there is no event. */
START_TEST(g71_no_buffer_for_events)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(VSOCK_EVENT, 0), 4, true}};
	uint64_t cookie;
	uint32_t len;

	open_rig(16);
	for (unsigned i = 0; i < 8; i++)
		ck_assert(virtq_add(&v.rig.driver[VSOCK_EVENT], bufs, 1, i));
	(void)virtq_publish(&v.rig.driver[VSOCK_EVENT]);
	vsock_rig_quiet(&v);
	ck_assert(!virtq_reap(&v.rig.driver[VSOCK_EVENT], &cookie, &len));
	close_rig();
}
END_TEST

/* ---- Host programs that never read ---- */

/* What the host has taken of it; nobody reads there, so that it stands still. */
static uint32_t taken_of(uint64_t bytes_before, uint64_t kept_before)
{
	struct vdb_vsock_stats stats = vsock_rig_stats(&v);

	return (uint32_t)(stats.bytes_to_host - bytes_before - (stats.buffered - kept_before));
}

/* As a driver that keeps the rules: until it has no credit any more. Returns what is kept. */
static uint64_t send_all_there_is_credit_for(uint32_t guest_port)
{
	static char data[VSOCK_MOST];
	const struct vsock_packet rw = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, guest_port, P);
	uint64_t bytes = vsock_rig_stats(&v).bytes_to_host, kept = vsock_rig_stats(&v).buffered;
	uint32_t window = 256 * 1024, sent = 0, taken = 0;
	struct vsock_packet p;

	while (sent - taken + sizeof(data) <= window) {
		vsock_rig_send(&v, &rw, data, sizeof(data));
		sent += (uint32_t)sizeof(data);
		if (sent - taken + sizeof(data) <= window)
			continue;
		taken = taken_of(bytes, kept);
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_CREDIT_REQUEST, guest_port, P);
		do
			p = vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_UPDATE, guest_port, P);
		while (p.fwd_cnt != taken);
		ck_assert_uint_eq(p.buf_alloc, window);
	}
	return sent - taken;
}

/* Several: each is stopped by its credit, no other waits for them, and what is kept is what was granted. */
START_TEST(g71_host_programs_that_never_read)
{
	enum { N = 6 };
	uint32_t port = 0;
	uint64_t kept = 0;
	struct vsock_packet p;
	int deaf[N], fd;

	open_rig(16);
	for (uint32_t i = 0; i < N; i++) {
		deaf[i] = vsock_rig_from_guest(&v, G + i, P, listener);
		kept += send_all_there_is_credit_for(G + i);
	}
	vsock_rig_quiet(&v);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, kept);
	ck_assert_uint_gt(kept, N * 200 * 1024);
	ck_assert_uint_le(kept, N * 256 * 1024);
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).host_stalls, N);
	fd = vsock_rig_from_host(&v, 9000, &port);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, 9000, port);
	vsock_rig_send(&v, &p, "bystander", 9);
	vsock_host_expect(fd, "bystander");
	for (int i = 0; i < N; i++)
		close(deaf[i]);
	close(fd);
	close_rig();
}
END_TEST

/* ---- Windows ---- */

/* All that may be kept is promised among the connections: the more there are, the less a new one gets, and
 * the sum stays. */
START_TEST(g71_windows_shrink_before_memory_grows)
{
	enum { N = 64 };
	const struct vdb_vsock_config config = {
	        .max_connections = N, .buf_bytes = 1 << 20, .max_buffered = 2 << 20};
	uint32_t first = 0;
	uint64_t sum = 0;
	struct vsock_packet p;
	int fds[N];

	vsock_rig_open(&v, &config);
	listener = vsock_host_listen(&v, P);
	for (uint32_t i = 0; i < N; i++) {
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G + i, P);
		fds[i] = vsock_host_accept(listener);
		p = vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RESPONSE, G + i, P);
		first = first ? first : p.buf_alloc;
		ck_assert_uint_ge(p.buf_alloc, VDB_VSOCK_MIN_BUFFER);
		ck_assert_uint_le(p.buf_alloc, first);
		sum += p.buf_alloc;
	}
	ck_assert_uint_le(sum, 2 << 20);
	ck_assert_uint_ge(first, 200 * 1024);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	for (uint32_t i = 0; i < N; i++) {
		p = vsock_rig_receive(&v, NULL);
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, p.dst_port, P);
	}
	vsock_rig_settle(&v, 0);
	/* All of it is there again. */
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G, P);
	ck_assert_uint_eq(vsock_rig_receive(&v, NULL).buf_alloc, first);
	close_rig();
}
END_TEST

/* ---- Fairness ---- */

/* Each that has something has a packet in its turn, whatever the others have. */
START_TEST(g71_connections_take_turns)
{
	enum { N = 5 };
	static char data[64 * 1024];
	uint32_t had[N] = {0};
	int fds[N];

	open_rig(16);
	virtio_rig_reset(&v.rig);
	vsock_rig_up(&v, 0, 0);
	for (uint32_t i = 0; i < N; i++) {
		vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G + i, P);
		fds[i] = vsock_host_accept(listener);
		ck_assert_int_eq(send(fds[i], data, sizeof(data) - i * 10000, 0), sizeof(data) - i * 10000);
	}
	vsock_rig_quiet(&v); /* all of it is there, and no buffer for it */
	for (unsigned i = 0; i < VSOCK_BUFFERS; i++)
		vsock_rig_give(&v, i, VSOCK_BUFFER);
	for (uint32_t round = 1; round <= 4; round++) {
		for (uint32_t i = 0; i < N; i++)
			had[vsock_rig_receive(&v, NULL).dst_port - G]++;
		for (uint32_t i = 0; i < N; i++)
			ck_assert_uint_eq(had[i], round);
	}
	for (int i = 0; i < N; i++)
		close(fds[i]);
	close_rig();
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vsock storm");

	tcase_add_test(tc, g71_65536_connects);
	tcase_add_test(tc, g71_connect_and_reset);
	tcase_add_test(tc, g71_more_host_programs_than_connections);
	tcase_add_test(tc, g71_no_more_fds_than_the_vm_may_have);
	tcase_add_test(tc, g71_answers_that_nobody_receives);
	tcase_add_test(tc, g71_both_sides_hold_back);
	tcase_add_test(tc, g71_data_that_nobody_receives);
	tcase_add_test(tc, g71_no_buffer_for_events);
	tcase_add_test(tc, g71_host_programs_that_never_read);
	tcase_add_test(tc, g71_windows_shrink_before_memory_grows);
	tcase_add_test(tc, g71_connections_take_turns);
	return test_run_within("vsock storm", tc, 120);
}
