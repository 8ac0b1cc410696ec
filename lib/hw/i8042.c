/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keyboard controller without keyboard and mouse, for its reset line. Every command that drivers probe with
 * is answered at once, so that none waits for a timeout; what is sent to the devices is swallowed.
 */
#include <pthread.h>
#include <stdbool.h>
#include <vdb/platform.h>

#include "hw/part.h"

#define DATA_PORT 0x60u
#define COMMAND_PORT 0x64u

#define STATUS_OUTPUT 0x01u   /* there is a byte to read */
#define STATUS_SYSTEM 0x04u   /* the self-test was passed */
#define STATUS_COMMAND 0x08u  /* what was written last was a command */
#define STATUS_UNLOCKED 0x10u /* the keyboard lock */
#define OUTPUT_LINES 0x03u    /* of the output port: no reset, A20 */
#define OUTPUT_NO_RESET 0x01u
#define MODE_DEFAULT 0x45u /* translated, system flag, keyboard interrupt */
#define MODE_NO_KEYBOARD 0x10u
#define MODE_NO_MOUSE 0x20u
#define RAM 32u

enum {
	READ_RAM = 0x20,  /* to 0x3f; byte 0 is the mode */
	WRITE_RAM = 0x60, /* to 0x7f */
	MOUSE_OFF = 0xa7,
	MOUSE_ON = 0xa8,
	MOUSE_TEST = 0xa9,
	SELF_TEST = 0xaa,
	KEYBOARD_TEST = 0xab,
	KEYBOARD_OFF = 0xad,
	KEYBOARD_ON = 0xae,
	READ_INPUT = 0xc0,
	READ_OUTPUT = 0xd0,
	WRITE_OUTPUT = 0xd1,
	FROM_KEYBOARD = 0xd2,
	FROM_MOUSE = 0xd3,
	TO_MOUSE = 0xd4,
	PULSE = 0xf0, /* to 0xff: lines whose bit is 0 go low for a moment */
};

#define PASSED 0x55u
#define LINE_STUCK 0x02u /* a test's result where nothing is plugged in */
#define INPUT_UNLOCKED 0x80u

struct i8042 {
	struct vdb__part part;
	pthread_mutex_t lock;
	bool full, command; /* output buffer, STATUS_COMMAND */
	uint8_t output;
	uint8_t waiting; /* command that takes the next byte of data; 0 = none */
	uint8_t ram[RAM];
};

static void answer(struct i8042 *kbc, uint8_t byte)
{
	kbc->output = byte;
	kbc->full = true;
}

static void set_mode(struct i8042 *kbc, uint8_t bit, bool on)
{
	kbc->ram[0] = (uint8_t)(on ? kbc->ram[0] | bit : kbc->ram[0] & ~bit);
}

static void simple_command(struct i8042 *kbc, uint8_t command)
{
	switch (command) {
	case MOUSE_OFF:
	case MOUSE_ON:
		set_mode(kbc, MODE_NO_MOUSE, command == MOUSE_OFF);
		break;
	case KEYBOARD_OFF:
	case KEYBOARD_ON:
		set_mode(kbc, MODE_NO_KEYBOARD, command == KEYBOARD_OFF);
		break;
	case MOUSE_TEST:
	case KEYBOARD_TEST:
		answer(kbc, LINE_STUCK);
		break;
	case SELF_TEST:
		kbc->ram[0] = MODE_DEFAULT;
		answer(kbc, PASSED);
		break;
	case READ_INPUT:
		answer(kbc, INPUT_UNLOCKED);
		break;
	case READ_OUTPUT:
		answer(kbc, OUTPUT_LINES);
		break;
	case WRITE_OUTPUT:
	case FROM_KEYBOARD:
	case FROM_MOUSE:
	case TO_MOUSE:
		kbc->waiting = command;
		break;
	default:
		break;
	}
}

/* True: the guest is to be reset. */
static bool take_command(struct i8042 *kbc, uint8_t command)
{
	kbc->command = true;
	kbc->waiting = 0;
	if (command >= PULSE)
		return !(command & OUTPUT_NO_RESET);
	if ((command & ~(RAM - 1)) == READ_RAM)
		answer(kbc, kbc->ram[command % RAM]);
	else if ((command & ~(RAM - 1)) == WRITE_RAM)
		kbc->waiting = command;
	else
		simple_command(kbc, command);
	return false;
}

/* True: the guest is to be reset. What comes "from the mouse" lacks the mouse's mark: there is none. */
static bool take_data(struct i8042 *kbc, uint8_t byte)
{
	uint8_t command = kbc->waiting;

	kbc->command = false;
	kbc->waiting = 0;
	if (command == WRITE_OUTPUT)
		return !(byte & OUTPUT_NO_RESET);
	if (command == FROM_KEYBOARD || command == FROM_MOUSE)
		answer(kbc, byte);
	else if ((command & ~(RAM - 1)) == WRITE_RAM)
		kbc->ram[command % RAM] = byte;
	return false;
}

static uint8_t status(const struct i8042 *kbc)
{
	return (uint8_t)(STATUS_UNLOCKED | (kbc->full ? STATUS_OUTPUT : 0) |
	                 (kbc->command ? STATUS_COMMAND : 0) | (kbc->ram[0] & STATUS_SYSTEM));
}

static void read_status(void *ctx, struct vdb_bus_access *access)
{
	struct i8042 *kbc = ctx;

	if (access->len != 1)
		return;
	pthread_mutex_lock(&kbc->lock);
	*access->data = status(kbc);
	pthread_mutex_unlock(&kbc->lock);
}

static void read_data(void *ctx, struct vdb_bus_access *access)
{
	struct i8042 *kbc = ctx;

	if (access->len != 1)
		return;
	pthread_mutex_lock(&kbc->lock);
	*access->data = kbc->output;
	kbc->full = false;
	pthread_mutex_unlock(&kbc->lock);
}

static void write_by(struct i8042 *kbc, struct vdb_bus_access *access,
                     bool (*take)(struct i8042 *kbc, uint8_t byte))
{
	bool reset;

	if (access->len != 1)
		return;
	pthread_mutex_lock(&kbc->lock);
	reset = take(kbc, *access->data);
	pthread_mutex_unlock(&kbc->lock);
	if (reset)
		vdb__part_raise(access, VDB_EVENT_RESET, 0);
}

static void write_command(void *ctx, struct vdb_bus_access *access)
{
	write_by(ctx, access, take_command);
}

static void write_data(void *ctx, struct vdb_bus_access *access)
{
	write_by(ctx, access, take_data);
}

static void end(struct vdb__part *part)
{
	pthread_mutex_destroy(&((struct i8042 *)part)->lock);
}

int vdb__i8042_create(struct vdb_vm *vm, struct vdb__part **out)
{
	const struct vdb_bus_ops data = {.size = sizeof(data), .read = read_data, .write = write_data};
	const struct vdb_bus_ops command = {
	        .size = sizeof(command), .read = read_status, .write = write_command};
	struct vdb__part *part;
	int err = vdb__part_new(vm, "i8042", sizeof(struct i8042), end, &part);

	if (err)
		return err;
	((struct i8042 *)part)->ram[0] = MODE_DEFAULT;
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&((struct i8042 *)part)->lock, NULL);
	err = vdb__part_claim(part, "i8042", DATA_PORT, 1, &data);
	if (!err)
		err = vdb__part_claim(part, "i8042", COMMAND_PORT, 1, &command);
	if (err)
		vdb__part_destroy(part);
	else
		*out = part;
	return err;
}
