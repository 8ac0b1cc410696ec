/* SPDX-License-Identifier: Apache-2.0 */
/* Drives all that lives_abi.h lists, for tests/stress/lives. */
#include "lives_abi.h"

#include <linux/virtio_blk.h>
#include <vdb/guest.h>

#include "layout.h"
#include "nic.h"
#include "ring.h"
#include "runtime.h"
#include "virtio_mmio.h"
#include "virtio_pci.h"
#include "vsock_idle.h"

#define DEPTH 12u
#define QUEUE 64u
#define FRAME 200u
#define PIECES (LIVES_DISK / LIVES_PIECE)
#define BLK_DEVICE 2u

/* Memory, from LIVES_RING's end on. */
#define DISK_RINGS 0x210000u /* 0x8000 for each disk */
#define NET_RINGS 0x220000u
#define NATIVE_DATA 0x230000u
#define DISK_SLOTS 0x240000u /* 0x20000 for each disk */
#define VSOCK_MEMORY 0x280000u
#define NET_TX 0x2c0000u
#define NET_RX 0x300000u
#define NET_STEP 2048u

static struct lives_params *const params = (struct lives_params *)LIVES_PARAMS;
static uint64_t chance = 88172645463325252u;

_Noreturn static void end(uint32_t state, uint32_t wrong)
{
	params->wrong = wrong;
	__atomic_store_n(&params->state, state, __ATOMIC_RELEASE);
	for (;;)
		__asm__ __volatile__("ud2");
}

/* xorshift64 */
static uint32_t some(uint32_t below)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return (uint32_t)((chance >> 32) * below >> 32);
}

static void count(uint32_t kind, uint32_t n)
{
	__atomic_store_n(&params->done[kind], params->done[kind] + n, __ATOMIC_RELEASE);
}

/* Now and then, by what has been done since the last time. */
static bool reset_is_due(uint32_t kind)
{
	static uint32_t last[LIVES_KINDS];

	if (!params->reset_every || params->done[kind] - last[kind] < params->reset_every)
		return false;
	last[kind] = params->done[kind];
	__atomic_store_n(&params->resets, params->resets + 1, __ATOMIC_RELEASE);
	return true;
}

/* ---- A native ring ---- */

static struct vdb_guest ring;

static void native_reset(void)
{
	int r;

	vdb_guest_reset(&ring, VDB_F_EVENT_IDX);
	while ((r = vdb_guest_poll_ready(&ring)) == 0)
		guest_pause();
	if (r < 0)
		end(LIVES_BROKEN, (uint32_t)-r);
	vdb_guest_disarm(&ring);
}

static void native_open(void)
{
	if (guest_find_ring(&ring, (const void *)(uintptr_t)params->at[LIVES_NATIVE]))
		end(LIVES_NOT_FOUND, LIVES_NATIVE);
	native_reset();
}

static void native_fill(void)
{
	struct vdb_sqe *sqe;

	while (vdb_guest_outstanding(&ring) < DEPTH && (sqe = vdb_guest_sqe(&ring))) {
		sqe->op = some(4) ? VDB_OP_READ : VDB_OP_WRITE;
		sqe->addr = NATIVE_DATA + some(DEPTH) * LIVES_PIECE;
		sqe->len = LIVES_PIECE;
		sqe->offset = some(PIECES) * LIVES_PIECE;
	}
	(void)vdb_guest_submit(&ring);
}

static void native_pump(void)
{
	struct vdb_cqe cqe;
	uint32_t n = 0;

	for (; vdb_guest_reap(&ring, &cqe); n++)
		if (cqe.result != (int32_t)LIVES_PIECE)
			end(LIVES_RESULT, LIVES_NATIVE);
	count(LIVES_NATIVE, n);
	if (reset_is_due(LIVES_NATIVE))
		native_reset();
	native_fill();
}

/* ---- Disks ---- */

struct slot {
	struct virtio_blk_outhdr header;
	uint8_t status;
	uint8_t pad[0x1000 - sizeof(struct virtio_blk_outhdr) - 1];
	uint8_t data[LIVES_PIECE];
};

static struct disk {
	struct virtio dev;
	struct virtq q;
	uint32_t under; /* requests in flight */
	bool busy[DEPTH];
	uint32_t slot_of[VIRTQ_MAX];
} disks[2];

static struct disk *disk_of(uint32_t kind)
{
	return &disks[kind - LIVES_MMIO];
}

static struct slot *slot_at(uint32_t kind, uint32_t i)
{
	return (struct slot *)(uintptr_t)(DISK_SLOTS + (kind - LIVES_MMIO) * 0x20000u) + i;
}

static void disk_start(uint32_t kind)
{
	struct disk *disk = disk_of(kind);

	if (!virtio_negotiate(&disk->dev, params->features | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH)))
		end(LIVES_REFUSED, kind);
	virtq_init(&disk->q, &disk->dev, 0, QUEUE,
	           (void *)(uintptr_t)(DISK_RINGS + (kind - LIVES_MMIO) * 0x8000u));
	virtq_disarm(&disk->q);
	if (!virtq_enable(&disk->q, VIRTIO_NO_VECTOR) || !virtio_drive(&disk->dev))
		end(LIVES_REFUSED, kind);
	disk->under = 0;
	for (uint32_t i = 0; i < DEPTH; i++)
		disk->busy[i] = false;
}

