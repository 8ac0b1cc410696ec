/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A as drivers probe it and use it. Time does not pass in it: a byte is sent at once, unless the
 * chardev is full - then the transmitter is busy until there is room.
 *
 * Input stays in the chardev until the guest asks for it: by its receive interrupt, or by
 * looking at the line status again and again. A driver that sets the port up clears the FIFO and throws
 * away what it finds; what was typed, or piped, before it was there is not lost by that.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vdb/irq.h>
#include <vdb/serial.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "io/chardev.h"

#define PORTS 8u
#define FIFO 16u

/* Registers by offset; the first two are the divisor's while LCR's DLAB is set. */
enum { DATA, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RECEIVED 0x01u
#define IER_EMPTY 0x02u
#define IER_LINE 0x04u
#define IER_MODEM 0x08u

#define IIR_NONE 0x01u
#define IIR_MODEM 0x00u
#define IIR_EMPTY 0x02u
#define IIR_RECEIVED 0x04u
#define IIR_LINE 0x06u
#define IIR_TIMEOUT 0x0cu /* there is input, less than the trigger level */
#define IIR_FIFOS 0xc0u

#define FCR_ENABLE 0x01u
#define FCR_CLEAR_INPUT 0x02u
#define FCR_CLEAR_OUTPUT 0x04u

#define LCR_DLAB 0x80u

#define MCR_DTR 0x01u
#define MCR_RTS 0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u /* on a PC: the gate of the interrupt */
#define MCR_LOOP 0x10u
#define MCR_BITS 0x1fu

#define LSR_READY 0x01u
#define LSR_OVERRUN 0x02u
#define LSR_EMPTY 0x60u /* holding register and transmitter */

#define MSR_DCTS 0x01u
#define MSR_TERI 0x04u
#define MSR_CTS 0x10u
#define MSR_DSR 0x20u
#define MSR_RI 0x40u
#define MSR_DCD 0x80u
#define MSR_LINES 0xf0u

/* A driver that sets up a port looks at LSR once or twice; one that looks so often without doing anything
 * else waits for input. */
#define POLLING 4u

struct vdb_serial {
	struct vdb_bus *bus;
	uint16_t port;
	bool on_bus, bound;
	struct vdb_irq *irq; /* NULL: no interrupt controller in the kernel, the guest polls */
	struct vdb_chardev *chardev;

