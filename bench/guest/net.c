/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of network benchmarks: one ELF file with a PVH entry, for libvdb's VMMs and for QEMU's microvm.
 * It drives virtio-net (and a virtio-blk disk, in one mode) behind virtio-mmio registers, where microvm has
 * them, and says on the debug port how it went. It polls; all but the first instructions run in CPL 3. The
 * words of its command line:
 *
 *     packed, event                 of the virtqueues: packed rings, EVENT_IDX
 *     mergeable, segments           of the device: MRG_RXBUF; checksums and TCP segmentation, both ways
 *     op=send                       frames as fast as they go
 *     op=receive                    orders a backlog of `backlog` frames, then takes it as fast as it comes,
 * again and again; `wait` ticks after the order they lie there op=ping                       echo requests,
 * `depth` at a time, to the host's IP stack op=pair                       frames from its first device to its
 * second, `depth` at a time op=beside                     reads of a disk, one at a time, `gap` between them;
 * and meanwhile flood=send or flood=receive (as above), or nothing op=idle                       buffers are
 * there, interrupts wanted: sleeps for ever size=BYTES                    of a frame, at most depth=N
 * warm=TICKS run=TICKS  so many at a time, for how long
 */
#include <linux/virtio_ids.h>

#include "beside.h"
#include "histogram.h"
#include "nic.h"
#include "port.h"
#include "runtime.h"
#include "start.h"
#include "virtio_mmio.h"
#include "vsock_idle.h"
#include "words.h"

#define QUEUES 0x300000ull /* what lies where; the image ends before */
#define QUEUES_STEP 0x10000ull
#define BUFFERS 0x400000ull
#define BUFFERS_END 0x3f00000ull
#define SMALL 2048u             /* a buffer for frames of an Ethernet */
#define LARGE 0x11000u          /* for any */
#define BATCH 32u               /* frames before they are published, either way */
#define PATIENCE 40000000000ull /* ticks without a frame: many seconds */
#define LOST 400000000ull       /* ticks after which frames from device to device do not come any more */
#define PIC_MASK 0x21u          /* of the first; some pin of its may be a device's */

static struct {
	bool segments;
	uint32_t size, depth, backlog;
	uint64_t warm, run, wait;
} job;

/* Of what is measured; `all` and `wrong` of everything. */
static struct {
	uint64_t all, completed, ran, wrong, bytes, lost;
} tally;

static struct histogram trips;
static char cmdline[1024];
static struct nic nics[2];
static struct beside disk;
static uint64_t next_buffer = BUFFERS;

_Noreturn static void give_up(const char *why)
{
	port_text("failed ");
	port_text(why);
	port_end(1);
}

/* ---- Finding the devices ---- */

static bool find_device(struct virtio *dev, uint32_t id, uint8_t mac)
{
	for (uint32_t i = 0; i < START_SLOT_COUNT; i++)
		if (virtio_mmio_find(dev, START_SLOTS + i * START_SLOT_BYTES) && dev->id == id &&
		    (!mac || virtio_read8(dev->config + 5) == mac))
			return true;
	return false;
}

static uint8_t *take_memory(uint64_t bytes)
{
	uint64_t at = next_buffer;

	next_buffer += (bytes + 4095) & ~4095ull;
	if (next_buffer > BUFFERS_END)
		give_up("no memory for buffers");
	/* The first touch of a page is slow. */
	for (uint64_t i = at; i < next_buffer; i += 4096)
		*(volatile uint8_t *)i = 0;
	return (uint8_t *)at;
}

static uint64_t wanted_features(void)
{
	uint64_t features = VIRTIO_BIT(VIRTIO_NET_F_MAC);

	features |= words_find(cmdline, "packed") ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0;
	features |= words_find(cmdline, "event") ? VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX) : 0;
	features |= words_find(cmdline, "mergeable") ? VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) : 0;
	if (job.segments)
		features |= VIRTIO_BIT(VIRTIO_NET_F_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_HOST_TSO4) |
		            VIRTIO_BIT(VIRTIO_NET_F_GUEST_CSUM) | VIRTIO_BIT(VIRTIO_NET_F_GUEST_TSO4);
	return features;
}

static struct nic *open_nic(uint32_t i)
{
	uint64_t features = wanted_features();
	struct nic *nic = &nics[i];
	const char *wrong;

