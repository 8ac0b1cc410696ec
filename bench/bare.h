/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM by bare ioctls, in the order that is cheapest: memory slots, ioeventfd, irqchip, vCPU, irqfd. No
 * library, no ring: the floor that everybody stands on. What fails ends the program.
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <linux/kvm.h>
#include <pthread.h>

#include "bench.h"
#include "guest/crowd.h"

struct bare_host {
	int fd;
	uint32_t run_bytes;
	struct kvm_cpuid2 *cpuid;
};

struct bare_vm {
	const struct bare_host *host;
	const struct bench_options *options;
	uint8_t *ram;
	void *page;
	struct crowd_box *box;
	int vm, vcpu, bell, irq;
	struct kvm_run *run;
	pthread_t runner;
	uint64_t born_ns, done_ns;
};

#define BARE_RAM (4u << 20)

void bare_open(struct bare_host *host);
void bare_leave(struct bare_host *host);

/* `model`: memory in which the library has set up a VM: its tables are copied. */
void bare_create(struct bare_vm *vm, const struct bare_host *host, const struct bench_options *o,
                 uint8_t *ram, const uint8_t *model);

/* Until the guest's end: born_ns and done_ns are set. */
void bare_run(struct bare_vm *vm);

void bare_close(struct bare_vm *vm);

#endif
