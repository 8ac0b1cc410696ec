/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits: of a disk by keys of --disk, of the whole VM by --limit, and of both by a file that is read
 * again on SIGUSR2, --limits. */
#ifndef TINYVMM_LIMITS_H
#define TINYVMM_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct run;

/* What the user says of one: bps=BYTES,iops=N,burst=MS. */
struct rates {
	bool given;
	uint64_t bps, iops; /* 0 = unlimited */
	uint32_t burst_ms;  /* 0 = default */
};

/* One key of `option`; value NULL: it has none. 0; -1 after a complaint; 1: it is no key of a limit. */
int rates_take(struct rates *rates, const char *option, const char *name, const char *value);

/* All of them, with commas between. 0, or -1 after a complaint. */
int rates_parse(struct rates *rates, const char *option, const char *text);

/* Do they fit together? 0, or -1 after a complaint. */
int rates_check(const struct rates *rates, const char *option);

/* Makes the limits, if there are any, as the file says if there is one. 0, or -1 after a complaint. */
int limits_create(struct run *run);
void limits_destroy(struct run *run);

/* Reads the file again; where it is wrong, or there is none, nothing changes. */
void limits_reload(struct run *run);

#endif
