/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* WRAP: calloc ioctl eventfd */
/* The 16550A as Linux's driver finds and uses it: registers on the bus, its interrupt in a guest. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "fail.h"
#include "irq_guest.h"
#include "leak.h"

#define COM1 0x3f8u
#define VECTOR 0x45u

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct kvm_fixture f;
static struct vdb_loop *loop;
static struct vdb_chardev *chardev;
static struct vdb_serial *serial;

/* What the guest wrote; takes no more than `room`. */
static struct {
	pthread_mutex_t lock;
	char text[4096];
	size_t len, room;
} sink = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t output(void *arg, const void *data, size_t len)
{
	(void)arg;
	pthread_mutex_lock(&sink.lock);
	if (len > sink.room)
		len = sink.room;
	sink.room -= len;
	memcpy(sink.text + sink.len, data, len);
	__atomic_store_n(&sink.len, sink.len + len, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&sink.lock);
	return len;
}

static void make(uint32_t fifo)
{
	const struct vdb_loop_config loop_config = test_loop_config();
	const struct vdb_chardev_config config = {.size = sizeof(config), .fifo = fifo, .output = output};
	struct vdb_serial_config serial_config = {.size = sizeof(serial_config)};

	kvm_fixture_make(&f, NULL, 2);
	must(vdb_loop_create(&loop_config, &loop));
	must(vdb_chardev_create(loop, &config, &chardev));
	serial_config.chardev = chardev;
	must(vdb_serial_create(f.vm, &serial_config, &serial));
	must(vdb_loop_start(loop, -1, NULL));
	sink.room = sizeof(sink.text);
}

static void setup(void)
{
	make(0);
}

static void teardown(void)
{
	uint32_t stopped = 0, gone = 0;

	must(vdb_vm_stop(f.vm, count_done, &stopped));
	wait_for32(&stopped, 1);
	vdb_serial_destroy(serial);
	vdb_chardev_destroy(chardev, count_done, &gone);
	wait_for32(&gone, 1);
	must(vdb_loop_join(loop));
	must(vdb_loop_destroy(loop));
	kvm_fixture_end(&f);
}

static uint8_t in(uint32_t reg)
{
	uint8_t value;

	ck_assert_int_eq(vdb_bus_read(vdb_vm_pio(f.vm), NULL, COM1 + reg, &value, 1), 1);
	return value;
}

static void out(uint32_t reg, uint8_t value)
{
	ck_assert_int_eq(vdb_bus_write(vdb_vm_pio(f.vm), NULL, COM1 + reg, &value, 1), 1);
}

static void expect_sink(const char *text)
{
	size_t want = strlen(text);

	for (unsigned i = 0; i < 60000 && __atomic_load_n(&sink.len, __ATOMIC_ACQUIRE) < want; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	pthread_mutex_lock(&sink.lock);
	ck_assert_uint_eq(sink.len, want);
	ck_assert_int_eq(memcmp(sink.text, text, want), 0);
	pthread_mutex_unlock(&sink.lock);
}

static void type(const char *text)
{
	ck_assert_uint_eq(vdb_chardev_input(chardev, text, strlen(text)), strlen(text));
}

static void wait_until(uint32_t reg, uint8_t mask, uint8_t value)
{
	for (unsigned i = 0; i < 60000; i++) {
		if ((in(reg)&mask) == value)
			return;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	ck_abort_msg("register %u is %#x", reg, in(reg));
}

START_TEST(registers_after_a_reset)
{
	ck_assert_uint_eq(in(IER), 0);
	ck_assert_uint_eq(in(IIR), 0x01);
	ck_assert_uint_eq(in(LCR), 0);
	ck_assert_uint_eq(in(MCR), 0);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(MSR), 0xb0);
	ck_assert_uint_eq(in(DATA), 0);
	out(SCR, 0x5a);
	ck_assert_uint_eq(in(SCR), 0x5a);
	out(LCR, 0x83);
	out(DATA, 0x34);
	out(IER, 0x12);
	ck_assert_uint_eq(in(DATA), 0x34);
	ck_assert_uint_eq(in(IER), 0x12);
	out(LCR, 0x03);
	ck_assert_uint_eq(in(IER), 0);
	out(LSR, 0xff);
	out(MSR, 0xff);
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(MSR), 0xb0);
}
END_TEST

