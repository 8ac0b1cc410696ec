/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device's saved state: one is driven, stopped and saved, bytes of the state are changed, and a fresh one
 * takes it or refuses it. Which was refused is as fresh as before; which took it goes on.
 */
#include "device.h"

#define MOST 4096u

static uint8_t disk[64 * 512];

static size_t take_all(void *arg, const void *data, size_t len)
{
	(void)arg, (void)data;
	return len;
}

/* One of each kind, whose parts are made once. */
static struct vdb_virtio *make(const struct vdb_virtio_config *at, uint8_t kind)
{
	static struct vdb_backend *backend;
	static struct vdb_chardev *chardev;
	const struct vdb_chardev_config output = {.size = sizeof(output), .output = take_all};
	struct vdb_blk_config blk = {.size = sizeof(blk), .at = at, .queues = 2, .serial = "fuzz"};
	const struct vdb_balloon_config balloon = {
	        .size = sizeof(balloon), .at = at, .flags = VDB_BALLOON_REPORTING, .target = 4096};
	struct vdb_virtio *device = NULL;

	if (!backend) {
		fuzz_check(vdb_backend_memory(disk, sizeof(disk), &backend) == 0);
		fuzz_check(vdb_chardev_create(fuzz_loop(), &output, &chardev) == 0);
	}
	blk.backend = backend;
	switch (kind % 4) {
	case 0:
		fuzz_check(vdb_blk_create(&blk, &device) == 0);
		break;
	case 1:
		fuzz_check(vdb_console_create(at, chardev, &device) == 0);
		break;
	case 2:
		fuzz_check(vdb_balloon_create(&balloon, &device) == 0);
		break;
	default:
		fuzz_check(vdb_rng_create(at, &device) == 0);
	}
	return device;
}

static size_t change(uint8_t *state, size_t len, struct fuzz_input *in)
{
	uint8_t patches = fuzz_u8(in) % 8;

	for (; patches; patches--) {
		uint8_t how = fuzz_u8(in);
		size_t at = (how & 0x40 ? fuzz_u16(in) : fuzz_u8(in)) % len, width = 1u << (how & 3);
		uint64_t value = how & 4 ? fuzz_u64(in) : fuzz_u8(in);

		if (how >= 0xf8)
			return at;
		if (how & 8)
			value = 0 - value;
		if (width <= len - at)
			memcpy(state + at, &value, width);
	}
	return len;
}

static void go_on(struct device *d, const struct vdb_virtio_config *at, uint8_t kind, const void *bytes,
                  size_t len, struct fuzz_input *in)
{
	/* In memory of its own, so that a read beyond the end is seen. */
	uint8_t *state = malloc(len ? len : 1);
	struct vdb_virtio *device = make(at, kind);
	int rc;

	fuzz_check(state);
	memcpy(state, bytes, len);
	rc = vdb_virtio_restore(device, state, len);
	free(state);
	fuzz_check(!rc || !vdb__virtio_status(device));
	fuzz_device_adopt(d, device);
	fuzz_check(rc || vdb_virtio_resume(device) == 0);
	for (int i = 0; i < DEVICE_STEPS / 2 && fuzz_more(in); i++)
		fuzz_device_step(d, fuzz_u8(in) % 16, in);
	fuzz_settle();
	fuzz_device_close(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	const struct vdb_virtio_config at = fuzz_device_at(&in);
	uint8_t kind = fuzz_u8(&in), steps = fuzz_u8(&in) % 16;
	static uint8_t state[MOST];
	struct device d;
	size_t len;

	fuzz_device_open(&d, make(&at, kind), &in);
	for (int i = 0; i < steps && fuzz_more(&in); i++)
		fuzz_device_step(&d, fuzz_u8(&in) % 16, &in);
	len = fuzz_device_save(&d, state, sizeof(state));
	fuzz_device_close(&d);
	len = change(state, len, &in);
	go_on(&d, &at, kind, state, len, &in);
	return 0;
}
