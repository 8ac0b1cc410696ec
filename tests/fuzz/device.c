/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AREAS 0x400u  /* bytes of a queue's rings: descriptors, then at */
#define DRIVER 0x100u /* and */
#define DEVICE 0x200u
#define PATIENCE 20000 /* turns */
#define RING_RESET 40
#define BIT(feature) (1ull << (feature))

/* ---- What is made once ---- */

struct vdb_loop *fuzz_loop(void)
{
	static const struct vdb_loop_config config = {.size = sizeof(config), .engine = VDB_ENGINE_EPOLL};
	static struct vdb_loop *loop;

	if (!loop)
		fuzz_check(vdb_loop_create(&config, &loop) == 0);
	return loop;
}

static int kick_of(uint32_t queue)
{
	static int fds[DEVICE_QUEUES]; /* 0: not made */
	uint64_t count;

	fuzz_check(queue < DEVICE_QUEUES);
	if (!fds[queue])
		fds[queue] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	else if (read(fds[queue], &count, sizeof(count)) < 0)
		count = 0;
	fuzz_check(fds[queue] > 0);
	return fds[queue];
}

void fuzz_turn(void)
{
	fuzz_check(vdb_loop_step(fuzz_loop()) >= 0);
}

void fuzz_settle(void)
{
	int did, idle, turns = 0;

	do {
		did = vdb_loop_step(fuzz_loop());
		fuzz_check(did >= 0);
		idle = vdb_loop_prepare(fuzz_loop());
		fuzz_check(idle >= 0);
		fuzz_check(turns++ < PATIENCE);
	} while (did || !idle);
}

/* ---- Transport ---- */

static void queue_interrupt(void *arg, uint32_t queue)
{
	fuzz_check(queue < ((struct device *)arg)->queues);
	((struct device *)arg)->interrupts++;
}

static void config_interrupt(void *arg)
{
	((struct device *)arg)->config_interrupts++;
}

static int kick_fd(void *arg, uint32_t queue)
{
	(void)arg;
	return kick_of(queue);
}

static const struct vdb__transport_ops transport = {
        .queue_interrupt = queue_interrupt,
        .config_interrupt = config_interrupt,
        .kick_fd = kick_fd,
};

/* ---- Driver ---- */

static bool packed(const struct device *d)
{
	return d->features & BIT(VIRTIO_F_RING_PACKED);
}

static void set_addr(struct device *d, uint32_t queue, enum vdb__queue_area area, uint64_t gpa)
{
	vdb__virtio_queue_set_addr(d->virtio, queue, area, 0, (uint32_t)gpa);
	vdb__virtio_queue_set_addr(d->virtio, queue, area, 1, (uint32_t)(gpa >> 32));
}

static void enable(struct device *d, uint32_t queue)
{
	uint64_t at = (uint64_t)queue * AREAS;

	memset(fuzz_ram_at(at, AREAS), 0, AREAS);
	d->queue[queue] = (struct device_queue){.wrap = true};
	vdb__virtio_queue_set_size(d->virtio, queue, DEVICE_ENTRIES);
	set_addr(d, queue, VDB__QUEUE_DESC, at);
	set_addr(d, queue, VDB__QUEUE_DRIVER, at + DRIVER);
	set_addr(d, queue, VDB__QUEUE_DEVICE, at + DEVICE);
	vdb__virtio_queue_enable(d->virtio, queue);
}

static void set_status(struct device *d, uint8_t status)
{
	struct vdb_gate *gate = NULL;

	vdb__virtio_set_status(d->virtio, status, &gate);
	vdb_gate_unref(gate);
}

static void reset(struct device *d)
{
	set_status(d, 0);
	for (int i = 0; vdb__virtio_status(d->virtio); i++) {
		fuzz_turn();
		fuzz_check(i < PATIENCE);
	}
}

/* As a driver does it, with the features that the program wants. */
static void bring_up(struct device *d, struct fuzz_input *in)
{
	uint64_t refused = fuzz_u32(in) | (uint64_t)(fuzz_u8(in) & 0x7f) << 32;
	const uint64_t offered = vdb__virtio_device_features(d->virtio, 0) |
	                         (uint64_t)vdb__virtio_device_features(d->virtio, 1) << 32;

	reset(d);
	d->features = offered & (~refused | BIT(VIRTIO_F_VERSION_1));
	set_status(d, 1);
	set_status(d, 3);
	vdb__virtio_accept(d->virtio, 0, (uint32_t)d->features);
	vdb__virtio_accept(d->virtio, 1, (uint32_t)(d->features >> 32));
	set_status(d, 0xb);
	for (uint32_t i = 0; i < d->queues; i++)
		enable(d, i);
	set_status(d, 0xf);
	fuzz_turn();
}