	if (!find_device(&nic->dev, VIRTIO_ID_NET, (uint8_t)(NET_GUEST_0 + i)))
		give_up("no network device");
	nic->tx_step = job.size > SMALL - NIC_HEADER ? LARGE : SMALL;
	nic->rx_step =
	        features & VIRTIO_BIT(VIRTIO_NET_F_MRG_RXBUF) && nic->tx_step == LARGE ? 4096 : nic->tx_step;
	nic->tx_buffers = take_memory((uint64_t)nic->tx_step * VIRTQ_MAX);
	nic->rx_buffers = take_memory((uint64_t)nic->rx_step * VIRTQ_MAX);
	nic->size = VIRTQ_MAX;
	nic->vector = VIRTIO_NO_VECTOR;
	wrong = nic_open(nic, features, (uint8_t *)(uintptr_t)(QUEUES + i * QUEUES_STEP));
	if (wrong)
		give_up(wrong);
	return nic;
}

/* ---- op=send ---- */

/* Written once, it stays in its buffer; but for the number, since a driver's frames are not all the same. */
static void write_data(uint8_t *frame, uint8_t to, uint64_t number)
{
	if (frame[5] != to && job.segments)
		net_segments(frame, job.size, to, NET_GUEST_0);
	else if (frame[5] != to)
		net_header(frame, to, NET_GUEST_0, NET_TYPE_DATA);
	if (!job.segments)
		net_stamp(frame, number);
}

/* What there is room for, but no more than a batch. */
static uint32_t send_some(struct nic *nic, uint32_t most, uint8_t to)
{
	uint8_t *frame;
	uint32_t n = 0;

	for (; n < most && (frame = nic_frame(nic)); n++) {
		write_data(frame, to, tally.all + n);
		nic_send(nic, job.size, job.segments ? 1448 : 0);
	}
	tally.all += n;
	nic_publish(nic, &nic->tx);
	return n;
}

static uint64_t send_for(struct nic *nic, uint64_t ticks)
{
	uint64_t start = guest_tsc(), count = 0;

	do {
		count += nic_sent(nic);
		if (!send_some(nic, BATCH, NET_NOBODY))
			guest_pause();
		tally.ran = guest_tsc() - start;
	} while (tally.ran < ticks);
	return count;
}

static void send_end(struct nic *nic)
{
	while (nic->tx.free < nic->tx.size)
		if (!nic_sent(nic))
			guest_pause();
}

static void do_send(void)
{
	struct nic *nic = open_nic(0);

	(void)send_for(nic, job.warm);
	tally.completed = send_for(nic, job.run);
	send_end(nic);
	tally.bytes = tally.completed * job.size;
}

/* ---- op=receive ---- */

static void pause_for(uint64_t ticks)
{
	uint64_t start = guest_tsc();

	while (guest_tsc() - start < ticks)
		guest_pause();
}

static void order(struct nic *nic)
{
	uint8_t *frame = nic_frame(nic);

	net_header(frame, NET_NOBODY, NET_GUEST_0, NET_TYPE_ORDER);
	net_stamp(frame, job.backlog);
	nic_send(nic, 60, 0);
	nic_publish(nic, &nic->tx);
	pause_for(job.wait);
	(void)nic_sent(nic);
}

/* What has come, and buffers for more. */
static uint32_t receive_some(struct nic *nic, uint32_t most)
{
	uint32_t n = 0;

	for (; n < most && nic_next(nic); n++) {
		tally.bytes += nic->got.len;
		while (nic_give_one(nic))
			;
	}
	nic_publish(nic, &nic->rx);
	return n;
}

/* Those that are there before the device knows of more buffers do not count. */
static uint32_t receive_early(struct nic *nic)
{
	uint32_t n = 0;

	while (nic_next(nic))
		n++;
	return n;
}

static void one_backlog(struct nic *nic)
{
	uint64_t start, last;
	uint32_t left = job.backlog, n;

	order(nic);
	left -= receive_early(nic);
	tally.completed += left;
	start = last = guest_tsc();
	nic_give(nic);
	while (left) {
		n = receive_some(nic, BATCH);
		if (n)
			last = guest_tsc();
		else if (guest_tsc() - last > PATIENCE)
			give_up("frames of the backlog are missing");
		left -= n;
	}
	tally.ran += last - start;
	tally.all += job.backlog;
}