/* The steps of Linux's autoconfig(): what it must find to call it a 16550A. */
START_TEST(linux_finds_a_16550a)
{
	out(IER, 0);
	ck_assert_uint_eq(in(IER), 0);
	out(IER, 0x0f);
	ck_assert_uint_eq(in(IER), 0x0f);
	out(IER, 0xff);
	ck_assert_uint_eq(in(IER), 0x0f); /* no UUE bit: no Xscale */
	out(IER, 0);
	out(MCR, 0x1a); /* loop, OUT2, RTS */
	ck_assert_uint_eq(in(MSR)&0xf0, 0x90);
	out(MCR, 0);
	out(IIR, 0x01);
	ck_assert_uint_eq(in(IIR) >> 6, 3);
	out(LCR, 0xbf); /* an EFR would be at 2 */
	ck_assert_uint_ne(in(IIR), 0);
	out(LCR, 0x80);
	ck_assert_uint_ne(in(IIR), 0);
	out(LCR, 0);
	out(IIR, 0x21); /* no 64-byte FIFO */
	ck_assert_uint_eq(in(IIR) >> 5, 6);
	out(IIR, 0);
	ck_assert_uint_eq(in(IIR), 0x01);
}
END_TEST

/* serial8250_do_startup() looks for two bugs that we must not have. */
START_TEST(the_empty_transmitter_says_so_when_asked_and_once)
{
	for (unsigned i = 0; i < 2; i++) {
		out(IER, 0x02);
		ck_assert_uint_eq(in(IIR), 0x02);
		ck_assert_uint_eq(in(IIR), 0x01);
		out(IER, 0x02); /* not asked anew */
		ck_assert_uint_eq(in(IIR), 0x01);
		out(IER, 0);
	}
	out(IER, 0x02);
	out(DATA, 'a');
	ck_assert_uint_eq(in(IIR), 0x02); /* it is sent already */
	ck_assert_uint_eq(in(IIR), 0x01);
	ck_assert_uint_eq(in(LSR), 0x60);
	expect_sink("a");
}
END_TEST

START_TEST(what_is_written_comes_out_in_order)
{
	static const char text[] = "The quick brown fox jumps over the lazy dog.";

	for (const char *c = text; *c; c++) {
		ck_assert_uint_eq(in(LSR)&0x20, 0x20);
		out(DATA, (uint8_t)*c);
	}
	expect_sink(text);
}
END_TEST

START_TEST(loopback_turns_bytes_and_lines_round)
{
	out(IIR, 0x01);
	(void)in(MSR);
	out(MCR, 0x10);
	ck_assert_uint_eq(in(MSR), 0x0b); /* CTS, DSR, DCD fell */
	out(MCR, 0x15);
	ck_assert_uint_eq(in(MSR), 0x60 | 0x02); /* DSR rose; RI only tells when it falls */
	out(MCR, 0x11);
	ck_assert_uint_eq(in(MSR), 0x20 | 0x04);
	for (unsigned i = 0; i < 16; i++)
		out(DATA, (uint8_t)('A' + i));
	ck_assert_uint_eq(in(LSR), 0x61);
	out(DATA, 'Z');
	ck_assert_uint_eq(in(LSR), 0x63); /* overrun, told once */
	ck_assert_uint_eq(in(LSR), 0x61);
	for (unsigned i = 0; i < 16; i++)
		ck_assert_uint_eq(in(DATA), 'A' + i);
	ck_assert_uint_eq(in(LSR), 0x60);
	out(MCR, 0);
	expect_sink("");
}
END_TEST