static uint16_t put_desc(struct device *d, uint32_t queue, const struct device_buf *buf, uint16_t flags)
{
	struct device_queue *q = &d->queue[queue];
	uint16_t at = q->next;
	vdb_gpa_t gpa = (uint64_t)queue * AREAS + 16u * at;

	flags = (uint16_t)(flags | (buf->write ? VRING_DESC_F_WRITE : 0));
	q->next = (uint16_t)((at + 1) % DEVICE_ENTRIES);
	if (packed(d)) {
		struct vring_packed_desc desc = {buf->gpa, buf->len, at, flags};

		desc.flags = (uint16_t)(desc.flags | 1u << (q->wrap ? VRING_PACKED_DESC_F_AVAIL
		                                                    : VRING_PACKED_DESC_F_USED));
		if (!q->next)
			q->wrap = !q->wrap;
		fuzz_ram_put(gpa, &desc, sizeof(desc));
	} else {
		struct vring_desc desc = {buf->gpa, buf->len, flags, q->next};

		fuzz_ram_put(gpa, &desc, sizeof(desc));
	}
	return at;
}

void fuzz_device_kick(struct device *d, uint32_t queue)
{
	const uint64_t one = 1;

	(void)d;
	fuzz_check(write(kick_of(queue), &one, sizeof(one)) == sizeof(one));
}

/* Nothing is known of a queue whose rings somebody else writes to. */
static void make_wild(struct device *d)
{
	for (uint32_t i = 0; i < d->queues; i++)
		d->queue[i].wild = true;
}

void fuzz_device_chain(struct device *d, uint32_t queue, const struct device_buf *bufs, uint32_t n)
{
	struct device_queue *q = &d->queue[queue];
	struct vring_avail *avail = fuzz_ram_at((uint64_t)queue * AREAS + DRIVER, 4 + 2 * DEVICE_ENTRIES);
	uint16_t head = q->next;

	for (uint32_t i = 0; i < n; i++) {
		if (bufs[i].write && bufs[i].gpa < DEVICE_DATA)
			make_wild(d);
		(void)put_desc(d, queue, &bufs[i], i + 1 < n ? VRING_DESC_F_NEXT : 0);
	}
	if (!packed(d)) {
		avail->ring[q->shown % DEVICE_ENTRIES] = head;
		avail->idx = ++q->shown;
	}
	q->given++;
	fuzz_device_kick(d, queue);
}

/* ---- Checks ---- */

static void check_used(const struct device *d)
{
	for (uint32_t i = 0; i < d->queues; i++) {
		const struct vring_used *used = fuzz_ram_at((uint64_t)i * AREAS + DEVICE, 4);
		const struct device_queue *q = &d->queue[i];

		if (!packed(d) && !q->wild)
			fuzz_check(used->idx <= q->given);
	}
}

/* ---- Life ---- */

struct vdb_virtio_config fuzz_device_at(struct fuzz_input *in)
{
	static const uint32_t flags[] = {0, VDB_VIRTIO_NO_PACKED,
	                                 VDB_VIRTIO_NO_PACKED | VDB_VIRTIO_NO_EVENT_IDX,
	                                 VDB_VIRTIO_NO_INDIRECT};

	return (struct vdb_virtio_config){.size = sizeof(struct vdb_virtio_config),
	                                  .mem = fuzz_ram(),
	                                  .loop = fuzz_loop(),
	                                  .flags = flags[fuzz_u8(in) % 4]};
}

void fuzz_device_adopt(struct device *d, struct vdb_virtio *virtio)
{
	memset(d, 0, sizeof(*d));
	d->virtio = virtio;
	d->queues = vdb__virtio_queues(virtio);
	d->features = vdb__virtio_driver_features(virtio, 0) |
	              (uint64_t)vdb__virtio_driver_features(virtio, 1) << 32;
	fuzz_check(d->queues <= DEVICE_QUEUES);
	for (uint32_t i = 0; i < d->queues; i++)
		d->queue[i].wild = true;
	fuzz_check(vdb__virtio_attach(virtio, &transport, d) == 0);
}

void fuzz_device_open(struct device *d, struct vdb_virtio *virtio, struct fuzz_input *in)
{
	fuzz_device_adopt(d, virtio);
	bring_up(d, in);
}

static void on_gone(void *arg)
{
	((struct device *)arg)->gone++;
}