static void do_receive(void)
{
	struct nic *nic = open_nic(0);
	uint64_t start = guest_tsc();

	nic_give(nic);
	one_backlog(nic);
	tally.completed = tally.ran = tally.bytes = 0;
	do
		one_backlog(nic);
	while (guest_tsc() - start < job.run);
}

/* ---- op=ping ---- */

static bool send_ping(struct nic *nic)
{
	uint8_t *frame = nic_frame(nic);

	if (!frame)
		return false;
	/* Written once: it stays in the buffer. */
	if (frame[12] != 8)
		net_ping(frame, job.size);
	nic_send(nic, job.size, 0);
	tally.all++;
	return true;
}

static uint32_t take_pongs(struct nic *nic)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < BATCH && nic_next(nic); i++) {
		n += (uint32_t)net_is_pong(nic->got.frame, nic->got.len);
		while (nic_give_one(nic))
			;
	}
	nic_publish(nic, &nic->rx);
	return n;
}

static uint32_t await_pongs(struct nic *nic)
{
	uint64_t start = guest_tsc();
	uint32_t n;

	while (!(n = take_pongs(nic))) {
		if (guest_tsc() - start > PATIENCE)
			give_up("no answer to a ping");
		guest_pause();
	}
	return n;
}

static uint64_t ping_for(struct nic *nic, uint64_t ticks, uint32_t *under_way)
{
	uint64_t start = guest_tsc(), count = 0, sent = 0;
	uint32_t n;

	do {
		(void)nic_sent(nic);
		for (; *under_way < job.depth && send_ping(nic); ++*under_way)
			;
		sent = guest_tsc();
		nic_publish(nic, &nic->tx);
		n = await_pongs(nic);
		if (job.depth == 1)
			histogram_add(&trips, guest_tsc() - sent);
		*under_way -= n;
		count += n;
		tally.ran = guest_tsc() - start;
	} while (tally.ran < ticks);
	return count;
}

static void do_ping(void)
{
	struct nic *nic = open_nic(0);
	uint32_t under_way = 0;

	nic_give(nic);
	(void)ping_for(nic, job.warm, &under_way);
	trips = (struct histogram){0};
	tally.completed = ping_for(nic, job.run, &under_way);
	tally.bytes = tally.completed * job.size;
}

/* ---- op=pair ---- */

/* So that whoever is between them knows where the second is. */
static void say_hello(struct nic *to, struct nic *from)
{
	uint64_t last = guest_tsc();

	do {
		net_header(nic_frame(from), NET_GUEST_0, NET_GUEST_1, NET_TYPE_DATA);
		nic_send(from, 60, 0);
		nic_publish(from, &from->tx);
		send_end(from);
		pause_for(1000000);
		if (guest_tsc() - last > PATIENCE)
			give_up("nothing comes from the one device to the other");
	} while (!receive_some(to, BATCH));
}

static uint64_t pair_for(struct nic *to, struct nic *from, uint64_t ticks, uint32_t *under_way)
{
	uint64_t start = guest_tsc(), count = 0, last = start, now = start;
	uint32_t n;

	do {
		(void)nic_sent(from);
		n = job.depth - *under_way;
		*under_way += send_some(from, n < BATCH ? n : BATCH, NET_GUEST_1);
		n = receive_some(to, BATCH);
		n = n < *under_way ? n : *under_way;
		*under_way -= n;
		count += n;
		now = guest_tsc();
		last = n ? now : last;
		if (now - last > LOST) { /* dropped on the way */
			tally.lost += *under_way;
			*under_way = 0;
			last = now;
		}
	} while (now - start < ticks);
	tally.ran = now - start;
	return count;
}

static void do_pair(void)
{
	struct nic *from = open_nic(0), *to = open_nic(1);
	uint32_t under_way = 0;

	nic_give(from);
	nic_give(to);
	say_hello(from, to);
	(void)pair_for(to, from, job.warm, &under_way);
	tally.bytes = 0;
	tally.completed = pair_for(to, from, job.run, &under_way);
}

/* ---- op=beside ---- */

static struct {
	struct nic *nic; /* NULL: nothing floods */
	bool sending;
	uint32_t left; /* of the backlog */
} flood;

