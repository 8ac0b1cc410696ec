/* SPDX-License-Identifier: Apache-2.0 */
/* What the user asks of `tinyvmm demo`. */
#ifndef TINYVMM_OPTIONS_H
#define TINYVMM_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "loops.h"
#include "sandbox.h"

enum mode {
	MODE_MIXED,
	MODE_POLL,
	MODE_IRQ,
};

struct options {
	uint32_t vms;
	uint64_t requests; /* of each VM */
	uint32_t depth;    /* 0 = mixed */
	enum mode mode;
	uint32_t doorbell;           /* VDB_DOORBELL_* */
	uint32_t engine;             /* VDB_ENGINE_* */
	struct vdb_loop_config poll; /* its poll_* and sq_* fields, coalesce_ns, flags */
	const char *image;           /* NULL: a temporary file */
	bool direct;
	uint32_t slice;       /* blocks of the image for each VM */
	uint32_t flush_every; /* writes */
	uint64_t memory;      /* bytes of each VM, 0 = what it needs */
	const char *journal;  /* file for the mailboxes, NULL = none */
	const char *json;     /* NULL = none */
	int pin;              /* host CPU of the only loop, -1 = none */
	struct loops_option loops;
	struct sandbox_option sandbox;
	bool help;
};

#define OPTIONS_MAX_VMS 1024u
#define OPTIONS_MAX_DEPTH 1024u

/* 0, or -1 after a complaint. */
int options_parse(struct options *options, int argc, char **argv);

/* The text of --help. */
void options_help(void);

/* The names as the user gives them. */
const char *options_mode_name(enum mode mode);
const char *options_doorbell_name(uint32_t doorbell);

/* What VM number `vm` is to do when the user wants a mixture. */
uint32_t options_depth_of(const struct options *options, uint32_t vm);
bool options_polls(const struct options *options, uint32_t vm);

#endif
