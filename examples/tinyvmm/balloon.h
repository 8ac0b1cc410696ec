/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon: what the guest gives back of its memory, by a target that may change while it runs. */
#ifndef TINYVMM_BALLOON_H
#define TINYVMM_BALLOON_H

#include <stdbool.h>
#include <stdint.h>
#include <vdb/balloon.h>

struct device;
struct run;
struct run_options;

struct balloon_option {
	bool given, target_given;
	uint64_t target;  /* bytes; of the file, if there is one */
	char file[4096];  /* "": none */
	uint32_t seconds; /* between statistics; 0 = none */
	bool reporting, on_oom;
	struct vdb_virtio *device; /* NULL: not yet */
};

/* What follows --balloon, and whether it fits to the rest. 0, or -1 after a complaint. */
int balloon_parse(struct balloon_option *option, const char *text);
int balloon_check(const struct balloon_option *option, uint64_t memory, bool registered);

/* As devices.c makes devices. */
uint32_t balloon_count(const struct run_options *options);
int balloon_create(struct run *run, struct device *device, uint32_t index);

/* Reads the file again; where it is wrong, or there is none, nothing changes. */
void balloon_reload(struct run *run);

#endif
