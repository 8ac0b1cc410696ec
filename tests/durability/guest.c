/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes to its disk all the time, at random places, at depth, with flushes in between, and
 * keeps a log of it (log.h) in the file that it has as memory. It never ends by itself.
 */
#include <linux/virtio_blk.h>
#include <stddef.h>

#include "log.h"
#include "runtime.h"
#include "virtio_mmio.h"
#include "virtio_pci.h"
#include "virtq.h"

#define LOG_GPA 0x8200000000ull /* as tinyvmm places the first such file */
#define MMIO_FIRST 0xd1000000u  /* and devices */
#define MMIO_DEVICES 8u
#define BLK_DEVICE 2u
#define SLOTS 24u
#define RUN 16u /* sectors of a request, at most */
#define CHAIN 4u
#define ODD 1000u            /* bytes of the first piece of data */
#define SWITCH_EVERY 400u    /* writes */
#define PRESENT_FOR_ALL 0x7u /* and writable */
#define LARGE 0x80u

struct slot {
	struct virtio_blk_outhdr header;
	uint32_t sector, count; /* count 0: a FLUSH */
	uint8_t status;
	uint8_t busy;
	uint8_t pad[0x200 - 26];
	uint64_t data[RUN * SECTOR_WORDS];
};

extern uint64_t pvh_pml4[];
static uint64_t log_pdpt[512] __attribute__((aligned(4096)));
static uint64_t log_pd[512] __attribute__((aligned(4096)));
static struct log *const log = (struct log *)LOG_GPA;

static struct virtio disk;
static struct virtq queue;
static uint8_t rings[0x4000] __attribute__((aligned(4096)));
static struct slot slots[SLOTS] __attribute__((aligned(4096)));
static struct slot *slot_of[VIRTQ_MAX];
static uint8_t busy[LOG_SECTORS];
static uint32_t flushing[LOG_SECTORS]; /* what the FLUSH in flight makes durable */
static bool flush_in_flight, through;
static uint32_t under; /* requests in flight */
static uint64_t chance;

_Noreturn static void end(uint32_t state, uint32_t wrong)
{
	log->wrong = wrong;
	__atomic_store_n(&log->state, state, __ATOMIC_RELEASE);
	for (;;)
		guest_pause();
}

static uint32_t some(uint32_t below)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return (uint32_t)((chance >> 32) * below >> 32);
}

static void set(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* The start's page tables end at 4 GiB. They are memory like any other here. */
static void map_log(void)
{
	log_pd[LOG_GPA >> 21 & 511] = LOG_GPA | LARGE | PRESENT_FOR_ALL;
	log_pdpt[LOG_GPA >> 30 & 511] = (uintptr_t)log_pd | PRESENT_FOR_ALL;
	*(volatile uint64_t *)&pvh_pml4[LOG_GPA >> 39 & 511] = (uintptr_t)log_pdpt | PRESENT_FOR_ALL;
}

/* ---- The disk ---- */

static bool find_disk(void)
{
	for (uint32_t i = 0; i < MMIO_DEVICES; i++)
		if (virtio_mmio_find(&disk, MMIO_FIRST + i * 0x1000u) && disk.id == BLK_DEVICE)
			return true;
	return virtio_pci_find(&disk, pci_find(VIRTIO_PCI_VENDOR, VIRTIO_PCI_DEVICE + BLK_DEVICE));
}

static void open_disk(void)
{
	uint64_t features = VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);

	if (!find_disk())
		end(LOG_NO_DISK, 0);
	if (log->mode == LOG_WRITE_BACK)
		features |= VIRTIO_BIT(VIRTIO_BLK_F_FLUSH) | VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE);
	if (!virtio_negotiate(&disk, features) || virtio_config64(&disk, 0) < LOG_SECTORS)
		end(LOG_REFUSED, 0);
	virtq_init(&queue, &disk, 0, VIRTQ_MAX, rings);
	virtq_disarm(&queue);
	if (!virtq_enable(&queue, VIRTIO_NO_VECTOR) || !virtio_drive(&disk))
		end(LOG_REFUSED, 1);
	through = log->mode == LOG_WRITE_THROUGH;
}

/* ---- Requests ---- */

static struct slot *free_slot(void)
{
	for (uint32_t i = 0; i < SLOTS && i < log->depth; i++)
		if (!slots[i].busy)
			return &slots[i];
	return NULL;
}

