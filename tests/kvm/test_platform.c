/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* WRAP: calloc ioctl eventfd fcntl */
/* The small parts of a PC: what the guest asks of them arrives, what it probes answers as drivers expect. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "fail.h"
#include "irq_guest.h"
#include "leak.h"

#define ALL                                                                               \
	(VDB_PLATFORM_I8042 | VDB_PLATFORM_RTC | VDB_PLATFORM_PM | VDB_PLATFORM_PVPANIC | \
	 VDB_PLATFORM_DEBUG_EXIT)
#define SCI_VECTOR 0x46u

static struct kvm_fixture f;
static struct vdb_loop *loop;
static struct vdb_platform *platform;

static int make(uint32_t parts, struct vdb_platform **out)
{
	const struct vdb_platform_config config = {.size = sizeof(config), .parts = parts, .loop = loop};

	return vdb_platform_create(f.vm, &config, out);
}

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 2);
	must(vdb_loop_create(NULL, &loop));
	must(make(ALL, &platform));
}

static void teardown(void)
{
	uint32_t stopped = 0;

	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	vdb_platform_destroy(platform);
	must(vdb_loop_destroy(loop));
	kvm_fixture_end(&f);
}

static uint32_t in(uint32_t port, uint32_t len)
{
	uint32_t value = 0;

	ck_assert_int_eq(vdb_bus_read(vdb_vm_pio(f.vm), NULL, port, &value, len), 1);
	return value;
}

static void out(uint32_t port, uint32_t len, uint32_t value)
{
	ck_assert_int_eq(vdb_bus_write(vdb_vm_pio(f.vm), NULL, port, &value, len), 1);
}

/* ---- What reaches the embedder ---- */

GUEST(out8, "mov %edi, %edx\n mov %esi, %eax\n out %al, %dx\n ud2");
GUEST(out16, "mov %edi, %edx\n mov %esi, %eax\n out %ax, %dx\n ud2");
GUEST(out32, "mov %edi, %edx\n mov %esi, %eax\n out %eax, %dx\n ud2");

