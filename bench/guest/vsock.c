/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of vsock benchmarks: it connects to a program of the host, and one of them sends. It polls; all
 * but the first instructions run in CPL 3. The words of its command line:
 *
 *     packed, event         of the virtqueues: packed rings, EVENT_IDX
 *     op=send               packets of `size` bytes as fast as they go
 *     op=receive            what comes, into buffers for `size` bytes each
 *     op=ping               `size` bytes and back, one at a time
 *     size=BYTES            of data in a packet
 *     warm=TICKS run=TICKS  for how long
 *
 * It keeps to credit as drivers do. Each packet that it sends begins with its number; what it receives is
 * to have one each `size` bytes.
 */
#include <linux/virtio_ids.h>
#include <linux/virtio_vsock.h>

#include "histogram.h"
#include "port.h"
#include "runtime.h"
#include "start.h"
#include "virtq.h"
#include "vsock_job.h"
#include "words.h"

enum { RX, TX, EVENT, QUEUES };

#define RINGS 0x300000ull /* what lies where; the image ends before */
#define RINGS_STEP 0x10000ull
#define BUFFERS 0x400000ull
#define SLOTS 128u      /* buffers of a queue */
#define SLOT 0x11000ull /* bytes of one's place */
#define WINDOW 0x40000u /* that the host may send: as much as Linux has */
#define BATCH 16u       /* packets before they are published, either way */
#define PATIENCE 40000000000ull
#define OWN_PORT 5000u
#define HEADER ((uint32_t)sizeof(struct virtio_vsock_hdr))
#define PIC_MASK 0x21u

static struct {
	uint32_t size;
	uint64_t warm, run;
} job;

/* Of what is measured; `all` and `wrong` of everything. */
static struct {
	uint64_t all, completed, ran, wrong, bytes, rung;
} tally;

/* The connection. */
static struct {
	bool open, over;
	uint32_t sent, peer_alloc, peer_taken;
	uint32_t got, told;
	uint64_t bytes; /* that came */
} link;

static struct histogram trips;
static char cmdline[512];
static struct virtio dev;
static struct virtq queues[QUEUES];
static uint64_t cid;
static uint32_t rx_slot[VIRTQ_MAX], tx_slot[VIRTQ_MAX]; /* of each id */
static uint32_t tx_free[SLOTS], tx_free_count;

_Noreturn static void give_up(const char *why)
{
	port_text("failed ");
	port_text(why);
	port_end(1);
}

static uint8_t *slot_at(uint32_t queue, uint32_t slot)
{
	return (uint8_t *)(uintptr_t)(BUFFERS + (queue * SLOTS + slot) * SLOT);
}

/* ---- Sending ---- */

static void put_packet(uint16_t op, uint32_t flags, uint32_t len)
{
	uint32_t slot = tx_free[--tx_free_count];
	struct virtio_vsock_hdr *h = (struct virtio_vsock_hdr *)(void *)slot_at(TX, slot);
	const struct virtq_buffer buffer = {(uintptr_t)h, HEADER + len, 0};
	int id;

	*h = (struct virtio_vsock_hdr){
	        .src_cid = cid,
	        .dst_cid = 2,
	        .src_port = OWN_PORT,
	        .dst_port = VSOCK_JOB_PORT,
	        .len = len,
	        .type = VIRTIO_VSOCK_TYPE_STREAM,
	        .op = op,
	        .flags = flags,
	        .buf_alloc = WINDOW,
	        .fwd_cnt = link.got,
	};
	if (len >= sizeof(uint64_t))
		*(uint64_t *)(void *)(h + 1) = tally.all;
	link.told = link.got;
	id = virtq_add(&queues[TX], &buffer, 1);
	if (id < 0)
		give_up("the queue is smaller than it said");
	tx_slot[id] = slot;
}

static void show(struct virtq *q)
{
	tally.rung += virtq_publish(q);
}

/* Those that the device has taken. */
static uint32_t reclaim(void)
{
	uint32_t len, n = 0;
	int id;

	for (; (id = virtq_take(&queues[TX], &len)) >= 0; n++)
		tx_free[tx_free_count++] = tx_slot[id];
	return n;
}

