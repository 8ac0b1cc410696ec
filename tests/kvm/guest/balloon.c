/* SPDX-License-Identifier: Apache-2.0 */
/* Finds virtio-balloon behind mmio registers at arg0, and does what balloon_abi.h says. */
#include <linux/virtio_balloon.h>
#include <stddef.h>

#include "balloon_abi.h"
#include "runtime.h"
#include "virtio_mmio.h"
#include "virtq.h"

#define PAGE 4096u
#define CONFIG(field) offsetof(struct virtio_balloon_config, field)

enum { INFLATE, DEFLATE, STATS, REPORT = 4 };

static struct balloon_params *const params = (struct balloon_params *)BALLOON_PARAMS;
static uint32_t *const list = (uint32_t *)BALLOON_LIST;
static struct virtq queues[5];

_Noreturn static void end(uint32_t status)
{
	guest_out32(BALLOON_PORT, status);
	__asm__ __volatile__("ud2");
	__builtin_unreachable();
}

static void set_up(struct virtio *dev, uint16_t index)
{
	virtq_init(&queues[index], dev, index, 64, (void *)(uintptr_t)(BALLOON_RINGS + index * BALLOON_RING));
	virtq_disarm(&queues[index]);
	if (!virtq_enable(&queues[index], VIRTIO_NO_VECTOR))
		end(BALLOON_REFUSED);
}

static void open(struct virtio *dev)
{
	if (dev->id != 5)
		end(BALLOON_NOT_FOUND);
	if (!virtio_negotiate(dev, params->features))
		end(BALLOON_REFUSED);
	params->negotiated = dev->features;
	for (uint16_t i = INFLATE; i <= STATS; i++)
		set_up(dev, i);
	set_up(dev, REPORT);
	if (!virtio_drive(dev))
		end(BALLOON_REFUSED);
}

static void send(uint16_t index, const struct virtq_buffer *buffers, uint16_t n)
{
	struct virtq *queue = &queues[index];
	uint32_t len = 1;

	if (virtq_add(queue, buffers, n) < 0)
		end(BALLOON_NO_ROOM);
	virtq_publish(queue);
	while (virtq_take(queue, &len) < 0)
		guest_pause();
	if (len)
		end(BALLOON_USED_WRONG);
}

static volatile uint64_t *word(uint64_t page)
{
	return (volatile uint64_t *)(uintptr_t)((params->page + page) * PAGE);
}

static uint64_t mark(uint64_t page)
{
	return page * 0x9e3779b97f4a7c15ull + 1;
}

static void fill(void)
{
	for (uint64_t i = 0; i < params->pages; i++)
		*word(i) = mark(i);
}

static void check(uint64_t from, uint64_t to, bool zero)
{
	for (uint64_t i = from; i < to; i++) {
		params->wrong = (uint32_t)i;
		if (*word(i) != (zero ? 0 : mark(i)))
			end(zero ? BALLOON_NOT_ZERO : BALLOON_LOST);
	}
}

/* Every other list from its end, as an allocator may well give pages. */
static void send_pages(uint16_t queue, uint64_t from, uint64_t to)
{
	for (bool down = false; from < to; down = !down) {
		uint32_t n = to - from < BALLOON_LIST_MAX ? (uint32_t)(to - from) : BALLOON_LIST_MAX;
		const struct virtq_buffer buffer = {(uintptr_t)list, n * 4, 0};

		for (uint32_t i = 0; i < n; i++)
			list[i] = (uint32_t)(params->page + from + (down ? n - 1 - i : i));
		send(queue, &buffer, 1);
		from += n;
	}
}

static void give(const struct virtio *dev)
{
	uint32_t target, back;

	while (!(target = virtio_read32(dev->config + CONFIG(num_pages))))
		guest_pause();
	params->target = target;
	back = target - target / 4;
	send_pages(INFLATE, 0, target);
	virtio_write32(dev->config + CONFIG(actual), target);
	send_pages(DEFLATE, back, target);
	virtio_write32(dev->config + CONFIG(actual), back);
	check(back, target, true);
	check(target, params->pages, false);
}

static void report(void)
{
	const uint64_t half = params->pages / 2;
	const struct virtq_buffer buffers[2] = {
	        {(params->page + half) * PAGE, (uint32_t)(half / 2 * PAGE), 1},
	        {(params->page + half + half / 2 + 1) * PAGE, (uint32_t)((half / 2 - 1) * PAGE), 1},
	};

	send(REPORT, buffers, 2);
	check(half + half / 2, half + half / 2 + 1, false);
	*word(half) = mark(half);
	check(half, half + 1, false);
	check(half + 1, half + 10, true);
}

static void tell(void)
{
	struct virtio_balloon_stat *stats = (void *)list;
	const struct virtq_buffer buffer = {(uintptr_t)list, 2 * sizeof(*stats), 0};

	for (uint32_t round = 1; round <= BALLOON_ROUNDS; round++) {
		stats[0] = (struct virtio_balloon_stat){VIRTIO_BALLOON_S_MEMTOT, params->pages * PAGE};
		stats[1] = (struct virtio_balloon_stat){VIRTIO_BALLOON_S_AVAIL, round};
		send(STATS, &buffer, 1);
	}
}

_Noreturn void guest_main(uint64_t base, uint64_t unused1, uint64_t unused2)
{
	struct virtio dev;

	(void)unused1;
	(void)unused2;
	if (!virtio_mmio_find(&dev, base))
		end(BALLOON_NOT_FOUND);
	fill();
	open(&dev);
	give(&dev);
	report();
	tell();
	virtio_reset(&dev);
	end(BALLOON_OK);
}
