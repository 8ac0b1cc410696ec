/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options, as people write them. `what` begins the complaint: "--vms", "--disk size".
 * All return 0, or -1 after a complaint that names what is allowed. */
#ifndef TINYVMM_VALUES_H
#define TINYVMM_VALUES_H

#include <stdint.h>

/* One of several words; the last one of an array has no name. */
struct choice {
	const char *name;
	uint32_t value;
};

int value_choice(const char *what, const char *text, const struct choice *choices, uint32_t *value);
const char *choice_name(const struct choice *choices, uint32_t value);

int value_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *value);
int value_number32(const char *what, const char *text, uint32_t min, uint32_t max, uint32_t *value);

/* Bytes, with K, M, G or T behind the number if one likes. */
int value_size(const char *what, const char *text, uint64_t *value);

/* A file that can be written, or made. */
int value_writable(const char *what, const char *path);

/* Opens it to be written later, by whoever may open nothing then: an fd, or -1 after a complaint. */
int value_open(const char *what, const char *path);

#endif
