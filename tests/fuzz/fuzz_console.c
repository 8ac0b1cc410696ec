/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console with a host that takes or holds back, and virtio-rng. */
#include "device.h"

static uint32_t room; /* what the host takes yet */
static struct vdb_chardev *chardev;

static size_t output(void *arg, const void *data, size_t len)
{
	size_t taken = len < room ? len : room;
	volatile uint8_t sum = 0;

	(void)arg;
	for (size_t i = 0; i < taken; i++)
		sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
	room -= (uint32_t)taken;
	return taken;
}

static void on_gone(void *arg)
{
	++*(uint32_t *)arg;
}

static void host(struct device *d, struct fuzz_input *in)
{
	static const char text[4096];
	uint8_t how = fuzz_u8(in);

	if (!chardev)
		return;
	if (how & 1) {
		room += fuzz_u16(in);
		vdb_chardev_writable(chardev);
	}
	if (how & 2)
		fuzz_check(vdb_chardev_input(chardev, text, fuzz_u16(in) % sizeof(text)) <= sizeof(text));
	if (how & 4)
		fuzz_check(vdb_console_resize(d->virtio, fuzz_u8(in), fuzz_u8(in)) == 0);
}

static struct vdb_virtio *make(const struct vdb_virtio_config *at, uint8_t how)
{
	const struct vdb_chardev_config config = {
	        .size = sizeof(config), .output = output, .fifo = how & 2 ? 256 : 0};
	struct vdb_virtio *device;

	chardev = NULL;
	room = 0;
	if (how & 1) {
		fuzz_check(vdb_rng_create(at, &device) == 0);
		return device;
	}
	fuzz_check(vdb_chardev_create(fuzz_loop(), &config, &chardev) == 0);
	fuzz_check(vdb_console_create(at, chardev, &device) == 0);
	return device;
}

static void drop_chardev(void)
{
	uint32_t gone = 0;

	if (!chardev)
		return;
	vdb_chardev_destroy(chardev, on_gone, &gone);
	fuzz_settle();
	fuzz_check(gone == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	const struct vdb_virtio_config at = fuzz_device_at(&in);
	struct vdb_virtio *device = make(&at, fuzz_u8(&in));
	struct device d;

	fuzz_device_open(&d, device, &in);
	for (int i = 0; i < DEVICE_STEPS && fuzz_more(&in); i++) {
		uint8_t kind = fuzz_u8(&in) % 24;

		if (kind >= 16)
			host(&d, &in);
		else
			fuzz_device_step(&d, kind, &in);
	}
	fuzz_device_close(&d);
	drop_chardev();
	return 0;
}
