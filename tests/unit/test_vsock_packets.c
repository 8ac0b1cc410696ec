/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* Packets of a guest that breaks the rules of virtio-vsock (HOSTILE G69), and what it says of credit (G70).
 */
#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run.h"
#include "vsock_rig.h"

enum { G = 5000, STRANGER = 6000, HOST_PORT = 99 };

static struct vsock_rig v;
static int fd; /* of a host program that is connected to G */
static uint32_t port;

static void setup(void)
{
	const struct vdb_vsock_config config = {.buf_bytes = 32 * 1024};

	vsock_rig_open(&v, &config);
	fd = vsock_rig_from_host(&v, G, &port);
}

/* A bystander, whatever the guest did: the device still serves. */
static void teardown(void)
{
	uint32_t other = 0;
	int bystander = vsock_rig_from_host(&v, 7000, &other);

	vsock_host_write(bystander, "still here");
	vsock_rig_expect_data(&v, 7000, other, "still here");
	ck_assert_uint_eq(virtio_rig_status(&v.rig), 0xf);
	close(bystander);
	close(fd);
	vsock_rig_close(&v);
}

/* The connection is no more, on either side. */
static void expect_reset(uint64_t violations)
{
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_host_expect_end(fd);
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, violations);
}

/* ---- G69: what makes no sense ---- */

struct wrong {
	const char *what;
	struct vsock_packet p;
	uint32_t data; /* bytes behind the header */
	bool answered; /* by RST, and to whom it named */
};

#define CID_BITS (1ull << 32)

#define FROM .src_cid = VSOCK_CID
#define TO .dst_cid = VSOCK_HOST
#define PORTS .src_port = STRANGER, .dst_port = HOST_PORT
#define STREAM .type = VIRTIO_VSOCK_TYPE_STREAM
#define OP(name) .op = VIRTIO_VSOCK_OP_##name

static const struct wrong wrongs[] = {
        {"another's CID", {.src_cid = 78, TO, PORTS, STREAM, OP(REQUEST)}, 0, false},
        {"the host's CID", {.src_cid = 2, TO, PORTS, STREAM, OP(REQUEST)}, 0, false},
        {"CID 0", {.src_cid = 0, TO, PORTS, STREAM, OP(REQUEST)}, 0, false},
        {"its CID and more", {.src_cid = VSOCK_CID | CID_BITS, TO, PORTS, STREAM, OP(REQUEST)}, 0, false},
        {"to itself", {FROM, .dst_cid = VSOCK_CID, PORTS, STREAM, OP(REQUEST)}, 0, true},
        {"to the hypervisor", {FROM, .dst_cid = 0, PORTS, STREAM, OP(REQUEST)}, 0, true},
        {"to another guest", {FROM, .dst_cid = 3, PORTS, STREAM, OP(REQUEST)}, 0, true},
        {"to anybody", {FROM, .dst_cid = 0xffffffff, PORTS, STREAM, OP(RW)}, 0, true},
        {"to the host and more", {FROM, .dst_cid = 2 | CID_BITS, PORTS, STREAM, OP(REQUEST)}, 0, true},
        {"no type", {FROM, TO, PORTS, .type = 0, OP(REQUEST)}, 0, true},
        {"seqpacket", {FROM, TO, PORTS, .type = VIRTIO_VSOCK_TYPE_SEQPACKET, OP(REQUEST)}, 0, true},
        {"unknown type", {FROM, TO, PORTS, .type = 0xffff, OP(REQUEST)}, 0, true},
        {"no operation", {FROM, TO, PORTS, STREAM, OP(INVALID)}, 0, true},
        {"unknown operation", {FROM, TO, PORTS, STREAM, .op = 8}, 0, true},
        {"the last operation", {FROM, TO, PORTS, STREAM, .op = 0xffff}, 0, true},
        {"unsolicited response", {FROM, TO, PORTS, STREAM, OP(RESPONSE)}, 0, true},
        {"unsolicited reset", {FROM, TO, PORTS, STREAM, OP(RST)}, 0, false},
        {"reset of a wrong type", {FROM, TO, PORTS, .type = 9, OP(RST)}, 0, false},
        {"shutdown of nothing", {FROM, TO, PORTS, STREAM, OP(SHUTDOWN), .flags = 3}, 0, true},
        {"data of nothing", {FROM, TO, PORTS, STREAM, OP(RW), .len = 8}, 8, true},
        {"credit of nothing", {FROM, TO, PORTS, STREAM, OP(CREDIT_UPDATE)}, 0, true},
        {"credit wanted of nothing", {FROM, TO, PORTS, STREAM, OP(CREDIT_REQUEST)}, 0, true},
        {"a request with data", {FROM, TO, PORTS, STREAM, OP(REQUEST), .len = 8}, 8, true},
        {"a request that says it has", {FROM, TO, PORTS, STREAM, OP(REQUEST), .len = 8}, 0, true},
        {"a request that does not", {FROM, TO, PORTS, STREAM, OP(REQUEST)}, 8, true},
};
#define WRONGS (sizeof(wrongs) / sizeof(wrongs[0]))