static void disk_submit(uint32_t kind, uint32_t i)
{
	struct disk *disk = disk_of(kind);
	struct slot *slot = slot_at(kind, i);
	uint32_t type = some(3) ? VIRTIO_BLK_T_IN : VIRTIO_BLK_T_OUT, n = 0;
	struct virtq_buffer chain[3];
	int id;

	if (!some(16))
		type = VIRTIO_BLK_T_FLUSH;
	slot->header = (struct virtio_blk_outhdr){.type = type};
	if (type != VIRTIO_BLK_T_FLUSH)
		slot->header.sector = some(PIECES) * (uint64_t)(LIVES_PIECE / 512);
	slot->status = 0xee;
	chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->header, sizeof(slot->header), 0};
	if (type != VIRTIO_BLK_T_FLUSH)
		chain[n++] =
		        (struct virtq_buffer){(uintptr_t)slot->data, LIVES_PIECE, type == VIRTIO_BLK_T_IN};
	chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->status, 1, 1};
	id = virtq_add(&disk->q, chain, (uint16_t)n);
	if (id < 0)
		return;
	disk->slot_of[id] = i;
	disk->busy[i] = true;
	disk->under++;
}

static void disk_pump(uint32_t kind)
{
	struct disk *disk = disk_of(kind);
	uint32_t len, n = 0;
	int id;

	for (; (id = virtq_take(&disk->q, &len)) >= 0; n++) {
		if (*(volatile uint8_t *)&slot_at(kind, disk->slot_of[id])->status != VIRTIO_BLK_S_OK)
			end(LIVES_RESULT, kind);
		disk->busy[disk->slot_of[id]] = false;
		disk->under--;
	}
	count(kind, n);
	if (reset_is_due(kind))
		disk_start(kind); /* with all that is in flight */
	for (uint32_t i = 0; i < DEPTH; i++)
		if (!disk->busy[i])
			disk_submit(kind, i);
	if (disk->q.added)
		(void)virtq_publish(&disk->q);
}

static void disks_open(void)
{
	if (params->at[LIVES_MMIO]) {
		if (!virtio_mmio_find(&disks[0].dev, params->at[LIVES_MMIO]) || disks[0].dev.id != BLK_DEVICE)
			end(LIVES_NOT_FOUND, LIVES_MMIO);
		disk_start(LIVES_MMIO);
	}
	if (params->at[LIVES_PCI]) {
		if (!virtio_pci_find(&disks[1].dev,
		                     pci_find(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE + BLK_DEVICE)))
			end(LIVES_NOT_FOUND, LIVES_PCI);
		disk_start(LIVES_PCI);
	}
}

/* ---- Network and sockets ---- */

static struct nic nic;
static struct virtio vsock;

static void net_start(void)
{
	nic.tx_step = nic.rx_step = NET_STEP;
	nic.tx_buffers = (uint8_t *)NET_TX;
	nic.rx_buffers = (uint8_t *)NET_RX;
	nic.size = QUEUE;
	nic.vector = VIRTIO_NO_VECTOR;
	if (nic_open(&nic, params->features & VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX), (uint8_t *)NET_RINGS))
		end(LIVES_REFUSED, LIVES_NET);
	nic_give(&nic);
}

/* Nobody may be there who reads: then the ring fills, and stays so. */
static void net_pump(void)
{
	uint32_t n = nic_sent(&nic);

	for (; nic_next(&nic); n++)
		nic_give(&nic);
	count(LIVES_NET, n);
	if (reset_is_due(LIVES_NET))
		net_start();
	for (uint32_t i = 0; i < DEPTH && nic_frame(&nic); i++) {
		net_header(nic_frame(&nic), NET_NOBODY, NET_GUEST_0, NET_TYPE_DATA);
		nic_send(&nic, FRAME, 0);
	}
	nic_publish(&nic, &nic.tx);
}

static void net_open(void)
{
	if (!virtio_mmio_find(&nic.dev, params->at[LIVES_NET]))
		end(LIVES_NOT_FOUND, LIVES_NET);
	net_start();
}

static void vsock_start(void)
{
	if (!vsock_idle_open(&vsock, (uint8_t *)VSOCK_MEMORY))
		end(LIVES_REFUSED, LIVES_VSOCK);
}

static void vsock_pump(void)
{
	uint32_t len, n = 0;

	while (virtq_take(&vsock_idle_queues[0], &len) >= 0)
		n++;
	count(LIVES_VSOCK, n);
	if (n)
		vsock_start(); /* with a connection that waits for its answer */
}

static void vsock_open(void)
{
	if (!virtio_mmio_find(&vsock, params->at[LIVES_VSOCK]))
		end(LIVES_NOT_FOUND, LIVES_VSOCK);
	vsock_start();
}

/* ---- All of it ---- */

static void pump(void)
{
	if (params->at[LIVES_NATIVE])
		native_pump();
	if (params->at[LIVES_MMIO])
		disk_pump(LIVES_MMIO);
	if (params->at[LIVES_PCI])
		disk_pump(LIVES_PCI);
	if (params->at[LIVES_NET])
		net_pump();
	if (params->at[LIVES_VSOCK])
		vsock_pump();
}

static void tell_what_is_under_way(void)
{
	params->under[LIVES_NATIVE] = vdb_guest_outstanding(&ring);
	params->under[LIVES_MMIO] = disks[0].under;
	params->under[LIVES_PCI] = disks[1].under;
	params->under[LIVES_NET] = params->at[LIVES_NET] ? (uint32_t)(nic.tx.size - nic.tx.free) : 0;
}

_Noreturn void guest_main(uint64_t unused0, uint64_t unused1, uint64_t unused2)
{
	(void)unused0;
	(void)unused1;
	(void)unused2;
	if (params->at[LIVES_NATIVE])
		native_open();
	disks_open();
	if (params->at[LIVES_NET])
		net_open();
	if (params->at[LIVES_VSOCK])
		vsock_open();
	__atomic_store_n(&params->state, (uint32_t)LIVES_RUNS, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&params->stop, __ATOMIC_ACQUIRE))
		pump();
	tell_what_is_under_way();
	end(LIVES_STOPPED, 0);
}
