/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a ring can be made to do at all. Filters of system calls do not see what goes through a ring: whoever
 * came to write into its submission queue could open files and connect sockets. So a ring is created
 * disabled, told once what it takes, and nothing else after that.
 */
#include "loop/state.h"
#include "loop/uring.h"

/* All that is ever submitted: to the ring that is polled, the first few. */
static const uint8_t opcodes[] = {
        IORING_OP_READ,       IORING_OP_READV,       IORING_OP_WRITE,    IORING_OP_WRITEV,
        IORING_OP_READ_FIXED, IORING_OP_WRITE_FIXED, IORING_OP_POLL_ADD, IORING_OP_ASYNC_CANCEL,
        IORING_OP_FSYNC,      IORING_OP_FALLOCATE,   IORING_OP_NOP,
};
#define OPCODES (sizeof(opcodes) / sizeof(opcodes[0]))
#define POLLED_OPCODES 6u

/* All that is registered once a ring is enabled, and taken back. */
static const uint8_t registers[] = {
        IORING_REGISTER_FILES,
        IORING_REGISTER_FILES_UPDATE,
        IORING_REGISTER_BUFFERS2,
        IORING_REGISTER_BUFFERS_UPDATE,
        IORING_REGISTER_RING_FDS,
        IORING_UNREGISTER_RING_FDS,
        IORING_REGISTER_IOWQ_MAX_WORKERS,
        IORING_REGISTER_IOWQ_AFF,
};
#define REGISTERS (sizeof(registers) / sizeof(registers[0]))

#define SQE_FLAGS (IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS)

bool vdb__uring_submits(uint8_t opcode)
{
	for (size_t i = 0; i < OPCODES; i++)
		if (opcodes[i] == opcode)
			return true;
	return false;
}

bool vdb__uring_restrict(struct io_uring *ring, bool polled)
{
	struct io_uring_restriction rules[OPCODES + REGISTERS + 1] = {0};
	unsigned n = 0;

	if (!(ring->flags & IORING_SETUP_R_DISABLED))
		return false;
	for (size_t i = 0; i < (polled ? POLLED_OPCODES : OPCODES); i++, n++) {
		rules[n].opcode = IORING_RESTRICTION_SQE_OP;
		rules[n].sqe_op = opcodes[i];
	}
	for (size_t i = 0; i < REGISTERS; i++, n++) {
		rules[n].opcode = IORING_RESTRICTION_REGISTER_OP;
		rules[n].register_op = registers[i];
	}
	rules[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	rules[n++].sqe_flags = SQE_FLAGS;
	/* liburing 2.3 declares io_uring_register_restrictions() but lacks it. */
	return !io_uring_register((unsigned)ring->ring_fd, IORING_REGISTER_RESTRICTIONS, rules, n);
}