#define GUEST_OUT(width, port, value) \
	guest_out_by(guest_out##width, (size_t)(guest_out##width##_end - guest_out##width), port, value)

static void guest_out_by(const void *code, size_t bytes, uint32_t port, uint32_t value)
{
	struct vdb_x86_regs regs;

	kvm_fixture_load(&f, 0, code, bytes, port);
	must(vdb_x86_get_regs(f.vcpu[0], &regs));
	regs.rsi = value;
	must(vdb_x86_set_regs(f.vcpu[0], &regs));
	must(vdb_vcpu_run(f.vcpu[0]));
}

static void expect(uint32_t kind, uint64_t data)
{
	ck_assert_msg(f.event.kind == kind, "%u instead of %u: %s", f.event.kind, kind, f.text);
	ck_assert_uint_eq(f.event.data[0], data);
}

START_TEST(reboot_by_the_keyboard_controller)
{
	GUEST_OUT(8, 0x64, 0xfe);
	expect(VDB_EVENT_RESET, 0);
	GUEST_OUT(8, 0x64, 0xff); /* pulses nothing */
	expect(VDB_EVENT_SHUTDOWN, 0);
	GUEST_OUT(8, 0x64, 0xd1);
	expect(VDB_EVENT_SHUTDOWN, 0);
	GUEST_OUT(8, 0x60, 0x02); /* the output port's reset line */
	expect(VDB_EVENT_RESET, 0);
	GUEST_OUT(16, 0x64, 0xfe);
	expect(VDB_EVENT_SHUTDOWN, 0);
}
END_TEST

START_TEST(power_off_and_reset_by_acpi)
{
	GUEST_OUT(16, VDB_PM_CONTROL_PORT, 0x2000 | 5 << 10);
	expect(VDB_EVENT_POWEROFF, 0);
	GUEST_OUT(16, VDB_PM_CONTROL_PORT, 0x2000 | 3 << 10); /* there is no such state */
	expect(VDB_EVENT_SHUTDOWN, 0);
	GUEST_OUT(16, VDB_PM_CONTROL_PORT, 5 << 10);
	expect(VDB_EVENT_SHUTDOWN, 0);
	ck_assert_uint_eq(in(VDB_PM_CONTROL_PORT, 2), 5 << 10 | 1);
	GUEST_OUT(8, VDB_PM_CONTROL_PORT + 1, 0x34);
	expect(VDB_EVENT_POWEROFF, 0);
	GUEST_OUT(8, VDB_PM_RESET_PORT, 2);
	expect(VDB_EVENT_SHUTDOWN, 0);
	GUEST_OUT(8, VDB_PM_RESET_PORT, VDB_PM_RESET_VALUE);
	expect(VDB_EVENT_RESET, 0);
}
END_TEST

START_TEST(panic_and_exit)
{
	ck_assert_uint_eq(in(VDB_PVPANIC_PORT, 1), 3);
	GUEST_OUT(8, VDB_PVPANIC_PORT, 1);
	expect(VDB_EVENT_PANIC, 1);
	GUEST_OUT(8, VDB_PVPANIC_PORT, 2);
	expect(VDB_EVENT_PANIC, 2);
	GUEST_OUT(8, VDB_PVPANIC_PORT, 4);
	expect(VDB_EVENT_SHUTDOWN, 0);
	GUEST_OUT(8, VDB_DEBUG_EXIT_PORT, 0x10);
	expect(VDB_EVENT_EXIT, 0x10);
	GUEST_OUT(32, VDB_DEBUG_EXIT_PORT, 0x20);
	expect(VDB_EVENT_EXIT, 0x20);
	GUEST_OUT(8, VDB_DEBUG_EXIT_PORT + 1, 0x10);
	expect(VDB_EVENT_SHUTDOWN, 0);
}
END_TEST

/* ---- What drivers probe ---- */

static uint32_t command(uint8_t value)
{
	out(0x64, 1, value);
	ck_assert_uint_eq(in(0x64, 1) & 1, 1);
	return in(0x60, 1);
}

START_TEST(the_keyboard_controller_answers_at_once)
{
	ck_assert_uint_eq(in(0x64, 1), 0x14);
	ck_assert_uint_eq(command(0xaa), 0x55);
	ck_assert_uint_eq(in(0x64, 1), 0x1c);
	ck_assert_uint_eq(command(0x20), 0x45);
	out(0x64, 1, 0x60);
	out(0x60, 1, 0x74);
	ck_assert_uint_eq(in(0x64, 1), 0x14);
	ck_assert_uint_eq(command(0x20), 0x74);
	out(0x64, 1, 0xae);
	out(0x64, 1, 0xa8);
	ck_assert_uint_eq(command(0x20), 0x44);
	out(0x64, 1, 0xad);
	out(0x64, 1, 0xa7);
	ck_assert_uint_eq(command(0x20), 0x74);
	/* i8042_check_aux(): looped, but not as a mouse; and its line is stuck. */
	out(0x64, 1, 0xd3);
	out(0x60, 1, 0x5a);
	ck_assert_uint_eq(in(0x64, 1) & 0x21, 0x01);
	ck_assert_uint_eq(in(0x60, 1), 0x5a);
	ck_assert_uint_eq(command(0xa9), 2);
	ck_assert_uint_eq(command(0xab), 2);
	ck_assert_uint_eq(command(0xd0), 3);
	ck_assert_uint_eq(command(0xc0), 0x80);
	/* A keyboard would answer. */
	out(0x60, 1, 0xf2);
	ck_assert_uint_eq(in(0x64, 1) & 1, 0);
	out(0x64, 1, 0xd4);
	out(0x60, 1, 0xff);
	ck_assert_uint_eq(in(0x64, 1) & 1, 0);
}
END_TEST

static uint32_t cmos(uint8_t index)
{
	out(0x70, 1, index);
	return in(0x71, 1);
}

static int from_bcd(uint32_t value)
{
	ck_assert_uint_le(value & 15, 9);
	return (int)(value >> 4) * 10 + (int)(value & 15);
}

static time_t clock_shown(void)
{
	struct tm tm = {
	        .tm_sec = from_bcd(cmos(0)),
	        .tm_min = from_bcd(cmos(2)),
	        .tm_hour = from_bcd(cmos(4)),
	        .tm_mday = from_bcd(cmos(7)),
	        .tm_mon = from_bcd(cmos(8)) - 1,
	        .tm_year = from_bcd(cmos(9)) + 100 * from_bcd(cmos(0x32)) - 1900,
	};
	int weekday = from_bcd(cmos(6)) - 1;
	time_t t = timegm(&tm);

	ck_assert_int_eq(tm.tm_wday, weekday);
	return t;
}

/* Not time(), which lags behind by a tick. */
static time_t host_seconds(void)
{
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &now), 0);
	return now.tv_sec;
}