START_TEST(trigger_level_and_timeout)
{
	out(IIR, 0x81); /* 8 bytes */
	out(MCR, 0x10);
	out(IER, 0x05);
	for (unsigned i = 0; i < 7; i++)
		out(DATA, 'x');
	ck_assert_uint_eq(in(IIR), 0xcc);
	out(DATA, 'x');
	ck_assert_uint_eq(in(IIR), 0xc4);
	for (unsigned i = 0; i < 9; i++)
		out(DATA, 'x');
	ck_assert_uint_eq(in(IIR), 0xc6); /* overrun goes before */
	(void)in(LSR);
	ck_assert_uint_eq(in(IIR), 0xc4);
	out(IIR, 0x83); /* cleared */
	ck_assert_uint_eq(in(IIR), 0xc1);
	out(DATA, 'x');
	out(IIR, 0); /* switched: cleared, too */
	ck_assert_uint_eq(in(LSR), 0x60);
	out(DATA, 'x');
	out(DATA, 'y');
	ck_assert_uint_eq(in(LSR), 0x63);
	ck_assert_uint_eq(in(DATA), 'x');
}
END_TEST

START_TEST(input_waits_until_the_guest_asks)
{
	type("hello, world, this is more than one FIFO");
	/* As serial8250_do_startup() clears what it finds. */
	out(IIR, 0x01);
	out(IIR, 0x07);
	out(IIR, 0);
	for (unsigned i = 0; i < 2; i++) {
		(void)in(LSR);
		(void)in(DATA);
		(void)in(IIR);
		(void)in(MSR);
		(void)in(LSR);
		(void)in(LSR);
	}
	out(IIR, 0x01);
	out(IER, 0x05);
	for (const char *c = "hello, world, this is more than one FIFO"; *c; c++) {
		wait_until(LSR, 1, 1);
		ck_assert_uint_eq(in(DATA), (uint8_t)*c);
	}
	ck_assert_uint_eq(in(LSR), 0x60);
	ck_assert_uint_eq(in(IIR), 0xc1);
}
END_TEST

/* As serial8250_console_write(), which waits for the transmitter before each byte and behind the last. */
static void print(const char *text)
{
	uint8_t ier = in(IER);

	out(IER, 0);
	for (; *text; text++) {
		ck_assert_uint_eq(in(LSR)&0x20, 0x20);
		out(DATA, (uint8_t)*text);
	}
	ck_assert_uint_eq(in(LSR)&0x60, 0x60);
	out(IER, ier);
}

START_TEST(a_console_that_prints_takes_no_input)
{
	type("early input");
	out(IIR, 0x01);
	print("Linux version 6.1.0\n");
	print("Command line: console=ttyS0\n");
	out(IIR, 0x07); /* the driver starts, and clears the FIFO */
	out(IER, 0x05);
	for (const char *c = "early input"; *c; c++) {
		wait_until(LSR, 1, 1);
		ck_assert_uint_eq(in(DATA), (uint8_t)*c);
	}
}
END_TEST