	pthread_mutex_t lock; /* of all below */
	uint8_t ier, fcr, lcr, mcr, msr, scr;
	uint8_t divisor[2];
	bool overrun;
	bool emptied; /* the transmitter became empty, and the guest has not been told yet */
	bool line;    /* of the interrupt */
	bool looked;  /* by the last access, at LSR */
	uint32_t looks;
	uint32_t in_first, in_count, out_count;
	uint8_t in[FIFO], out[FIFO];
};

/* ---- The interrupt ---- */

static uint32_t trigger_level(const struct vdb_serial *s)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority. */
static uint8_t pending(const struct vdb_serial *s)
{
	if (s->ier & IER_LINE && s->overrun)
		return IIR_LINE;
	if (s->ier & IER_RECEIVED && s->in_count >= trigger_level(s))
		return IIR_RECEIVED;
	if (s->ier & IER_RECEIVED && s->in_count)
		return IIR_TIMEOUT;
	if (s->ier & IER_EMPTY && s->emptied)
		return IIR_EMPTY;
	if (s->ier & IER_MODEM && s->msr & ~MSR_LINES)
		return IIR_MODEM;
	return IIR_NONE;
}

/* The pin is edge-triggered: each rise of the line is an interrupt. */
static void update(struct vdb_serial *s)
{
	const uint64_t one = 1;
	bool open = s->mcr & MCR_OUT2 && !(s->mcr & MCR_LOOP), line = open && pending(s) != IIR_NONE;

	if (line && !s->line && s->irq) {
		ssize_t done = write(vdb_irq_fd(s->irq), &one, sizeof(one));

		(void)done; /* EAGAIN: one is on its way */
	}
	s->line = line;
}

/* ---- Input ---- */

static void take_in(struct vdb_serial *s, uint8_t byte)
{
	if (s->in_count == (s->fcr & FCR_ENABLE ? FIFO : 1)) {
		s->overrun = true;
		return;
	}
	s->in[(s->in_first + s->in_count++) % FIFO] = byte;
}

/* From the chardev, as much as there is room for and the guest asks for. */
static void refill(struct vdb_serial *s)
{
	uint8_t bytes[FIFO];
	size_t room = (s->fcr & FCR_ENABLE ? FIFO : 1) - s->in_count, n;

	if (!s->chardev || !room || s->mcr & MCR_LOOP || !(s->ier & IER_RECEIVED || s->looks >= POLLING))
		return;
	n = vdb__chardev_get(s->chardev, bytes, room);
	for (size_t i = 0; i < n; i++)
		take_in(s, bytes[i]);
}

static uint8_t read_byte(struct vdb_serial *s)
{
	uint8_t byte = 0;

	if (s->in_count) {
		byte = s->in[s->in_first];
		s->in_first = (s->in_first + 1) % FIFO;
		s->in_count--;
	}
	refill(s);
	return byte;
}

/* ---- Output ---- */

static void flush(struct vdb_serial *s)
{
	size_t n = s->chardev ? vdb__chardev_put(s->chardev, s->out, s->out_count) : s->out_count;

	s->out_count -= (uint32_t)n;
	memmove(s->out, s->out + n, s->out_count);
	if (!s->out_count)
		s->emptied = true;
}

/* Falls and rises, if it is sent at once: the guest waits for an edge per byte. */
static void write_byte(struct vdb_serial *s, uint8_t byte)
{
	s->emptied = false;
	update(s);
	if (s->mcr & MCR_LOOP) {
		take_in(s, byte);
		s->emptied = true;
		return;
	}
	if (s->out_count < (s->fcr & FCR_ENABLE ? FIFO : 1))
		s->out[s->out_count++] = byte; /* else the guest has not looked whether there is room */
	flush(s);
}

/* ---- Registers ---- */

/* What the modem's lines say: somebody is there, or, looped, what the guest says itself. */
static uint8_t modem_lines(const struct vdb_serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return s->chardev ? MSR_CTS | MSR_DSR | MSR_DCD : 0;
	return (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
	                 (s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

/* Each change is noted in the lower half, RI's only when it falls. */
static void follow_lines(struct vdb_serial *s)
{
	uint8_t lines = modem_lines(s), changed = (s->msr ^ lines) & MSR_LINES;

	if (lines & MSR_RI)
		changed &= (uint8_t)~MSR_RI;
	s->msr = (uint8_t)((s->msr & ~MSR_LINES) | lines | changed >> 4);
}

static uint8_t read_iir(struct vdb_serial *s)
{
	uint8_t iir = pending(s);

	if (iir == IIR_EMPTY)
		s->emptied = false;
	return iir | (s->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct vdb_serial *s)
{
	uint8_t lsr = s->overrun ? LSR_OVERRUN : 0;

	if (s->looks < POLLING)
		s->looks++;
	refill(s);
	s->overrun = false;
	return (uint8_t)(lsr | (s->in_count ? LSR_READY : 0) | (s->out_count ? 0 : LSR_EMPTY));
}

static uint8_t read_msr(struct vdb_serial *s)
{
	uint8_t msr = s->msr;

	s->msr &= MSR_LINES;
	return msr;
}

/* Told (again) that the transmitter is empty is who begins to ask for it. */
static void write_ier(struct vdb_serial *s, uint8_t value)
{
	value &= IER_RECEIVED | IER_EMPTY | IER_LINE | IER_MODEM;
	if (value & ~s->ier & IER_EMPTY && !s->out_count)
		s->emptied = true;
	s->ier = value;
	refill(s);
}

static void write_fcr(struct vdb_serial *s, uint8_t value)
{
	bool switched = (value ^ s->fcr) & FCR_ENABLE;

	if (!(value & FCR_ENABLE))
		value = 0; /* the other bits count only with it */
	if (switched || value & FCR_CLEAR_INPUT)
		s->in_count = 0;
	if ((switched || value & FCR_CLEAR_OUTPUT) && s->out_count) {
		s->out_count = 0;
		s->emptied = true;
	}
	s->fcr = (uint8_t)(value & ~(FCR_CLEAR_INPUT | FCR_CLEAR_OUTPUT));
	refill(s);
}

static uint8_t read_register(struct vdb_serial *s, uint64_t offset)
{
	switch (offset) {
	case DATA:
		return s->lcr & LCR_DLAB ? s->divisor[0] : read_byte(s);
	case IER:
		return s->lcr & LCR_DLAB ? s->divisor[1] : s->ier;
	case IIR_FCR:
		return read_iir(s);
	case LCR:
		return s->lcr;
	case MCR:
		return s->mcr;
	case LSR:
		return read_lsr(s);
	case MSR:
		return read_msr(s);
	default:
		return s->scr;
	}
}

static void write_register(struct vdb_serial *s, uint64_t offset, uint8_t value)
{
	switch (offset) {
	case DATA:
		if (s->lcr & LCR_DLAB)
			s->divisor[0] = value;
		else
			write_byte(s, value);
		break;
	case IER:
		if (s->lcr & LCR_DLAB)
			s->divisor[1] = value;
		else
			write_ier(s, value);
		break;
	case IIR_FCR:
		write_fcr(s, value);
		break;
	case LCR:
		s->lcr = value;
		break;
	case MCR:
		s->mcr = value & MCR_BITS;
		follow_lines(s);
		refill(s);
		break;
	case SCR:
		s->scr = value;
		break;
	default: /* LSR and MSR are for reading */
		break;
	}
}

/* Looks at LSR count as polling if nothing but output comes between. A look right before a byte of output was
 * for the transmitter: a console that prints must not seem to poll, or what comes in early would be lost. */
static void note(struct vdb_serial *s, uint64_t offset, bool write)
{
	if (offset == DATA && write)
		s->looks -= s->looked;
	else if (offset != LSR && offset != MSR && !(offset == DATA && s->in_count))
		s->looks = 0;
	s->looked = offset == LSR && !write;
}

static void on_read(void *ctx, struct vdb_bus_access *access)
{
	struct vdb_serial *s = ctx;

	if (access->len != 1)
		return;
	pthread_mutex_lock(&s->lock);
	note(s, access->offset, false);
	*access->data = read_register(s, access->offset);
	update(s);
	pthread_mutex_unlock(&s->lock);
}

static void on_write(void *ctx, struct vdb_bus_access *access)
{
	struct vdb_serial *s = ctx;

	if (access->len != 1)
		return;
	pthread_mutex_lock(&s->lock);
	note(s, access->offset, true);
	write_register(s, access->offset, *access->data);
	update(s);
	pthread_mutex_unlock(&s->lock);
}

/* ---- The chardev: loop's thread ---- */

static void readable(void *arg)
{
	struct vdb_serial *s = arg;

	pthread_mutex_lock(&s->lock);
	refill(s);
	update(s);
	pthread_mutex_unlock(&s->lock);
}

static void writable(void *arg)
{
	struct vdb_serial *s = arg;

	pthread_mutex_lock(&s->lock);
	if (s->out_count)
		flush(s);
	update(s);
	pthread_mutex_unlock(&s->lock);
}

/* ---- Life ---- */

static int connect_irq(struct vdb_serial *s, struct vdb_vm *vm, uint32_t gsi)
{
	const struct vdb_irq_config config = {.size = sizeof(config), .kind = VDB_IRQ_PIN, .gsi = gsi};
	int err = vdb_irq_create(vm, &config, &s->irq);

	return err == -ENOTSUP ? 0 : err;
}

static int connect_chardev(struct vdb_serial *s)
{
	const struct vdb__chardev_user user = {.readable = readable, .writable = writable, .arg = s};
	int err = s->chardev ? vdb__chardev_bind(s->chardev, &user) : 0;

	s->bound = s->chardev && !err;
	return err;
}

static int build(struct vdb_serial *s, struct vdb_vm *vm, const struct vdb_serial_config *config)
{
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .read = on_read, .write = on_write};
	int err = connect_irq(s, vm, config->gsi ? config->gsi : 4);

	if (!err)
		err = connect_chardev(s);
	if (!err)
		err = vdb_bus_add(s->bus, "serial", s->port, PORTS, &ops, s);
	s->on_bus = !err;
	return err;
}

static int check(const struct vdb_serial_config *config)
{
	if (config->reserved[0] || config->reserved[1] || config->reserved[2])
		return vdb__fail(EINVAL, "serial: reserved is not 0");
	if (config->port > 0x10000u - PORTS)
		return vdb__fail(EINVAL, "serial: port %#x; %u ports from there end beyond 0xffff",
		                 config->port, PORTS);
	return 0;
}

VDB_EXPORT int vdb_serial_create(struct vdb_vm *vm, const struct vdb_serial_config *config,
                                 struct vdb_serial **out)
{
	struct vdb_serial_config own;
	struct vdb_serial *s;
	int err = vdb__config_take(&own, sizeof(own), config, "vdb_serial_config");

	if (!err)
		err = check(&own);
	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (!s)
		return vdb__fail(ENOMEM, "serial: no memory");
	s->bus = vdb_vm_pio(vm);
	s->port = own.port ? own.port : 0x3f8;
	s->chardev = own.chardev;
	s->divisor[0] = 1;
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&s->lock, NULL);
	s->msr = modem_lines(s);
	err = build(s, vm, &own);
	if (err) {
		vdb_serial_destroy(s);
		return err;
	}
	*out = s;
	return 0;
}

VDB_EXPORT void vdb_serial_destroy(struct vdb_serial *serial)
{
	if (!serial)
		return;
	/* A control thread may wait for handlers: it cannot fail. */
	if (serial->on_bus && vdb_bus_remove(serial->bus, serial->port))
		return;
	if (serial->bound)
		vdb__chardev_unbind(serial->chardev);
	vdb_irq_destroy(serial->irq);
	pthread_mutex_destroy(&serial->lock);
	free(serial);
}
