/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the layer of faults share. */
#ifndef TESTS_FAULT_RULES_H
#define TESTS_FAULT_RULES_H

#include <stdbool.h>
#include <sys/uio.h>

#include "fault.h"

#define FAULT__IOV 1024

/* Counts one of that kind; true: it is to fare so. */
bool fault__next(enum fault_op op, int64_t *result);

/* It is to be held; counted as held then. */
bool fault__holds(enum fault_op op);

/* Lets go of what io_uring holds. */
void fault__uring_release(void);

uint64_t fault__length(const struct iovec *iov, unsigned niov);

/* No more than `max` bytes of them, in `out`, which has room for FAULT__IOV; how many pieces. */
unsigned fault__clip(const struct iovec *iov, unsigned niov, uint64_t max, struct iovec *out);

#endif