START_TEST(a_guest_that_prints_between_looks_gets_its_input)
{
	type("a");
	for (unsigned i = 0; i < 60000 && !(in(LSR)&1); i++) {
		ck_assert_uint_eq(in(LSR)&0x20, 0x20);
		out(DATA, '.');
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	ck_assert_uint_eq(in(DATA), 'a');
}
END_TEST

START_TEST(a_guest_that_polls_gets_its_input)
{
	type("ab");
	wait_until(LSR, 1, 1);
	ck_assert_uint_eq(in(DATA), 'a');
	wait_until(LSR, 1, 1);
	ck_assert_uint_eq(in(DATA), 'b');
	ck_assert_uint_eq(in(LSR), 0x60);
}
END_TEST

START_TEST(a_full_chardev_keeps_the_transmitter_busy)
{
	char all[512];
	size_t n = 0;

	teardown();
	make(64);
	sink.room = 0;
	out(IIR, 0x01);
	out(IER, 0x02);
	(void)in(IIR);
	/* Until it is busy; the loop may have taken some. */
	while (in(LSR)&0x20 && n < 300) {
		all[n] = (char)('a' + n % 26);
		out(DATA, (uint8_t)all[n++]);
	}
	ck_assert_uint_lt(n, 300);
	ck_assert_uint_eq(in(LSR), 0);
	ck_assert_uint_eq(in(IIR), 0xc1);
	for (unsigned i = 1; i < 16; i++) { /* the FIFO's rest */
		all[n] = (char)('a' + n % 26);
		out(DATA, (uint8_t)all[n++]);
	}
	out(DATA, '!'); /* the guest did not look: lost */
	ck_assert_uint_eq(in(LSR), 0);
	pthread_mutex_lock(&sink.lock);
	sink.room = sizeof(all);
	pthread_mutex_unlock(&sink.lock);
	vdb_chardev_writable(chardev);
	wait_until(LSR, 0x60, 0x60);
	ck_assert_uint_eq(in(IIR), 0xc2);
	all[n] = 0;
	expect_sink(all);
}
END_TEST

START_TEST(g16_odd_widths_at_the_serial_port)
{
	for (uint32_t len = 2; len <= 8; len *= 2) {
		uint64_t value = UINT64_MAX;

		ck_assert_int_eq(vdb_bus_write(vdb_vm_pio(f.vm), NULL, COM1, &value, len), 1);
		ck_assert_int_eq(vdb_bus_read(vdb_vm_pio(f.vm), NULL, COM1, &value, len), 1);
		ck_assert_uint_eq(value, len == 8 ? 0 : UINT64_MAX << (8 * len));
	}
	ck_assert_uint_eq(in(IER), 0);
	expect_sink("");
}
END_TEST

START_TEST(nobody_there_is_a_port_that_takes_all)
{
	const struct vdb_serial_config config = {.size = sizeof(config), .port = 0x2f8, .gsi = 3};
	struct vdb_serial *second;
	uint8_t value = 'x';

	must(vdb_serial_create(f.vm, &config, &second));
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(vdb_bus_write(vdb_vm_pio(f.vm), NULL, 0x2f8, &value, 1), 1);
	ck_assert_int_eq(vdb_bus_read(vdb_vm_pio(f.vm), NULL, 0x2f8 + LSR, &value, 1), 1);
	ck_assert_uint_eq(value, 0x60);
	ck_assert_int_eq(vdb_bus_read(vdb_vm_pio(f.vm), NULL, 0x2f8 + MSR, &value, 1), 1);
	ck_assert_uint_eq(value, 0);
	vdb_serial_destroy(second);
	vdb_serial_destroy(NULL);
}
END_TEST

static int refusal(uint16_t port, uint32_t gsi, struct vdb_chardev *dev)
{
	const struct vdb_serial_config config = {
	        .size = sizeof(config), .port = port, .gsi = gsi, .chardev = dev};
	struct vdb_serial *s;
	int rc, fds = leak_fds();

	rc = vdb_serial_create(f.vm, &config, &s);
	ck_assert_int_eq(leak_fds(), fds);
	return rc;
}

START_TEST(what_cannot_be_is_refused)
{
	ck_assert_int_eq(refusal(0x3fc, 3, NULL), -EEXIST);
	ck_assert_int_eq(refusal(0xfff9, 3, NULL), -EINVAL);
	ck_assert_int_eq(refusal(0x2f8, 24, NULL), -EINVAL);
	ck_assert_int_eq(refusal(0x2f8, 3, chardev), -EBUSY);
}
END_TEST

START_TEST(without_irqchip_it_is_polled)
{
	const struct vdb_vm_config config = {.size = sizeof(config), .irqchip = VDB_IRQCHIP_NONE};
	struct kvm_fixture bare;
	const struct vdb_serial_config serial_config = {.size = sizeof(serial_config)};
	struct vdb_serial *s;

	kvm_fixture_make(&bare, &config, 0);
	must(vdb_serial_create(bare.vm, &serial_config, &s));
	vdb_serial_destroy(s);
	kvm_fixture_end(&bare);
}
END_TEST

static int make_and_undo(void *arg)
{
	const struct vdb_serial_config config = {.size = sizeof(config), .port = 0x2f8, .gsi = 3};
	struct vdb_serial *s;
	int err = vdb_serial_create(f.vm, &config, &s);

	(void)arg;
	if (!err)
		vdb_serial_destroy(s);
	return err;
}

START_TEST(a_failure_half_way_leaves_nothing)
{
	ck_assert_uint_ge(fail_sweep(make_and_undo, NULL), 5);
}
END_TEST

/* ---- Interrupts in a guest ---- */

static const uint32_t *interrupts(void)
{
	return irq_guest_count(&f, 1, VECTOR);
}

static void listen(void)
{
	static const struct irq_guest_pin pin = {4, VECTOR, false};

	irq_guest_start(&f, 1, &pin, 1);
	out(IIR, 0x01);
}

START_TEST(each_reason_interrupts)
{
	listen();
	out(IER, 0x0f);
	ck_assert_uint_eq(*interrupts(), 0); /* OUT2 is shut */
	out(MCR, 0x08);
	wait_for32(interrupts(), 1); /* the transmitter is empty */
	ck_assert_uint_eq(in(IIR), 0xc2);
	type("x");
	wait_for32(interrupts(), 2);
	ck_assert_uint_eq(in(IIR), 0xc4);
	type("yz"); /* the line is up already */
	wait_until(LSR, 1, 1);
	while (in(LSR)&1)
		(void)in(DATA);
	ck_assert_uint_eq(in(IIR), 0xc1);
	type("!");
	wait_for32(interrupts(), 3);
	ck_assert_uint_eq(in(DATA), '!');
	for (uint32_t i = 4; i < 10; i++) {
		out(DATA, 'o');
		wait_for32(interrupts(), i);
	}
	expect_sink("oooooo");
}
END_TEST

/* No register is touched between: it is the loop that raises the line. */
START_TEST(room_in_the_chardev_interrupts)
{
	uint32_t n = 0;

	teardown();
	make(64);
	sink.room = 0;
	listen();
	out(MCR, 0x08);
	while (in(LSR)&0x20 && n++ < 300)
		out(DATA, 'x');
	ck_assert_uint_lt(n, 300);
	out(IER, 0x02);
	ck_assert_uint_eq(in(IIR), 0xc1);
	ck_assert_uint_eq(*interrupts(), 0);
	pthread_mutex_lock(&sink.lock);
	sink.room = 400;
	pthread_mutex_unlock(&sink.lock);
	vdb_chardev_writable(chardev);
	wait_for32(interrupts(), 1);
	ck_assert_uint_eq(in(IIR), 0xc2);
}
END_TEST

/* An interrupt-driven guest of a real kind: CPL 3, which sends a byte for each interrupt that vCPU 1 counts.
 */
GUEST(writer, "mov $0x300114, %ebx\n mov $0x3fd, %edx\n xor %esi, %esi\n"
              "1: mov (%rbx), %ecx\n cmp %esi, %ecx\n je 1b\n mov %ecx, %esi\n"
              "mov $0x3f8, %edx\n mov $'x', %al\n out %al, %dx\n cmp $200, %esi\n jb 1b\n ud2");

START_TEST(no_edge_is_lost_between_a_guest_and_the_loop)
{
	listen();
	ck_assert_ptr_eq(interrupts(), f.ram + 0x300114);
	out(MCR, 0x08);
	LOAD(&f, 0, writer, 0);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	out(IER, 0x02);
	wait_for32(interrupts(), 200);
	wait_for32(&f.events, 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        registers_after_a_reset,
	        linux_finds_a_16550a,
	        the_empty_transmitter_says_so_when_asked_and_once,
	        what_is_written_comes_out_in_order,
	        loopback_turns_bytes_and_lines_round,
	        trigger_level_and_timeout,
	        input_waits_until_the_guest_asks,
	        a_console_that_prints_takes_no_input,
	        a_guest_that_prints_between_looks_gets_its_input,
	        a_guest_that_polls_gets_its_input,
	        a_full_chardev_keeps_the_transmitter_busy,
	        g16_odd_widths_at_the_serial_port,
	        nobody_there_is_a_port_that_takes_all,
	        what_cannot_be_is_refused,
	        without_irqchip_it_is_polled,
	        a_failure_half_way_leaves_nothing,
	        each_reason_interrupts,
	        room_in_the_chardev_interrupts,
	        no_edge_is_lost_between_a_guest_and_the_loop,
	        NULL,
	};

	return kvm_tests_run("serial", setup, teardown, tests);
}
