/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: calloc malloc realloc eventfd ioctl */
/* The mmio registers as a hostile guest uses them (HOSTILE G7, G16..G18), and transports that cannot be made.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fail.h"
#include "leak.h"
#include "mmio_machine.h"
#include "virtio/device.h"

int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_ioctl(int fd, unsigned long request, ...);

/* What fails on the way in; the way out does not. */
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	const struct kvm_ioeventfd *bell;
	const struct kvm_irqfd *irq;
	va_list args;
	void *arg;
	bool out;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	bell = request == KVM_IOEVENTFD ? arg : NULL;
	irq = request == KVM_IRQFD ? arg : NULL;
	out = (bell && bell->flags & KVM_IOEVENTFD_FLAG_DEASSIGN) ||
	      (irq && irq->flags & KVM_IRQFD_FLAG_DEASSIGN);
	if (!out && fail_now("ioctl")) {
		errno = ENOSPC;
		return -1;
	}
	return __real_ioctl(fd, request, arg);
}

static struct mmio_machine m;

static void setup(void)
{
	mmio_machine_open(&m, 2);
}

static void teardown(void)
{
	mmio_machine_close(&m);
}

static uint64_t read_at(uint64_t offset, uint32_t len)
{
	uint64_t value = 0;

	ck_assert_int_eq(vdb_bus_read(vdb_vm_mmio(m.f.vm), NULL, MACHINE_MMIO + offset, &value, len), 1);
	return value;
}

static void write_at(uint64_t offset, uint64_t value, uint32_t len)
{
	ck_assert_int_eq(vdb_bus_write(vdb_vm_mmio(m.f.vm), NULL, MACHINE_MMIO + offset, &value, len), 1);
}

static uint32_t get(uint64_t offset)
{
	return (uint32_t)read_at(offset, 4);
}

static void set(uint64_t offset, uint32_t value)
{
	write_at(offset, value, 4);
}

static void negotiate(void)
{
	set(VIRTIO_MMIO_STATUS, 0);
	set(VIRTIO_MMIO_STATUS, 1);
	set(VIRTIO_MMIO_STATUS, 3);
	set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	set(VIRTIO_MMIO_DRIVER_FEATURES, 1 | 1u << 8); /* VERSION_1, RING_RESET */
	set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	set(VIRTIO_MMIO_DRIVER_FEATURES, 0);
	set(VIRTIO_MMIO_STATUS, 0xb);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0xb);
}

START_TEST(who_it_is)
{
	ck_assert_uint_eq(get(VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	ck_assert_uint_eq(get(VIRTIO_MMIO_VERSION), 2);
	ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ECHO);
	ck_assert_uint_ne(get(VIRTIO_MMIO_VENDOR_ID), 0);
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_FEATURES) & 1, 1);
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, UINT32_MAX);
	ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_FEATURES), 0);
}
END_TEST

START_TEST(there_is_no_shared_memory)
{
	for (uint32_t id = 0; id < 300; id += 51) {
		set(VIRTIO_MMIO_SHM_SEL, id);
		ck_assert_uint_eq(get(VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
		ck_assert_uint_eq(get(VIRTIO_MMIO_SHM_LEN_HIGH), UINT32_MAX);
		ck_assert_uint_eq(get(VIRTIO_MMIO_SHM_BASE_LOW), UINT32_MAX);
		ck_assert_uint_eq(get(VIRTIO_MMIO_SHM_BASE_HIGH), UINT32_MAX);
	}
}
END_TEST

START_TEST(g16_other_widths_of_a_register_are_nothing)
{
	static const uint32_t widths[] = {1, 2, 8};

	negotiate();
	for (unsigned i = 0; i < 3; i++) {
		for (uint64_t offset = 0; offset < VIRTIO_MMIO_CONFIG; offset += widths[i]) {
			ck_assert_uint_eq(read_at(offset, widths[i]), 0);
			write_at(offset, 0, widths[i]);
			write_at(offset, UINT64_MAX, widths[i]);
		}
	}
	for (uint64_t offset = 1; offset + 4 <= VIRTIO_MMIO_CONFIG; offset++) {
		if (offset % 4 == 0)
			continue;
		ck_assert_uint_eq(read_at(offset, 4), 0);
		write_at(offset, 0, 4);
	}
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0xb);
}
END_TEST

/* Behind the registers, this device has no configuration. */
START_TEST(g17_no_configuration_is_nothing)
{
	for (uint64_t offset = VIRTIO_MMIO_CONFIG; offset + 8 <= VDB_VIRTIO_MMIO_BYTES; offset += 8) {
		ck_assert_uint_eq(read_at(offset, 8), 0);
		write_at(offset, UINT64_MAX, 8);
	}
	ck_assert_uint_eq(read_at(VDB_VIRTIO_MMIO_BYTES - 1, 1), 0);
}
END_TEST

START_TEST(g7_g15_registers_of_queues_that_are_not_there)
{
	static const uint32_t queues[] = {2, 64, 65535, 65536, UINT32_MAX};

	negotiate();
	for (unsigned i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		set(VIRTIO_MMIO_QUEUE_SEL, queues[i]);
		ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		for (uint64_t offset = VIRTIO_MMIO_QUEUE_NUM; offset < VIRTIO_MMIO_CONFIG; offset += 4) {
			if (offset != VIRTIO_MMIO_STATUS)
				set(offset, 1);
		}
		ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
		ck_assert_uint_eq(get(0x0c0), 0);
		set(VIRTIO_MMIO_QUEUE_NOTIFY, queues[i]);
	}
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 256);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0xb);
}
END_TEST