START_TEST(g69_what_is_no_connection)
{
	const struct wrong *w = &wrongs[_i];
	const char data[8] = {0};
	uint64_t drops = vsock_rig_stats(&v).drops;
	struct vsock_packet p;

	vsock_rig_push(&v, &w->p, data, w->data, 0);
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_TX, &(uint32_t){0}), v.sent - 1);
	if (w->answered) {
		p = vsock_rig_receive(&v, NULL);
		ck_assert_msg(p.op == VIRTIO_VSOCK_OP_RST, "%s", w->what);
		ck_assert_uint_eq(p.src_cid, w->p.dst_cid);
		ck_assert_uint_eq(p.dst_cid, VSOCK_CID);
		ck_assert_uint_eq(p.src_port, HOST_PORT);
		ck_assert_uint_eq(p.dst_port, STRANGER);
		ck_assert_uint_eq(p.type, w->p.type);
	} else {
		ck_assert_msg(vsock_rig_stats(&v).drops == drops + 1, "%s", w->what);
	}
	ck_assert_uint_eq(vsock_rig_stats(&v).connections, 1);
	ck_assert_uint_eq(vsock_rig_stats(&v).refused_by_host, 0);
}
END_TEST

/* The same ports, so that it is about the connection. */
struct spoilt {
	uint16_t op;
	uint32_t len, data, flags, fwd_cnt;
};

static const struct spoilt spoilts[] = {
        {VIRTIO_VSOCK_OP_RW, 9, 8, 0, 0},
        {VIRTIO_VSOCK_OP_RW, 7, 8, 0, 0},
        {VIRTIO_VSOCK_OP_RW, UINT32_MAX, 8, 0, 0},
        {VIRTIO_VSOCK_OP_RW, 8, 0, 0, 0},
        {VIRTIO_VSOCK_OP_CREDIT_UPDATE, 8, 8, 0, 0},
        {VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 8, 0, 0},
        {VIRTIO_VSOCK_OP_SHUTDOWN, 1, 0, 3, 0},
        {VIRTIO_VSOCK_OP_REQUEST, 0, 0, 0, 0},
        {VIRTIO_VSOCK_OP_RESPONSE, 0, 0, 0, 0},
        {VIRTIO_VSOCK_OP_INVALID, 0, 0, 0, 0},
        {8, 0, 0, 0, 0},
        {0xffff, 0, 0, 0, 0},
        /* G70: it has taken what was never sent. */
        {VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0, 0, 1},
        {VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0, 0, 0x7fffffff},
        {VIRTIO_VSOCK_OP_RW, 8, 8, 0, 1},
};
#define SPOILTS (sizeof(spoilts) / sizeof(spoilts[0]))

START_TEST(g69_g70_what_ends_a_connection)
{
	const struct spoilt *s = &spoilts[_i];
	struct vsock_packet p = vsock_rig_packet(s->op, G, port);
	const char data[8] = {0};

	p.len = s->len;
	p.flags = s->flags;
	p.fwd_cnt = s->fwd_cnt;
	vsock_rig_push(&v, &p, data, s->data, 0);
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_TX, &(uint32_t){0}), v.sent - 1);
	expect_reset(1);
	ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_host, 0);
}
END_TEST

START_TEST(g69_an_answer_before_the_question)
{
	int early;

	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RST, G, port);
	vsock_host_expect_end(fd);
	/* No buffer is left for the REQUEST, so that it waits; the guest guesses its ports. */
	virtio_rig_reset(&v.rig);
	vsock_rig_up(&v, 0, 0);
	early = vsock_host_connect(&v);
	vsock_host_write(early, "CONNECT 5000\n");
	vsock_rig_settle(&v, 1);
	vsock_rig_quiet(&v);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RESPONSE, G, port + 1);
	vsock_host_expect_end(early);
	vsock_rig_settle(&v, 0);
	while (!vsock_rig_stats(&v).violations)
		usleep(1000);
	ck_assert_uint_eq(vsock_rig_stats(&v).violations, 1);
	close(early);
	for (unsigned i = 0; i < VSOCK_BUFFERS; i++)
		vsock_rig_give(&v, i, VSOCK_BUFFER);
}
END_TEST

START_TEST(g69_data_before_the_answer)
{
	int early = vsock_host_connect(&v);
	struct vsock_packet p;

	vsock_host_write(early, "CONNECT 5001\n");
	p = vsock_rig_receive(&v, NULL);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, 5001, p.src_port);
	vsock_rig_send(&v, &p, "early", 5);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, 5001, p.dst_port);
	vsock_host_expect_end(early);
	close(early);
}
END_TEST