static void flood_some(void)
{
	uint32_t n;

	if (!flood.nic)
		return;
	if (flood.sending) {
		(void)nic_sent(flood.nic);
		(void)send_some(flood.nic, BATCH, NET_NOBODY);
		return;
	}
	n = receive_some(flood.nic, BATCH);
	tally.all += n;
	flood.left -= n;
}

/* So that the flood lasts as long as the next request: while a backlog is made nothing is asked, nor before
 * more of it arrives than found a buffer while the loop slept. What is to be seen is not how it wakes up. */
static void flood_on(void)
{
	uint32_t lay;

	if (!flood.nic || flood.sending || flood.left > job.backlog / 8)
		return;
	while (flood.left)
		flood_some();
	order(flood.nic);
	flood.left = job.backlog - receive_early(flood.nic);
	lay = flood.left;
	nic_give(flood.nic);
	while (flood.left > lay - BATCH)
		flood_some();
}

static void one_request(uint64_t gap)
{
	uint64_t start = guest_tsc();

	while (guest_tsc() - start < gap)
		flood_some();
	flood_on();
	start = guest_tsc();
	beside_ask(&disk);
	while (!beside_done(&disk))
		flood_some();
	histogram_add(&trips, guest_tsc() - start);
	tally.completed++;
}

static void do_beside(void)
{
	uint64_t gap = words_number(cmdline, "gap=", 1000), start = guest_tsc();

	if (!find_device(&disk.dev, VIRTIO_ID_BLOCK, 0) ||
	    !beside_open(&disk, (uint8_t *)(QUEUES + 2 * QUEUES_STEP), take_memory(4096)))
		give_up("no disk");
	if (words_find(cmdline, "flood=")) {
		flood.nic = open_nic(0);
		flood.sending = words_find(cmdline, "flood=send");
		nic_give(flood.nic);
	}
	do {
		one_request(gap);
		tally.ran = guest_tsc() - start;
	} while (tally.ran < job.run);
	tally.wrong += disk.wrong;
}

/* ---- op=idle ---- */

static void do_idle(void)
{
	static struct virtio vsock;
	struct nic *nic = open_nic(0);

	if (find_device(&vsock, VIRTIO_ID_VSOCK, 0) &&
	    !vsock_idle_open(&vsock, take_memory(VSOCK_IDLE_BYTES)))
		give_up("the vsock device does not go on");
	nic_give(nic);
	(void)virtq_arm(&nic->rx);
	(void)virtq_arm(&nic->tx);
	port_text("idle\n");
	for (;;)
		guest_wait(guest_irqs);
}

/* ---- What is asked, what is told ---- */

static void read_cmdline(uint64_t start)
{
	if (!start_cmdline(start, cmdline, sizeof(cmdline)))
		give_up("this is not hvm_start_info");
}

static void read_job(void)
{
	job.segments = words_find(cmdline, "segments");
	job.size = (uint32_t)words_number(cmdline, "size=", 64);
	job.depth = (uint32_t)words_number(cmdline, "depth=", 1);
	job.backlog = (uint32_t)words_number(cmdline, "backlog=", 4096);
	job.warm = words_number(cmdline, "warm=", 0);
	job.run = words_number(cmdline, "run=", 0);
	job.wait = words_number(cmdline, "wait=", 0);
	if (job.size < 60 || job.size > NET_FRAME_MAX || !job.depth || job.depth > VIRTQ_MAX ||
	    job.backlog <= VIRTQ_MAX)
		give_up("what the command line asks for");
}

static const struct {
	const char *word;
	void (*work)(void);
} works[] = {{"op=send", do_send}, {"op=receive", do_receive}, {"op=ping", do_ping},
             {"op=pair", do_pair}, {"op=beside", do_beside},   {"op=idle", do_idle}};

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
	read_cmdline(start);
	read_job();
	do_work();
	port_field("done completed=", tally.completed);
	port_field(" ran=", tally.ran);
	port_field(" all=", tally.all);
	port_field(" wrong=", tally.wrong + nics[0].wrong + nics[1].wrong);
	port_field(" lost=", tally.lost);
	port_field(" bytes=", tally.bytes);
	port_field(" rung=", nics[0].rung + nics[1].rung);
	port_field(" p50=", histogram_percentile(&trips, 50));
	port_field(" p99=", histogram_percentile(&trips, 99));
	port_end(0);
}