START_TEST(the_clock_shows_the_hosts_utc)
{
	time_t before, shown, after;

	/* As drivers do: again, if the second changed meanwhile. */
	do {
		before = host_seconds();
		shown = clock_shown();
		after = host_seconds();
	} while (before != after);
	ck_assert_int_eq(shown, before);
	ck_assert_uint_eq(cmos(0x0a) & 0x7f, 0x26);
	ck_assert_uint_eq(cmos(0x0b), 0x02);
	ck_assert_uint_eq(cmos(0x0c), 0);
	ck_assert_uint_eq(cmos(0x0d), 0x80);
	for (unsigned i = 0; i < 1000000 && cmos(0x0a) & 0x80; i++)
		;
	ck_assert_uint_eq(cmos(0x0a) & 0x80, 0);
	/* All 128 can be read, and none be written; the NMI mask is no part of the index. */
	for (unsigned i = 0x0e; i < 0x80; i++) {
		if (i != 0x32)
			ck_assert_uint_eq(cmos((uint8_t)(i | 0x80)), 0);
	}
	out(0x70, 1, 0x0b);
	out(0x71, 1, 0xff);
	ck_assert_uint_eq(cmos(0x0b), 0x02);
}
END_TEST

START_TEST(the_clock_announces_an_update)
{
	const time_t end = host_seconds() + 60;
	uint32_t before, announced;

	do {
		before = cmos(0);
		announced = cmos(0x0a) & 0x80;
	} while (!announced && host_seconds() < end);
	ck_assert(announced);
	while (cmos(0x0a) & 0x80)
		;
	ck_assert_uint_ne(cmos(0), before);
}
END_TEST

START_TEST(the_pm_timer_runs_at_its_rate)
{
	struct timespec then, now;
	uint32_t first = in(VDB_PM_TIMER_PORT, 4), second;
	uint64_t ns;

	(void)clock_gettime(CLOCK_MONOTONIC, &then);
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	second = in(VDB_PM_TIMER_PORT, 4);
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	ns = (uint64_t)(now.tv_sec - then.tv_sec) * 1000000000u + (uint64_t)now.tv_nsec -
	     (uint64_t)then.tv_nsec;
	ck_assert_uint_ge(second - first, 50000000ull * 3579545 / 1000000000 - 1);
	/* The first look was before `then`: by how much, no test can know. */
	ck_assert_uint_le(second - first, ns * 3579545 / 1000000000 + 3579545);
	ck_assert_uint_ge(in(VDB_PM_TIMER_PORT, 4), second);
	out(VDB_PM_TIMER_PORT, 4, 0);
	ck_assert_uint_ge(in(VDB_PM_TIMER_PORT, 4), second);
}
END_TEST

START_TEST(g16_odd_widths_are_nothing)
{
	static const uint16_t ports[] = {0x60, 0x64, 0x70, 0x71, VDB_PVPANIC_PORT};
	uint64_t value;

	for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		for (uint32_t len = 2; len <= 8; len *= 2) {
			value = 0xfefefefefefefefe;
			(void)vdb_bus_write(vdb_vm_pio(f.vm), NULL, ports[i], &value, len);
			(void)vdb_bus_read(vdb_vm_pio(f.vm), NULL, ports[i], &value, len);
		}
	}
	for (uint64_t port = 0x5f8; port < 0x618; port++) {
		for (uint32_t len = 1; len <= 8; len *= 2) {
			value = UINT64_MAX;
			(void)vdb_bus_write(vdb_vm_pio(f.vm), NULL, port, &value, len);
			(void)vdb_bus_read(vdb_vm_pio(f.vm), NULL, port, &value, len);
		}
	}
	ck_assert_uint_eq(in(VDB_PM_EVENT_PORT + 2, 2), 0x0720);
	ck_assert_uint_eq(in(0x64, 1), 0x14);
}
END_TEST

/* ---- The power button ---- */