START_TEST(g69_data_after_its_end)
{
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_SHUTDOWN, G, port);

	p.flags = VIRTIO_VSOCK_SHUTDOWN_SEND;
	vsock_rig_send(&v, &p, NULL, 0);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	vsock_rig_send(&v, &p, "late", 4);
	expect_reset(1);
}
END_TEST

/* Chains that are no packet: too short, or of the wrong direction. */
START_TEST(g69_chains_that_hold_no_packet)
{
	const struct virtq_buf bufs[] = {{ready_rig_data(VSOCK_TX, 0), 43, false},
	                                 {ready_rig_data(VSOCK_TX, 0), 44, true},
	                                 {ready_rig_data(VSOCK_TX, 0), 1, false}};
	uint64_t drops = vsock_rig_stats(&v).drops;
	uint32_t len;

	memset(mock_at(&v.rig.ram, ready_rig_data(VSOCK_TX, 0)), 0xff, 64);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(virtq_add(&v.rig.driver[VSOCK_TX], &bufs[i], 1, v.sent++));
		(void)virtq_publish(&v.rig.driver[VSOCK_TX]);
		ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_TX, &len), v.sent - 1);
		ck_assert_uint_eq(len, 0);
	}
	ck_assert_uint_eq(vsock_rig_stats(&v).drops, drops + 3);
}
END_TEST

/* Header and data in small pieces. */
START_TEST(chains_of_many_pieces)
{
	struct virtq_buf bufs[15];
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	vdb_gpa_t at = ready_rig_data(VSOCK_TX, 0);
	uint32_t len;

	p.len = 9;
	/* Made by the rig, and cut then: 6 pieces for 44 bytes, 9 for the data. */
	vsock_rig_push(&v, &p, "in pieces", 9, 0);
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_TX, &len), v.sent - 1);
	vsock_host_expect(fd, "in pieces");
	for (unsigned i = 0; i < 15; i++) {
		uint32_t part = i < 5 ? 8 : i == 5 ? 4 : 1;

		bufs[i] = (struct virtq_buf){at, part, false};
		at += part;
	}
	ck_assert(virtq_add(&v.rig.driver[VSOCK_TX], bufs, 15, v.sent++));
	(void)virtq_publish(&v.rig.driver[VSOCK_TX]);
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_TX, &len), v.sent - 1);
	vsock_host_expect(fd, "in pieces");
}
END_TEST

/* ---- Buffers for what it receives ---- */

START_TEST(g69_buffers_that_hold_nothing)
{
	const uint32_t sizes[] = {1, 43};
	uint64_t drops;
	uint32_t len;

	virtio_rig_reset(&v.rig);
	vsock_host_expect_end(fd);
	vsock_rig_up(&v, 0, 0);
	drops = vsock_rig_stats(&v).drops;
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_REQUEST, G, HOST_PORT); /* is owed an RST */
	for (unsigned i = 0; i < 2; i++) {
		vsock_rig_give(&v, i, sizes[i]);
		ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_RX, &len), i);
		ck_assert_uint_eq(len, 0);
	}
	ck_assert_uint_eq(vsock_rig_stats(&v).drops, drops + 2);
	for (unsigned i = 0; i < VSOCK_BUFFERS; i++)
		vsock_rig_give(&v, i, VSOCK_BUFFER);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_RST, G, HOST_PORT);
}
END_TEST

/* They take headers only: data waits for one that has room, and each of them is used once. */
START_TEST(g69_buffers_without_room_for_data)
{
	const struct virtio_vsock_hdr *header = mock_at(&v.rig.ram, ready_rig_data(VSOCK_RX, 0));
	uint32_t len, other;
	char ok[32];
	int own;

	virtio_rig_reset(&v.rig);
	vsock_rig_up(&v, 0, 0);
	vsock_rig_give(&v, 0, 44);
	own = vsock_host_connect(&v);
	vsock_host_write(own, "CONNECT 5002\n12345");
	ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_RX, &len), 0);
	ck_assert_uint_eq(len, 44);
	other = le32toh(header->src_port);
	vsock_rig_say(&v, VIRTIO_VSOCK_OP_RESPONSE, 5002, other);
	(void)snprintf(ok, sizeof(ok), "OK %u\n", other);
	vsock_host_expect(own, ok);
	for (unsigned i = 1; i < 4; i++) {
		vsock_rig_give(&v, i, 44);
		ck_assert_uint_eq(ready_rig_reap(&v.rig, VSOCK_RX, &len), i);
		ck_assert_uint_eq(len, 44);
	}
	for (unsigned i = 0; i < VSOCK_BUFFERS; i++)
		vsock_rig_give(&v, i, VSOCK_BUFFER);
	vsock_rig_expect_data(&v, 5002, other, "12345");
	close(own);
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_SHUTDOWN, 5002, other);
}
END_TEST