static void submit(struct slot *slot, uint32_t type)
{
	uint32_t len = slot->count * SECTOR_BYTES, first = len < ODD ? len : ODD;
	struct virtq_buffer chain[CHAIN];
	uint16_t n = 0;
	int id;

	slot->header = (struct virtio_blk_outhdr){.type = type, .sector = len ? slot->sector : 0};
	slot->status = 0xee;
	chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->header, sizeof(slot->header), 0};
	if (first)
		chain[n++] = (struct virtq_buffer){(uintptr_t)slot->data, first, 0};
	if (len > first)
		chain[n++] = (struct virtq_buffer){(uintptr_t)slot->data + first, len - first, 0};
	chain[n++] = (struct virtq_buffer){(uintptr_t)&slot->status, 1, 1};
	id = virtq_add(&queue, chain, n);
	if (id < 0)
		end(LOG_REFUSED, 2);
	slot_of[id] = slot;
	slot->busy = 1;
	under++;
}

static bool is_free(uint32_t sector, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (busy[sector + i])
			return false;
	return true;
}

static void write_some(struct slot *slot)
{
	slot->count = some(3) ? 1 + some(3) : 1 + some(RUN);
	slot->sector = some(LOG_SECTORS - slot->count);
	if (!is_free(slot->sector, slot->count))
		return;
	for (uint32_t i = 0; i < slot->count; i++) {
		uint32_t sector = slot->sector + i, version = log->issued[sector] + 1;

		busy[sector] = 1;
		set(&log->issued[sector], version);
		for (uint32_t w = 0; w < SECTOR_WORDS; w++)
			slot->data[i * SECTOR_WORDS + w] = log_word(sector, version, w);
	}
	submit(slot, VIRTIO_BLK_T_OUT);
}

static void flush(struct slot *slot)
{
	for (uint32_t i = 0; i < LOG_SECTORS; i++)
		flushing[i] = log->completed[i];
	slot->count = 0;
	flush_in_flight = true;
	submit(slot, VIRTIO_BLK_T_FLUSH);
}

/* ---- Completions ---- */

static void flushed(void)
{
	for (uint32_t i = 0; i < LOG_SECTORS; i++)
		if (flushing[i] > log->durable[i])
			set(&log->durable[i], flushing[i]);
	flush_in_flight = false;
	log->flushes++;
}

static void written(const struct slot *slot)
{
	for (uint32_t i = slot->sector; i < slot->sector + slot->count; i++) {
		set(&log->completed[i], log->issued[i]);
		if (through)
			set(&log->durable[i], log->issued[i]);
		busy[i] = 0;
	}
	log->sectors += slot->count;
	__atomic_store_n(&log->writes, log->writes + 1, __ATOMIC_RELEASE);
}

static void take(void)
{
	struct slot *slot;
	uint32_t len;
	int id;

	while ((id = virtq_take(&queue, &len)) >= 0) {
		slot = slot_of[id];
		if (*(volatile uint8_t *)&slot->status != VIRTIO_BLK_S_OK)
			end(LOG_FAILED, slot->status);
		if (slot->count)
			written(slot);
		else
			flushed();
		slot->busy = 0;
		under--;
	}
}

/* ---- All of it ---- */

/* A write is judged by what the cache was all the time that it was in flight. */
static void switch_cache(void)
{
	static uint64_t last;
	uintptr_t wce = disk.config + offsetof(struct virtio_blk_config, wce);

	if (!virtio_has(&disk, VIRTIO_BLK_F_CONFIG_WCE) || log->writes - last < SWITCH_EVERY)
		return;
	last = log->writes;
	while (under)
		take();
	through = !through;
	virtio_write8(wce, !through);
	if (virtio_read8(wce) != !through)
		end(LOG_REFUSED, 3);
	log->switches++;
}

static void fill(void)
{
	struct slot *slot;

	for (uint32_t i = 0; i < SLOTS && queue.free >= CHAIN && (slot = free_slot()); i++) {
		if (virtio_has(&disk, VIRTIO_BLK_F_FLUSH) && !flush_in_flight && !some(40))
			flush(slot);
		else
			write_some(slot);
	}
	if (queue.added)
		(void)virtq_publish(&queue);
}

void guest_main(uint64_t unused0, uint64_t unused1, uint64_t unused2)
{
	(void)unused0;
	(void)unused1;
	(void)unused2;
	map_log();
	chance = log->seed | 1;
	open_disk();
	__atomic_store_n(&log->state, (uint32_t)LOG_RUNS, __ATOMIC_RELEASE);
	for (;;) {
		fill();
		take();
		switch_cache();
	}
}