START_TEST(the_button_interrupts_until_the_guest_has_seen_it)
{
	static const struct irq_guest_pin pin = {VDB_PM_SCI, SCI_VECTOR, true};
	const uint32_t *count = irq_guest_count(&f, 1, SCI_VECTOR);
	const struct timespec soon = {.tv_nsec = 30000000};
	uint32_t before;

	must(vdb_loop_start(loop, -1, NULL));
	irq_guest_start(&f, 1, &pin, 1);
	/* Nobody listens: it is noted. */
	must(vdb_platform_power_button(platform));
	nanosleep(&soon, NULL);
	ck_assert_uint_eq(*count, 0);
	ck_assert_uint_eq(in(VDB_PM_EVENT_PORT, 2), 0x0100);
	out(VDB_PM_EVENT_PORT, 2, 0x0100);
	ck_assert_uint_eq(in(VDB_PM_EVENT_PORT, 2), 0);
	out(VDB_PM_EVENT_PORT + 2, 2, 0xffff);
	ck_assert_uint_eq(in(VDB_PM_EVENT_PORT, 4), 0x07200000);
	must(vdb_platform_power_button(platform));
	wait_for32(count, 5); /* level: again after each EOI */
	out(VDB_PM_EVENT_PORT, 2, 0x0100);
	nanosleep(&soon, NULL);
	before = __atomic_load_n(count, __ATOMIC_ACQUIRE);
	nanosleep(&soon, NULL);
	ck_assert_uint_eq(__atomic_load_n(count, __ATOMIC_ACQUIRE), before);
	/* Disabling silences it, too. */
	must(vdb_platform_power_button(platform));
	wait_for32(count, before + 2);
	out(VDB_PM_EVENT_PORT + 3, 1, 0);
	nanosleep(&soon, NULL);
	before = __atomic_load_n(count, __ATOMIC_ACQUIRE);
	nanosleep(&soon, NULL);
	ck_assert_uint_eq(__atomic_load_n(count, __ATOMIC_ACQUIRE), before);
	must(vdb_loop_join(loop));
}
END_TEST

/* ---- Life ---- */

START_TEST(what_cannot_be_is_refused)
{
	struct vdb_platform *another;
	struct vdb_platform_config config = {.size = sizeof(config), .parts = VDB_PLATFORM_PM};
	int fds;

	must(vdb_loop_step(loop));
	fds = leak_fds();
	for (uint32_t part = 1; part & ALL; part <<= 1)
		ck_assert_int_eq(make(part, &another), -EEXIST);
	ck_assert_int_eq(make(1u << 5, &another), -EINVAL);
	ck_assert_int_eq(vdb_platform_create(f.vm, &config, &another), -EINVAL);
	/* What the loop held of a line that was made and undone goes at its turn. */
	for (unsigned i = 0; i < 4; i++)
		must(vdb_loop_step(loop));
	ck_assert_int_eq(leak_fds(), fds);
	vdb_platform_destroy(platform);
	must(make(ALL & ~VDB_PLATFORM_PM, &platform));
	ck_assert_int_eq(vdb_platform_power_button(platform), -ENOTSUP);
	vdb_platform_destroy(NULL);
}
END_TEST

static int make_and_undo(void *arg)
{
	struct vdb_platform *p;
	int err = make(ALL, &p);

	(void)arg;
	if (!err)
		vdb_platform_destroy(p);
	for (unsigned i = 0; i < 4; i++)
		must(vdb_loop_step(loop));
	return err;
}

START_TEST(a_failure_half_way_leaves_nothing)
{
	vdb_platform_destroy(platform);
	platform = NULL;
	for (unsigned i = 0; i < 4; i++)
		must(vdb_loop_step(loop));
	ck_assert_uint_ge(fail_sweep(make_and_undo, NULL), 10);
}
END_TEST

START_TEST(without_irqchip_the_rest_works)
{
	const struct vdb_vm_config config = {.size = sizeof(config), .irqchip = VDB_IRQCHIP_NONE};

	vdb_platform_destroy(platform);
	kvm_fixture_end(&f);
	kvm_fixture_make(&f, &config, 1);
	must(make(ALL, &platform));
	must(vdb_platform_power_button(platform));
	ck_assert_uint_eq(in(VDB_PM_EVENT_PORT, 2), 0x0100);
	GUEST_OUT(8, VDB_PM_RESET_PORT, VDB_PM_RESET_VALUE);
	expect(VDB_EVENT_RESET, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        reboot_by_the_keyboard_controller,
	        power_off_and_reset_by_acpi,
	        panic_and_exit,
	        the_keyboard_controller_answers_at_once,
	        the_clock_shows_the_hosts_utc,
	        the_clock_announces_an_update,
	        the_pm_timer_runs_at_its_rate,
	        g16_odd_widths_are_nothing,
	        the_button_interrupts_until_the_guest_has_seen_it,
	        what_cannot_be_is_refused,
	        a_failure_half_way_leaves_nothing,
	        without_irqchip_the_rest_works,
	        NULL,
	};

	return kvm_tests_run("platform", setup, teardown, tests);
}