/* ---- G70: credit ---- */

static void guest_says_credit(uint32_t alloc, uint32_t taken)
{
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, G, port);

	p.buf_alloc = alloc;
	p.fwd_cnt = taken;
	vsock_rig_send(&v, &p, NULL, 0);
}

START_TEST(g70_none_at_all)
{
	guest_says_credit(0, 0);
	vsock_host_write(fd, "waits");
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_REQUEST, G, port);
	/* It is asked once, and nothing turns meanwhile, whatever more the host writes. */
	vsock_host_write(fd, " for credit");
	vsock_rig_quiet(&v);
	ck_assert_uint_eq(vsock_rig_stats(&v).credit_stalls, 1);
	guest_says_credit(0, 0);
	vsock_rig_quiet(&v);
	ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_guest, 0);
	guest_says_credit(3, 0);
	vsock_rig_expect_data(&v, G, port, "wai");
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_REQUEST, G, port);
	guest_says_credit(3, 1);
	vsock_rig_expect_data(&v, G, port, "t");
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_REQUEST, G, port);
	guest_says_credit(UINT32_MAX, 1);
	vsock_rig_expect_data(&v, G, port, "s for credit");
}
END_TEST

START_TEST(g70_taken_back)
{
	guest_says_credit(10, 0);
	vsock_host_write(fd, "1234567");
	vsock_rig_expect_data(&v, G, port, "1234567");
	guest_says_credit(3, 0); /* less than is under way */
	vsock_host_write(fd, "89");
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_REQUEST, G, port);
	guest_says_credit(3, 4); /* as much */
	vsock_rig_quiet(&v);
	guest_says_credit(3, 5); /* one more */
	vsock_rig_expect_data(&v, G, port, "8");
	(void)vsock_rig_expect(&v, VIRTIO_VSOCK_OP_CREDIT_REQUEST, G, port);
	guest_says_credit(3, 4); /* late: an older count changes nothing */
	vsock_rig_quiet(&v);
	guest_says_credit(3, 8);
	vsock_rig_expect_data(&v, G, port, "9");
}
END_TEST

START_TEST(g70_more_than_it_was_given)
{
	static char data[VSOCK_MOST];
	struct vsock_packet p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	uint64_t sent = 0;

	/* The host reads nothing: what its socket takes counts as taken, and then the window is all. */
	while (!vsock_rig_stats(&v).violations) {
		vsock_rig_send(&v, &p, data, sizeof(data));
		sent += sizeof(data);
		ck_assert_uint_le(vsock_rig_stats(&v).buffered, 32 * 1024);
		ck_assert_uint_lt(sent, 64u << 20);
	}
	while (vsock_rig_receive(&v, NULL).op == VIRTIO_VSOCK_OP_CREDIT_UPDATE)
		;
	vsock_rig_settle(&v, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).buffered, 0);
	ck_assert_uint_eq(vsock_rig_stats(&v).host_stalls, 1);
}
END_TEST

/* In one packet. */
START_TEST(g70_more_than_the_whole_window)
{
	static char data[VSOCK_MOST];
	struct vdb_vsock_config config = {.buf_bytes = 8192};
	struct vsock_packet p;

	close(fd);
	vsock_rig_close(&v);
	vsock_rig_open(&v, &config);
	fd = vsock_rig_from_host(&v, G, &port);
	p = vsock_rig_packet(VIRTIO_VSOCK_OP_RW, G, port);
	vsock_rig_send(&v, &p, data, 8193);
	expect_reset(1);
	ck_assert_uint_eq(vsock_rig_stats(&v).bytes_to_host, 0);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("vsock packets");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, g69_what_is_no_connection, 0, WRONGS);
	tcase_add_loop_test(tc, g69_g70_what_ends_a_connection, 0, SPOILTS);
	tcase_add_test(tc, g69_an_answer_before_the_question);
	tcase_add_test(tc, g69_data_before_the_answer);
	tcase_add_test(tc, g69_data_after_its_end);
	tcase_add_test(tc, g69_chains_that_hold_no_packet);
	tcase_add_test(tc, chains_of_many_pieces);
	tcase_add_test(tc, g69_buffers_that_hold_nothing);
	tcase_add_test(tc, g69_buffers_without_room_for_data);
	tcase_add_test(tc, g70_none_at_all);
	tcase_add_test(tc, g70_taken_back);
	tcase_add_test(tc, g70_more_than_it_was_given);
	tcase_add_test(tc, g70_more_than_the_whole_window);
	return test_run("vsock packets", tc);
}
