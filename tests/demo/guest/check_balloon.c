/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon: follows the target until it has given as much as it was told to, and gives statistics once. */
#include <linux/virtio_balloon.h>
#include <stddef.h>

#include "checks.h"
#include "runtime.h"
#include "serial.h"
#include "virtq.h"

#define FIRST 0x4000u /* page number: 64 MiB, where nothing else is */
#define LIST 256u
#define SIZE 16u
#define CONFIG(field) offsetof(struct virtio_balloon_config, field)

enum { INFLATE, DEFLATE, STATS, QUEUES };

static uint8_t rings[QUEUES][4096] __attribute__((aligned(4096)));
static struct virtq queues[QUEUES];
static uint32_t list[LIST];
static struct virtio_balloon_stat stats[2];

static void set_up(struct virtio *dev, const struct manner *manner)
{
	const uint64_t ring = VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX);

	if (!virtio_negotiate(dev, VIRTIO_BIT(VIRTIO_BALLOON_F_STATS_VQ) | (manner->features & ring)))
		give_up("balloon: features were refused");
	for (uint16_t i = 0; i < QUEUES; i++) {
		virtq_init(&queues[i], dev, i, SIZE, rings[i]);
		virtq_disarm(&queues[i]);
		if (!virtq_enable(&queues[i], VIRTIO_NO_VECTOR))
			give_up("balloon: a queue was refused");
	}
	if (!virtio_drive(dev))
		give_up("balloon: the driver was refused");
}

static void tell(uint32_t target)
{
	const struct virtq_buffer buffer = {(uintptr_t)stats, sizeof(stats), 0};

	stats[0] = (struct virtio_balloon_stat){VIRTIO_BALLOON_S_MEMTOT, 0x1000000};
	stats[1] = (struct virtio_balloon_stat){VIRTIO_BALLOON_S_AVAIL, (uint64_t)target * 4096};
	if (virtq_add(&queues[STATS], &buffer, 1) < 0)
		give_up("balloon: no room for statistics");
	virtq_publish(&queues[STATS]);
}

/* From the end down, as Linux's allocator often does. */
static void send(uint16_t queue, uint32_t first, uint32_t n)
{
	const struct virtq_buffer buffer = {(uintptr_t)list, n * (uint32_t)sizeof(list[0]), 0};
	uint32_t used;

	for (uint32_t i = 0; i < n; i++)
		list[i] = FIRST + first + n - 1 - i;
	if (virtq_add(&queues[queue], &buffer, 1) < 0)
		give_up("balloon: no room");
	virtq_publish(&queues[queue]);
	while (virtq_take(&queues[queue], &used) < 0)
		guest_pause();
}

static uint32_t step(uint32_t n)
{
	return n < LIST ? n : LIST;
}

static volatile uint64_t *word(uint32_t page)
{
	return (volatile uint64_t *)((uintptr_t)(FIRST + page) * 4096);
}

static void follow(const struct virtio *dev, uint32_t *given, uint32_t target)
{
	while (*given < target) {
		uint32_t n = step(target - *given);

		for (uint32_t i = 0; i < n; i++)
			*word(*given + i) = 0xdead;
		send(INFLATE, *given, n);
		*given += n;
	}
	while (*given > target) {
		uint32_t n = step(*given - target);

		send(DEFLATE, *given - n, n);
		*given -= n;
		for (uint32_t i = 0; i < n; i++)
			if (*word(*given + i))
				give_up("balloon: a page has come back with what it had");
	}
	virtio_write32(dev->config + CONFIG(actual), *given);
}

void check_balloon(struct virtio *dev, const struct manner *manner)
{
	uint32_t given = 0, target, used;

	set_up(dev, manner);
	tell(manner->balloon);
	do {
		target = virtio_read32(dev->config + CONFIG(num_pages));
		if (target == given && given != manner->balloon) {
			guest_pause();
			continue;
		}
		follow(dev, &given, target);
		serial_text("balloon: ");
		serial_number(given);
		serial_text(queues[INFLATE].packed ? " pages given, packed\r\n" : " pages given, split\r\n");
	} while (given != manner->balloon);
	while (manner->asked && virtq_take(&queues[STATS], &used) < 0)
		guest_pause();
}