static void place(uint32_t size)
{
	set(VIRTIO_MMIO_QUEUE_NUM, size);
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, GUEST_DATA);
	set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, GUEST_DATA + 0x1000);
	set(VIRTIO_MMIO_QUEUE_USED_LOW, GUEST_DATA + 0x2000);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
}

START_TEST(g1_sizes_are_not_cut)
{
	static const uint32_t bad[] = {0, 3, 512, 0x10010, 0x80000010, UINT32_MAX};

	negotiate();
	set(VIRTIO_MMIO_QUEUE_SEL, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		place(bad[i]);
		ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
	}
	place(16);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	set(VIRTIO_MMIO_QUEUE_READY, 2);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
}
END_TEST

START_TEST(a_status_is_not_cut)
{
	negotiate();
	set(VIRTIO_MMIO_STATUS, 0x100);
	set(VIRTIO_MMIO_STATUS, 0xffffff00);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0xb);
	set(VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0);
}
END_TEST

START_TEST(a_queue_is_reset_by_its_register)
{
	negotiate();
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	place(16);
	set(VIRTIO_MMIO_STATUS, 0xf);
	set(0x0c0, 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	set(0x0c0, 1);
	ck_assert_uint_eq(get(0x0c0), 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0xf);
	place(8);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
}
END_TEST

/* The interrupt's causes: set by the device, cleared by the driver, forgotten by a reset. */
START_TEST(causes_and_acknowledgements)
{
	negotiate();
	set(VIRTIO_MMIO_STATUS, 0xf);
	vdb_virtio_config_changed(m.device);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 2);
	set(VIRTIO_MMIO_INTERRUPT_ACK, 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 2);
	set(VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	vdb_virtio_config_changed(m.device);
	set(VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}
END_TEST

/* Every register gets words of all kinds, in any order: the device answers, and works afterwards. */
START_TEST(g18_random_words_in_every_register)
{
	static const uint32_t words[] = {0, 1, 2, 3, 0xb, 0xf, 0x40, 0x80, 0x1000, GUEST_DATA, UINT32_MAX};
	unsigned seed = 4711;

	for (int i = 0; i < 100000; i++) {
		uint64_t offset = (unsigned)rand_r(&seed) % (VIRTIO_MMIO_CONFIG / 4) * 4;
		uint32_t word = words[(unsigned)rand_r(&seed) % (sizeof(words) / sizeof(words[0]))];

		(void)get(offset);
		set(offset, word);
		if (i % 100 == 0)
			negotiate();
	}
	negotiate();
	set(VIRTIO_MMIO_STATUS, 0xf);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0xf);
}
END_TEST

static struct vdb_virtio *spare;
static uint32_t spare_gone;

static int make(const struct vdb_virtio_mmio_config *config)
{
	struct vdb_virtio_mmio *mmio = NULL;
	int rc = vdb_virtio_mmio_create(m.f.vm, spare, config, &mmio);

	if (rc)
		fail_check(!mmio);
	vdb_virtio_mmio_destroy(mmio);
	return rc;
}

static int make_good(void *arg)
{
	const struct vdb_virtio_mmio_config config = {
	        .size = sizeof(config), .gsi = 6, .base = MACHINE_MMIO + 0x2000};

	(void)arg;
	return make(&config);
}

START_TEST(transports_that_cannot_be)
{
	struct vdb_virtio_mmio_config config = {.size = sizeof(config), .gsi = 6, .base = MACHINE_MMIO};
	struct vdb_virtio_mmio *mmio = NULL;

	spare = virtio_echo_device(&m.echo, m.f.mem, m.loop, 2);
	ck_assert_int_eq(make(&config), -EEXIST);
	config.base = MACHINE_MMIO + 0x800;
	ck_assert_int_eq(make(&config), -EINVAL);
	config.base = GUEST_DATA;
	ck_assert_int_lt(make(&config), 0);
	config.base = MACHINE_MMIO + 0x2000;
	config.gsi = 4000;
	ck_assert_int_eq(make(&config), -EINVAL);
	config.gsi = 6;
	ck_assert_int_eq(vdb_virtio_mmio_create(m.f.vm, m.device, &config, &mmio), -EBUSY);
	ck_assert_int_eq(vdb_virtio_mmio_create(m.f.vm, NULL, &config, &mmio), -EINVAL);
	ck_assert_int_eq(vdb_virtio_mmio_create(NULL, spare, &config, &mmio), -EINVAL);
	ck_assert_int_eq(make(&config), 0);
	vdb_virtio_destroy(spare, count_done, &spare_gone);
	m.echo.destroyed--;
}
END_TEST

START_TEST(a_transport_on_a_failing_host)
{
	spare = virtio_echo_device(&m.echo, m.f.mem, m.loop, 2);
	fail_check(fail_sweep(make_good, NULL) >= 6);
	vdb_virtio_destroy(spare, count_done, &spare_gone);
	m.echo.destroyed--;
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        who_it_is,
	        there_is_no_shared_memory,
	        g16_other_widths_of_a_register_are_nothing,
	        g17_no_configuration_is_nothing,
	        g7_g15_registers_of_queues_that_are_not_there,
	        g1_sizes_are_not_cut,
	        a_status_is_not_cut,
	        a_queue_is_reset_by_its_register,
	        causes_and_acknowledgements,
	        g18_random_words_in_every_register,
	        transports_that_cannot_be,
	        a_transport_on_a_failing_host,
	        NULL,
	};

	return kvm_tests_run("virtio_mmio_registers", setup, teardown, tests);
}
