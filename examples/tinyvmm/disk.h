/* SPDX-License-Identifier: Apache-2.0 */
/* One --disk: what the user wants, and the backend that it becomes. */
#ifndef TINYVMM_DISK_H
#define TINYVMM_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"

struct vdb_backend;
struct vdb_limit;

struct disk {
	char path[4096]; /* "": null */
	char id[32];     /* for messages and statistics */
	char serial[21]; /* what the guest is told */
	uint64_t size;   /* of null */
	uint32_t queues;
	bool readonly;
	bool direct;
	bool no_lock;
	bool write_through;
	bool packed;
	struct rates rates;
	struct vdb_backend *backend;
	struct vdb_limit *limit; /* NULL: none */
};

/* Takes the text behind --disk; `number` makes its default id, `packed` is the default for
 * that. 0, or -1 after a complaint. */
int disk_parse(struct disk *disk, const char *text, uint32_t number, bool packed);

/* Opens it, locks it. 0, or -1 after a complaint. */
int disk_open(struct disk *disk);
void disk_close(struct disk *disk);

#endif
