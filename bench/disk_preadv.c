/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk as kvmtool serves it, to compare with: a thread of its own waits in read() of the doorbell's
 * eventfd, takes request by request off the split ring, does it by preadv() or pwritev() on the spot, and
 * publishes it. No loop, no io_uring, nothing of the library but the VM around it. The guest is ours: what it
 * says is not checked here.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "calls.h"
#include "vmm.h"

#define SIZE 256u
#define MAGIC 0x74726976u
#define PARTS 4u /* header, data, status */

struct preadv {
	struct vmm m;
	const struct bench_options *o;
	struct vdb_bell *bell;
	pthread_t thread;
	uint8_t *ram; /* gpa 0 */
	int fd;       /* -1: nothing is behind it */
	bool stop;

	/* registers, of the vCPU's thread until `ready` */
	uint32_t select, status, size, ready;
	uint32_t accepted[2];
	uint32_t address[6]; /* desc, avail, used: low and high */
	uint64_t capacity;

	/* the queue, of the other thread from then on */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	uint16_t last;
	bool event_idx;
};

/* ---- The ring ---- */

static uint8_t *at(const struct preadv *p, uint64_t gpa)
{
	return p->ram + gpa % DISK_RAM;
}

/* Where the driver is to ring next, told before the last look, as kvmtool does at every look. */
static bool available(struct preadv *p)
{
	if (p->event_idx) {
		uint16_t *event = (uint16_t *)(void *)&p->used->ring[SIZE];

		(void)__atomic_exchange_n(event, p->last, __ATOMIC_SEQ_CST); /* a full fence, too */
	}
	return __atomic_load_n(&p->avail->idx, __ATOMIC_ACQUIRE) != p->last;
}

static uint32_t collect(const struct preadv *p, uint16_t head, struct iovec *parts)
{
	const struct vring_desc *table = p->desc, *desc = &table[head];
	uint32_t n = 0;

	if (desc->flags & VRING_DESC_F_INDIRECT)
		table = desc = (const struct vring_desc *)(void *)at(p, desc->addr);
	for (;; desc = &table[desc->next]) {
		parts[n++] = (struct iovec){at(p, desc->addr), desc->len};
		if (!(desc->flags & VRING_DESC_F_NEXT) || n == PARTS)
			return n;
	}
}

static ssize_t transfer(const struct preadv *p, const struct virtio_blk_outhdr *header,
                        const struct iovec *data, int count)
{
	off_t offset = (off_t)header->sector * 512;

	if (p->fd < 0)
		return (ssize_t)data->iov_len;
	if (header->type == VIRTIO_BLK_T_IN)
		return preadv(p->fd, data, count, offset);
	if (header->type == VIRTIO_BLK_T_OUT)
		return pwritev(p->fd, data, count, offset);
	return fdatasync(p->fd);
}

static void serve(struct preadv *p)
{
	struct vring_used_elem *elem = &p->used->ring[p->used->idx % SIZE];
	uint16_t head = p->avail->ring[p->last++ % SIZE];
	struct iovec parts[PARTS] = {{0}};
	uint32_t n = collect(p, head, parts);
	const struct virtio_blk_outhdr *header = parts[0].iov_base;
	bool flush = header->type == VIRTIO_BLK_T_FLUSH;
	ssize_t done = transfer(p, header, parts + 1, (int)n - 2);
	bool good = done == (flush ? 0 : (ssize_t)parts[1].iov_len);

	*(uint8_t *)parts[n - 1].iov_base = good ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
	elem->id = head;
	elem->len = header->type == VIRTIO_BLK_T_IN ? (uint32_t)done + 1 : 1;
	__atomic_store_n(&p->used->idx, (uint16_t)(p->used->idx + 1), __ATOMIC_RELEASE);
}

static void *serve_all(void *arg)
{
	struct preadv *p = arg;
	uint64_t rung;

	bench_pin(p->o->loop_cpu);
	for (;;) {
		if (read(vdb_bell_fd(p->bell), &rung, sizeof(rung)) != (ssize_t)sizeof(rung))
			bench_die(BENCH_FAILED, "read of the doorbell: %s", strerror(errno));
		if (__atomic_load_n(&p->stop, __ATOMIC_ACQUIRE))
			return NULL;
		if (!__atomic_load_n(&p->ready, __ATOMIC_ACQUIRE))
			continue;
		while (available(p))
			serve(p);
	}
}

/* ---- The registers ---- */

