/* SPDX-License-Identifier: Apache-2.0 */
/* What this process has and takes: memory by kind, open files, threads, CPU. */
#ifndef BENCH_CENSUS_H
#define BENCH_CENSUS_H

#include <stdint.h>

struct census {
	uint64_t own;   /* bytes resident, but for the next two */
	uint64_t guest; /* of the range that is the guests' RAM */
	uint64_t kvm;   /* of mappings of KVM's own: the run areas of vCPUs */
	uint64_t fds, threads;
};

void census_take(struct census *census, const void *ram, uint64_t bytes);

/* CPU time of the whole process, and of its threads of that name. */
uint64_t census_cpu_ns(void);
uint64_t census_named_cpu_ns(const char *name);

void census_sleep(uint64_t ns);

#endif