static void say(uint16_t op, uint32_t flags)
{
	while (!tx_free_count)
		(void)reclaim();
	put_packet(op, flags, 0);
	show(&queues[TX]);
}

/* As many as there are credit and room for, but no more than a batch. */
static uint32_t send_some(uint32_t most)
{
	uint32_t n = 0;

	for (; n < most && tx_free_count && link.peer_alloc - (link.sent - link.peer_taken) >= job.size;
	     n++) {
		put_packet(VIRTIO_VSOCK_OP_RW, 0, job.size);
		link.sent += job.size;
		tally.all++;
	}
	if (n)
		show(&queues[TX]);
	return n;
}

/* ---- Receiving ---- */

static void give(uint32_t slot)
{
	const struct virtq_buffer buffer = {(uintptr_t)slot_at(RX, slot), HEADER + job.size, 1};
	int id = virtq_add(&queues[RX], &buffer, 1);

	if (id < 0)
		give_up("the queue is smaller than it said");
	rx_slot[id] = slot;
}

/* Numbers are where they belong, however the bytes were cut. */
static void check(const uint8_t *data, uint32_t len)
{
	uint64_t at = (link.bytes + job.size - 1) / job.size * job.size - link.bytes;

	for (; at + sizeof(uint64_t) <= len; at += job.size)
		tally.wrong += *(const uint64_t *)(const void *)(data + at) != (link.bytes + at) / job.size;
}

