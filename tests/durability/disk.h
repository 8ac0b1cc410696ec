/* SPDX-License-Identifier: Apache-2.0 */
/* The disk image that the guest writes to, as the judge sees it. */
#ifndef TESTS_DURABILITY_DISK_H
#define TESTS_DURABILITY_DISK_H

#include <stdint.h>

#include "log.h"

/* What was found, in sum. */
struct findings {
	uint64_t checked;    /* sectors */
	uint64_t demanded;   /* of these, those that had to be newer than at the beginning */
	uint64_t newer;      /* than demanded: written, and allowed to be lost */
	uint64_t lost;       /* older than demanded */
	uint64_t mixed;      /* neither old nor new */
	uint64_t unheard_of; /* in a version that was never issued, or another sector's */
};

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A new one, all of whose sectors are in version 0, and which is on the disk. */
void disk_make(const char *path);

/*
 * Looks at each sector: its version is at least least[i] and, unless most is NULL, at most most[i]. begun:
 * what it was at the beginning, for `demanded`. found gets the versions. Waits until nobody has the image
 * locked: what a process that was killed had in flight may take a moment longer than the process.
 */
void disk_check(const char *path, const uint32_t *begun, const uint32_t *least, const uint32_t *most,
                uint32_t *found, struct findings *findings);

/* A line of it; returns 0 if all is well. */
int findings_print(const struct findings *findings);

#endif