static void make_queue(struct preadv *p)
{
	p->desc = (struct vring_desc *)(void *)at(p, p->address[0]);
	p->avail = (struct vring_avail *)(void *)at(p, p->address[2]);
	p->used = (struct vring_used *)(void *)at(p, p->address[4]);
	p->event_idx = p->accepted[0] & 1u << VIRTIO_RING_F_EVENT_IDX;
	if (p->size != SIZE)
		bench_die(BENCH_FAILED, "a queue of %u", p->size);
	__atomic_store_n(&p->ready, 1, __ATOMIC_RELEASE);
}

static uint32_t offered(uint32_t half)
{
	return half ? 1u << (VIRTIO_F_VERSION_1 - 32)
	            : 1u << VIRTIO_RING_F_EVENT_IDX | 1u << VIRTIO_RING_F_INDIRECT_DESC |
	                       1u << VIRTIO_BLK_F_FLUSH | 1u << VIRTIO_BLK_F_SEG_MAX;
}

static uint32_t read_register(const struct preadv *p, uint64_t offset)
{
	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return VIRTIO_ID_BLOCK;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return offered(p->select);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return SIZE;
	case VIRTIO_MMIO_QUEUE_READY:
		return p->ready;
	case VIRTIO_MMIO_STATUS:
		return p->status;
	case VIRTIO_MMIO_CONFIG:
		return (uint32_t)p->capacity;
	case VIRTIO_MMIO_CONFIG + 4:
		return (uint32_t)(p->capacity >> 32);
	default:
		return 0;
	}
}

static void write_register(struct preadv *p, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		p->select = value & 1;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		p->accepted[p->select] = value;
		break;
	case VIRTIO_MMIO_STATUS:
		p->status = value;
		break;
	case VIRTIO_MMIO_QUEUE_NUM:
		p->size = value;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		p->address[0] = value;
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		p->address[2] = value;
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		p->address[4] = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		if (value)
			make_queue(p);
		break;
	default:
		break;
	}
}

static void on_read(void *ctx, struct vdb_bus_access *access)
{
	uint32_t value = read_register(ctx, access->offset);

	if (access->len == sizeof(value))
		memcpy(access->data, &value, sizeof(value));
}

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	uint32_t value;

	if (access->len != sizeof(value))
		return;
	memcpy(&value, access->data, sizeof(value));
	write_register(ctx, access->offset, value);
}

/* ---- Life ---- */

static void plug(struct preadv *p)
{
	static const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = on_read, .write = on_write};
	const struct vdb_bell_config bell = {
	        .size = sizeof(bell), .addr = VMM_DISK + VIRTIO_MMIO_QUEUE_NOTIFY, .len = 4};
	int fd;

	bench_must(vdb_bus_add(vdb_vm_mmio(p->m.vm), "disk", VMM_DISK, VDB_VIRTIO_MMIO_BYTES, &ops, p));
	bench_must(vdb_bell_create(p->m.vm, &bell, &p->bell));
	fd = vdb_bell_fd(p->bell);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK))
		bench_die(BENCH_FAILED, "F_SETFL: %s", strerror(errno));
	if (pthread_create(&p->thread, NULL, serve_all, p))
		bench_die(BENCH_FAILED, "no thread");
	pthread_setname_np(p->thread, "loop");
}

static void unplug(struct preadv *p)
{
	uint64_t one = 1;

	__atomic_store_n(&p->stop, true, __ATOMIC_RELEASE);
	if (write(vdb_bell_fd(p->bell), &one, sizeof(one)) != (ssize_t)sizeof(one))
		bench_die(BENCH_FAILED, "cannot ring");
	pthread_join(p->thread, NULL);
	vdb_bell_destroy(p->bell);
	if (p->fd >= 0)
		close(p->fd);
}

void disk_preadv(const struct bench_options *o, const struct disk_job *job, struct disk_result *result)
{
	struct preadv p = {.o = o, .fd = job->path ? disk_open(job) : -1, .capacity = job->bytes / 512};
	struct calls calls = {.fd = -1};
	char where[64], cmdline[DISK_CMDLINE];

	vmm_create(&p.m);
	p.ram = p.m.base;
	plug(&p);
	snprintf(where, sizeof(where), "virtio_mmio.device=4K@%#x:%u", VMM_DISK, VMM_GSI);
	disk_cmdline(o, job, where, cmdline);
	if (job->count_calls)
		calls_open(&calls, calls_thread("loop"));
	vmm_run(&p.m, o, cmdline, result);
	result->calls = calls_close(&calls);
	unplug(&p);
	vmm_destroy(&p.m);
}