static void take_packet(const struct virtio_vsock_hdr *h, uint32_t len)
{
	if (len != HEADER + h->len || h->src_port != VSOCK_JOB_PORT)
		give_up("a packet that makes no sense");
	link.peer_alloc = h->buf_alloc;
	link.peer_taken = h->fwd_cnt;
	switch (h->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		link.open = true;
		return;
	case VIRTIO_VSOCK_OP_RW:
		check((const uint8_t *)(h + 1), h->len);
		link.got += h->len;
		link.bytes += h->len;
		return;
	case VIRTIO_VSOCK_OP_RST:
		link.over = true;
		return;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		say(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
		return;
	default:
		return;
	}
}

/* Packets of data that have come. */
static uint32_t receive_some(uint32_t most)
{
	uint32_t n = 0, data = 0, len = 0;
	int id;

	for (; n < most && (id = virtq_take(&queues[RX], &len)) >= 0; n++) {
		take_packet((const struct virtio_vsock_hdr *)(void *)slot_at(RX, rx_slot[id]), len);
		data += len > HEADER;
		give(rx_slot[id]);
	}
	if (n)
		show(&queues[RX]);
	if (link.got - link.told >= WINDOW / 2)
		say(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	return data;
}

/* ---- op=send ---- */

static uint64_t send_for(uint64_t ticks)
{
	uint64_t start = guest_tsc(), count = 0;

	do {
		count += reclaim();
		(void)receive_some(BATCH);
		if (!send_some(BATCH))
			guest_pause();
		tally.ran = guest_tsc() - start;
	} while (tally.ran < ticks && !link.over);
	return count;
}

static void do_send(void)
{
	(void)send_for(job.warm);
	tally.completed = send_for(job.run);
	tally.bytes = tally.completed * job.size;
	while (tx_free_count < SLOTS)
		(void)reclaim();
}

/* ---- op=receive ---- */

static uint64_t receive_for(uint64_t ticks)
{
	uint64_t start = guest_tsc(), count = 0;
	uint32_t n;

	do {
		(void)reclaim();
		n = receive_some(BATCH);
		count += n;
		if (!n)
			guest_pause();
		tally.ran = guest_tsc() - start;
	} while (tally.ran < ticks && !link.over);
	return count;
}

static void do_receive(void)
{
	uint64_t before;

	tally.all = receive_for(job.warm);
	before = link.bytes;
	tally.completed = receive_for(job.run);
	tally.all += tally.completed;
	tally.bytes = link.bytes - before;
}

/* ---- op=ping ---- */

static void one_trip(void)
{
	uint64_t start = guest_tsc(), goal = link.bytes + job.size;

	if (!send_some(1))
		give_up("no credit for a ping");
	while (link.bytes < goal) {
		(void)receive_some(BATCH);
		guest_pause();
		if (guest_tsc() - start > PATIENCE || link.over)
			give_up("no answer to a ping");
	}
	histogram_add(&trips, guest_tsc() - start);
	(void)reclaim();
}

static uint64_t ping_for(uint64_t ticks)
{
	uint64_t start = guest_tsc(), count = 0;

	for (; (tally.ran = guest_tsc() - start) < ticks; count++)
		one_trip();
	return count;
}

static void do_ping(void)
{
	(void)ping_for(job.warm);
	trips = (struct histogram){0};
	tally.completed = ping_for(job.run);
	tally.bytes = tally.completed * job.size;
}

/* ---- All of it ---- */

static void touch(void)
{
	for (uint64_t at = BUFFERS; at < BUFFERS + 2 * SLOTS * SLOT; at += 4096)
		*(volatile uint8_t *)at = 0;
}

static void open_device(void)
{
	uint64_t features = words_find(cmdline, "packed") ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0;

	features |= words_find(cmdline, "event") ? VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) : 0;
	if (!start_device(&dev, VIRTIO_ID_VSOCK) || !virtio_negotiate(&dev, features))
		give_up("no vsock device");
	cid = virtio_config64(&dev, 0);
	for (uint16_t i = 0; i < QUEUES; i++) {
		virtq_init(&queues[i], &dev, i, SLOTS, (void *)(uintptr_t)(RINGS + i * RINGS_STEP));
		virtq_disarm(&queues[i]);
		if (!virtq_enable(&queues[i], VIRTIO_NO_VECTOR))
			give_up("the device does not go on");
	}
	if (!virtio_drive(&dev))
		give_up("the device does not go on");
	for (uint32_t i = 0; i < SLOTS; i++) {
		tx_free[tx_free_count++] = i;
		give(i);
	}
	show(&queues[RX]);
}

static void await(const bool *what, const char *otherwise)
{
	uint64_t start = guest_tsc();

	while (!*what) {
		(void)receive_some(BATCH);
		guest_pause();
		if (guest_tsc() - start > PATIENCE)
			give_up(otherwise);
	}
}

static const struct {
	const char *word;
	void (*work)(void);
} works[] = {{"op=send", do_send}, {"op=receive", do_receive}, {"op=ping", do_ping}};

static void do_work(void)
{
	for (uint32_t i = 0; i < sizeof(works) / sizeof(works[0]); i++) {
		if (words_find(cmdline, works[i].word)) {
			works[i].work();
			return;
		}
	}
	give_up("what the command line asks for");
}

void guest_main(uint64_t start, uint64_t unused1, uint64_t unused2)
{
	(void)unused1;
	(void)unused2;
	guest_out8(PIC_MASK, 0xff);
	if (!start_cmdline(start, cmdline, sizeof(cmdline)))
		give_up("this is not hvm_start_info");
	job.size = (uint32_t)words_number(cmdline, "size=", 64);
	job.warm = words_number(cmdline, "warm=", 0);
	job.run = words_number(cmdline, "run=", 0);
	if (job.size < sizeof(uint64_t) || job.size > VSOCK_JOB_MOST)
		give_up("what the command line asks for");
	touch();
	open_device();
	say(VIRTIO_VSOCK_OP_REQUEST, 0);
	await(&link.open, "the host does not answer");
	do_work();
	if (link.over)
		give_up("the host has ended it");
	say(VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND);
	await(&link.over, "there is no end");
	port_field("done completed=", tally.completed);
	port_field(" ran=", tally.ran);
	port_field(" all=", tally.all);
	port_field(" wrong=", tally.wrong);
	port_field(" bytes=", tally.bytes);
	port_field(" rung=", tally.rung);
	port_field(" p50=", histogram_percentile(&trips, 50));
	port_field(" p99=", histogram_percentile(&trips, 99));
	port_end(0);
}
