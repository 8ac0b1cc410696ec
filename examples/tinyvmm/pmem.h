/* SPDX-License-Identifier: Apache-2.0 */
/* --pmem: a file that the guest has as memory, /dev/pmem0. */
#ifndef TINYVMM_PMEM_H
#define TINYVMM_PMEM_H

#include <stdbool.h>
#include <stdint.h>

#define PMEM_MAX 4u

struct device;
struct run;
struct run_options;

struct pmem {
	char path[4096];
	char name[16]; /* in messages and statistics */
	bool readonly; /* the guest cannot write */
	bool private;  /* what it writes is its own, and gone at the end */
	int fd;        /* -1: not open */
	uint64_t bytes;
};

/* Takes the text behind --pmem. 0, or -1 after a complaint. */
int pmem_parse(struct pmem *pmem, const char *text, uint32_t number);

/* Opens and locks the file. 0, or -1 after a complaint. */
int pmem_open(struct pmem *pmem);
void pmem_close(struct pmem *pmem);

/* As devices.c makes devices. */
uint32_t pmem_count(const struct run_options *options);
int pmem_create(struct run *run, struct device *device, uint32_t index);

#endif
