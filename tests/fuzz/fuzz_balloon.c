/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-balloon: lists of pages, statistics and reports, of memory that may be discarded and of all else. */
#include <linux/virtio_balloon.h>

#include "device.h"

#define PAGES DEVICE_DATA
#define FIRST (FUZZ_LOW / VDB_PAGE_SIZE)

static void list(struct device *d, uint32_t queue, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t n = 1 + (how >> 3), pages[32];
	struct device_buf bufs[2];

	for (uint32_t i = 0; i < n; i++)
		pages[i] = how & 1 ? fuzz_u32(in) : FIRST - 1 + fuzz_u8(in) % 6u;
	fuzz_ram_put(PAGES, pages, n * 4);
	bufs[0] = (struct device_buf){PAGES, 4 * n - (how & 2 ? fuzz_u8(in) % 4 : 0), false};
	bufs[1] = (struct device_buf){PAGES, 4, how & 1};
	fuzz_device_chain(d, queue, bufs, how & 4 ? 2 : 1);
}

static void statistics(struct device *d, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t n = how & 15;
	struct virtio_balloon_stat stat;
	const struct device_buf buf = {PAGES, (uint32_t)sizeof(stat) * n + (how & 0x10), !!(how & 0x20)};

	for (uint32_t i = 0; i < n; i++) {
		stat.tag = how & 0x40 ? fuzz_u16(in) : fuzz_u8(in) % 20u;
		stat.val = fuzz_u8(in);
		fuzz_ram_put(PAGES + i * (uint32_t)sizeof(stat), &stat, sizeof(stat));
	}
	fuzz_device_chain(d, 2, &buf, 1);
}

static void report(struct device *d, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t n = 1 + how % 4u;
	struct device_buf bufs[4];

	for (uint32_t i = 0; i < n; i++) {
		bufs[i].gpa = how & 8 ? fuzz_gpa(in) : FUZZ_LOW + VDB_PAGE_SIZE * (fuzz_u8(in) % 5u);
		bufs[i].len = how & 0x10 ? fuzz_len(in) : VDB_PAGE_SIZE;
		bufs[i].write = !(how & 0x20);
	}
	fuzz_device_chain(d, d->queues - 1, bufs, n);
}

static void step(struct device *d, uint8_t kind, struct fuzz_input *in)
{
	switch (kind < 16 ? 0xff : kind % 8) {
	case 0:
	case 1:
		list(d, 0, in);
		break;
	case 2:
		list(d, 1, in);
		break;
	case 3:
		statistics(d, in);
		break;
	case 4:
		report(d, in);
		break;
	case 5:
		fuzz_check(vdb_balloon_target(d->virtio, VDB_PAGE_SIZE * (uint64_t)fuzz_u8(in)) == 0);
		break;
	case 6:
		(void)!vdb_balloon_ask(d->virtio);
		break;
	case 7:
		fuzz_check(vdb_balloon_poll(d->virtio, fuzz_u8(in) & 1 ? 1000 : 0) == 0);
		break;
	default:
		fuzz_device_step(d, kind, in);
	}
}

static void updated(void *arg)
{
	++*(uint32_t *)arg;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	const struct vdb_virtio_config at = fuzz_device_at(&in);
	uint32_t updates = 0;
	const struct vdb_balloon_config config = {
	        .size = sizeof(config),
	        .at = &at,
	        .flags = fuzz_u8(&in) &
	                 (VDB_BALLOON_REPORTING | VDB_BALLOON_DEFLATE_ON_OOM | VDB_BALLOON_MUST_TELL),
	        .updated = updated,
	        .arg = &updates,
	};
	struct vdb_balloon_info info = {.size = sizeof(info)};
	struct vdb_balloon_stats stats = {.size = sizeof(stats)};
	struct vdb_virtio *balloon;
	struct device d;

	fuzz_check(vdb_balloon_create(&config, &balloon) == 0);
	fuzz_device_open(&d, balloon, &in);
	for (int i = 0; i < DEVICE_STEPS && fuzz_more(&in); i++)
		step(&d, fuzz_u8(&in) % 32, &in);
	fuzz_settle();
	fuzz_check(vdb_balloon_query(balloon, &info) == 0 && vdb_balloon_stats(balloon, &stats) == 0);
	fuzz_check(info.discarded + info.kept <= info.inflated + info.reported);
	fuzz_device_close(&d);
	return 0;
}
