/* SPDX-License-Identifier: Apache-2.0 */
/* --sandbox, and how tinyvmm enters it: what it needs is opened first. */
#ifndef TINYVMM_SANDBOX_H
#define TINYVMM_SANDBOX_H

#include <stdbool.h>
#include <vdb/sandbox.h>

struct sandbox_option {
	uint32_t mode;   /* enum sandbox_mode */
	uint32_t refuse; /* VDB_REFUSE_* */
};

#define SANDBOX_PATHS 16u
#define SANDBOX_CALLS 24u

struct sandbox {
	struct vdb_sandbox *vdb; /* NULL: off */
	struct vdb_sandbox_path paths[SANDBOX_PATHS];
	char folders[SANDBOX_PATHS][4096];
	uint32_t path_count;
	struct vdb_sandbox_call calls[SANDBOX_CALLS];
	uint32_t call_count;
	bool sockets; /* are made at run time */
};

struct sandbox_option sandbox_default(void);

/* on|off|auto[,refuse=errno|kill]. 0, or -1 after a complaint. */
int sandbox_parse(struct sandbox_option *option, const char *text);

/* What will be needed: the folder that a file is in; a child to be ended. */
void sandbox_folder(struct sandbox *sandbox, const char *file, uint32_t rights);
void sandbox_child(struct sandbox *sandbox, int pid);

/* While there is one thread: the others start inside. 0, or -1 after a complaint. */
int sandbox_begin(struct sandbox *sandbox, const struct sandbox_option *option);

/* This thread, too. */
int sandbox_enter(struct sandbox *sandbox);

void sandbox_end(struct sandbox *sandbox);

#endif