void fuzz_device_close(struct device *d)
{
	struct vdb_lane_stats stats = {.size = sizeof(stats)};

	reset(d);
	for (uint32_t i = 0; i < d->queues; i++) {
		fuzz_check(vdb_virtio_queue_stats(d->virtio, i, &stats) == 0);
		fuzz_check(stats.inflight == 0 && stats.requests == stats.completions);
	}
	vdb__virtio_detach(d->virtio);
	vdb_virtio_destroy(d->virtio, on_gone, d);
	for (int i = 0; !d->gone; i++) {
		fuzz_turn();
		fuzz_check(i < PATIENCE);
	}
	fuzz_check(d->gone == 1);
	fuzz_settle();
}

/* ---- Steps ---- */

static void any_chain(struct device *d, struct fuzz_input *in)
{
	struct device_buf bufs[6];
	uint8_t how = fuzz_u8(in), writes = fuzz_u8(in);
	uint32_t n = 1 + how % 6u;

	for (uint32_t i = 0; i < n; i++) {
		uint8_t rings = fuzz_u8(in); /* sometimes the buffer is part of a ring */

		bufs[i].gpa = rings < 16 ? fuzz_u16(in) % (DEVICE_QUEUES * AREAS) : fuzz_gpa(in);
		bufs[i].len = fuzz_len(in);
		bufs[i].write = writes >> i & 1;
	}
	fuzz_device_chain(d, how / 6u % d->queues, bufs, n);
}

static void scribble(struct device *d, struct fuzz_input *in)
{
	uint16_t at = fuzz_u16(in);

	make_wild(d);
	fuzz_ram_write(in, at % (d->queues * AREAS), 4);
}

static void config(struct device *d, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), bytes[8];
	uint32_t len = 1u << (how & 3);
	uint64_t offset = how & 0x40 ? fuzz_u64(in) : fuzz_u8(in);

	fuzz_bytes(in, bytes, sizeof(bytes));
	if (how & 4)
		vdb__virtio_config_write(d->virtio, offset, bytes, len);
	else
		vdb__virtio_config_read(d->virtio, offset, bytes, len);
	(void)vdb__virtio_generation(d->virtio);
}

static void quiesced(void *arg)
{
	((struct device *)arg)->paused++;
}

size_t fuzz_device_save(struct device *d, void *state, size_t room)
{
	uint32_t before = d->paused;
	size_t len = room;

	fuzz_check(vdb_virtio_quiesce(d->virtio, quiesced, d) == 0);
	for (int i = 0; d->paused == before; i++) {
		fuzz_turn();
		fuzz_check(i < PATIENCE);
	}
	fuzz_check(vdb_virtio_save(d->virtio, state, &len) == 0 && len <= room);
	return len;
}

/* A pause, whatever is in flight. */
static void pause_and_resume(struct device *d)
{
	uint8_t state[4096];

	(void)fuzz_device_save(d, state, sizeof(state));
	fuzz_check(vdb_virtio_resume(d->virtio) == 0);
}

static void queue_reset(struct device *d, struct fuzz_input *in)
{
	struct vdb_gate *gate = NULL;
	uint32_t queue = fuzz_u8(in) % d->queues;

	if (!vdb__virtio_accepted(d->virtio, RING_RESET))
		return;
	vdb__virtio_queue_reset(d->virtio, queue, &gate);
	vdb_gate_unref(gate);
	for (int i = 0; vdb__virtio_queue_in_reset(d->virtio, queue); i++) {
		fuzz_turn();
		fuzz_check(i < PATIENCE);
	}
	enable(d, queue);
}

void fuzz_device_step(struct device *d, uint8_t kind, struct fuzz_input *in)
{
	switch (kind) {
	case 0:
		any_chain(d, in);
		break;
	case 5:
		fuzz_device_kick(d, fuzz_u8(in) % d->queues);
		break;
	case 6:
		fuzz_ram_write(in, DEVICE_DATA + fuzz_u16(in) % 0x1000, 1u << (fuzz_u8(in) & 7));
		break;
	case 7:
		scribble(d, in);
		break;
	case 8:
		config(d, in);
		break;
	case 9:
		queue_reset(d, in);
		break;
	case 10:
		bring_up(d, in);
		break;
	case 11:
		set_status(d, fuzz_u8(in));
		break;
	case 12:
		pause_and_resume(d);
		break;
	case 1:
		fuzz_settle();
		check_used(d);
		break;
	default:
		fuzz_turn();
		check_used(d);
	}
}
