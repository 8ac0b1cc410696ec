/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk: requests of every type and shape in front of memory of a few sectors. */
#include <linux/virtio_blk.h>

#include "device.h"

#define HEADER DEVICE_DATA
#define STATUS (DEVICE_DATA + 0x40u)
#define RANGES (DEVICE_DATA + 0x80u)
#define DATA (DEVICE_DATA + 0x200u)
#define SECTORS 64u

static uint8_t disk[SECTORS * 512];

static uint32_t type_of(struct fuzz_input *in)
{
	static const uint8_t types[] = {VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,     VIRTIO_BLK_T_FLUSH,
	                                VIRTIO_BLK_T_GET_ID,  VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
	                                VIRTIO_BLK_T_SCSI_CMD};
	uint8_t type = fuzz_u8(in);

	return type < 0xf0 ? types[type % sizeof(types)] : fuzz_u32(in);
}

static void put_header(struct fuzz_input *in, uint32_t type, uint8_t how)
{
	const struct virtio_blk_outhdr header = {
	        .type = type, .sector = how & 1 ? fuzz_u64(in) : fuzz_u8(in) % (SECTORS + 2)};

	fuzz_ram_put(HEADER, &header, sizeof(header));
}

static void put_ranges(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct virtio_blk_discard_write_zeroes range = {.sector = how & 1 ? fuzz_u64(in) : fuzz_u8(in) % 66,
	                                                .num_sectors =
	                                                        how & 2 ? fuzz_u32(in) : fuzz_u8(in) % 66,
	                                                .flags = how >> 4};

	fuzz_ram_put(RANGES + 16u * (how >> 2 & 3), &range, sizeof(range));
}

/* Header, data in pieces, status; cut otherwise if the program wants it. */
static void request(struct device *d, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), pieces = fuzz_u8(in) % 5;
	uint32_t type = type_of(in), n = 0;
	bool ranges = type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
	bool in_data = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	uint32_t cut = how & 2 ? fuzz_u8(in) % 17 : 16;
	struct device_buf bufs[8];

	put_header(in, type, how);
	bufs[n++] = (struct device_buf){HEADER, cut, false};
	if (cut < 16 && how & 4)
		bufs[n++] = (struct device_buf){HEADER + cut, 16 - cut, false};
	if (ranges) {
		put_ranges(in);
		bufs[n++] = (struct device_buf){RANGES, how & 8 ? fuzz_len(in) : 16u * (1 + pieces), false};
	}
	for (uint32_t i = 0; i < pieces && !ranges; i++) {
		uint32_t len = how & 0x10 ? fuzz_len(in) : 512u * (fuzz_u8(in) % 4u);

		bufs[n++] = (struct device_buf){how & 0x20 ? fuzz_gpa(in) : DATA + 0x800u * i, len, in_data};
	}
	bufs[n++] =
	        (struct device_buf){how & 0x40 ? fuzz_gpa(in) : STATUS, how & 0x80 ? fuzz_u8(in) : 1, true};
	fuzz_device_chain(d, how % d->queues, bufs, n);
}

static struct vdb_backend *backend(void)
{
	static struct vdb_backend *memory;

	if (!memory)
		fuzz_check(vdb_backend_memory(disk, sizeof(disk), &memory) == 0);
	fuzz_check(vdb_backend_resize(memory, sizeof(disk)) == 0);
	return memory;
}

static void step(struct device *d, uint8_t kind, struct fuzz_input *in)
{
	if (kind >= 16) {
		request(d, in);
	} else if (kind == 15) {
		fuzz_check(vdb_backend_resize(backend(), 512u * (1 + fuzz_u8(in) % SECTORS)) == 0);
		fuzz_check(vdb_blk_resized(d->virtio) == 0);
	} else {
		fuzz_device_step(d, kind, in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	const struct vdb_virtio_config at = fuzz_device_at(&in);
	uint8_t how = fuzz_u8(&in);
	struct vdb_blk_config config = {
	        .size = sizeof(config),
	        .at = &at,
	        .backend = backend(),
	        .serial = "fuzz",
	        .queues = 1 + (how & 1),
	        .max_segments = how & 2 ? 2 : 0,
	        .write_through = how >> 2 & 1,
	};
	struct vdb_virtio *blk;
	struct device d;

	fuzz_check(vdb_blk_create(&config, &blk) == 0);
	fuzz_device_open(&d, blk, &in);
	for (int i = 0; i < DEVICE_STEPS && fuzz_more(&in); i++)
		step(&d, fuzz_u8(&in) % 32, &in);
	fuzz_settle();
	fuzz_device_close(&d);
	return 0;
}
