/* SPDX-License-Identifier: Apache-2.0 */
#include "checks.h"

#include <linux/virtio_blk.h>
#include <stddef.h>

#include "runtime.h"
#include "serial.h"
#include "virtq.h"

#define QUEUE_SIZE 16
#define SECTOR 512
#define ROUNDS 32
#define SPAN (16 * SECTOR) /* bytes of one request */

static uint8_t rings[16384] __attribute__((aligned(4096)));
static uint8_t data[SPAN];
static struct virtq queue;

static void set_up(struct virtio *dev, const struct manner *manner)
{
	uint16_t max;

	if (!virtio_negotiate(dev, manner->features))
		give_up("features were refused");
	max = dev->ops->queue_max(dev, 0);
	virtq_init(&queue, dev, 0, max < QUEUE_SIZE ? max : QUEUE_SIZE, rings);
	if (!virtq_enable(&queue, manner->vector) || !virtio_drive(dev))
		give_up("queue or driver were refused");
	if (manner->polls)
		virtq_disarm(&queue);
}

/* One chain, until it is used; the bytes written to it. */
static uint32_t round_trip(const struct virtq_buffer *buffers, uint16_t n, bool polls)
{
	uint32_t used = 0;

	if (!polls)
		virtq_arm(&queue);
	for (uint64_t seen = guest_irqs; virtq_add(&queue, buffers, n) >= 0;) {
		virtq_publish(&queue);
		while (virtq_take(&queue, &used) < 0) {
			if (polls) {
				guest_pause();
				continue;
			}
			guest_wait(seen);
			seen = guest_irqs;
			queue.dev->ops->interrupt(queue.dev);
			virtq_arm(&queue);
		}
		return used;
	}
	give_up("no room in the queue");
}

/* ---- Block ---- */

static uint8_t block_request(uint32_t type, uint64_t sector, uint32_t bytes, bool polls)
{
	static struct virtio_blk_outhdr head;
	static volatile uint8_t status;
	struct virtq_buffer buffers[3] = {{(uintptr_t)&head, sizeof(head), 0},
	                                  {(uintptr_t)data, bytes, type == VIRTIO_BLK_T_IN},
	                                  {(uintptr_t)&status, 1, 1}};

	head = (struct virtio_blk_outhdr){.type = type, .sector = sector};
	status = 0xff;
	if (!bytes)
		buffers[1] = buffers[2];
	round_trip(buffers, bytes ? 3 : 2, polls);
	return status;
}

static uint8_t pattern(uint64_t sector, uint32_t i)
{
	return (uint8_t)(sector * 31 + i * 7 + i / SECTOR + 1);
}

static void write_all(const struct manner *manner)
{
	for (uint64_t sector = 0; sector < ROUNDS * SPAN / SECTOR; sector += SPAN / SECTOR) {
		for (uint32_t i = 0; i < SPAN; i++)
			data[i] = pattern(sector, i);
		if (block_request(VIRTIO_BLK_T_OUT, sector, SPAN, manner->polls) != VIRTIO_BLK_S_OK)
			give_up("a write failed");
	}
	if (virtio_has(queue.dev, VIRTIO_BLK_F_FLUSH) &&
	    block_request(VIRTIO_BLK_T_FLUSH, 0, 0, manner->polls) != VIRTIO_BLK_S_OK)
		give_up("a flush failed");
}

static void read_all(const struct manner *manner)
{
	for (uint64_t sector = 0; sector < ROUNDS * SPAN / SECTOR; sector += SPAN / SECTOR) {
		for (uint32_t i = 0; i < SPAN; i++)
			data[i] = 0;
		if (block_request(VIRTIO_BLK_T_IN, sector, SPAN, manner->polls) != VIRTIO_BLK_S_OK)
			give_up("a read failed");
		for (uint32_t i = 0; i < SPAN; i++)
			if (data[i] != pattern(sector, i))
				give_up("what was read is not what was written");
	}
}

void check_block(struct virtio *dev, const struct manner *manner)
{
	bool readonly;

	set_up(dev, manner);
	readonly = virtio_has(dev, VIRTIO_BLK_F_RO);
	serial_text("blk: ");
	serial_number(virtio_config64(dev, offsetof(struct virtio_blk_config, capacity)));
	serial_text(" sectors, ");
	serial_text(queue.packed ? "packed, " : "split, ");
	serial_text(manner->polls ? "poll: " : "irq: ");
	if (!readonly)
		write_all(manner);
	else if (block_request(VIRTIO_BLK_T_OUT, 0, SECTOR, manner->polls) != VIRTIO_BLK_S_IOERR)
		give_up("a write to a read-only disk did not fail");
	read_all(manner);
	serial_text(readonly ? "read, verified\r\n" : "written, read, verified\r\n");
	virtio_reset(dev);
}

/* ---- Random numbers ---- */

void check_rng(struct virtio *dev, const struct manner *manner)
{
	uint8_t same = 0, zero = 0, before[16];
	struct virtq_buffer buffer = {(uintptr_t)data, sizeof(before), 1};

	set_up(dev, manner);
	for (int round = 0; round < 2; round++) {
		if (round_trip(&buffer, 1, manner->polls) != sizeof(before))
			give_up("rng: not as much as was asked for");
		for (unsigned i = 0; i < sizeof(before); i++) {
			same = (uint8_t)(same + (round && before[i] == data[i]));
			zero = (uint8_t)(zero + !data[i]);
			before[i] = data[i];
		}
	}
	if (same == sizeof(before) || zero == 2 * sizeof(before))
		give_up("rng: this is not random");
	serial_text("rng: bytes differ\r\n");
	virtio_reset(dev);
}
