/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A QEMU to compare with: its microvm with KVM, one vCPU, a guest kernel, what that says on the debug port.
 * It is started stopped, so that its threads can be put on their CPUs first.
 *
 *     const char *options[] = {..., NULL};
 *     qemu_start(&q, kernel, cmdline, options);
 *     qemu_pin(&q, o);
 *     qemu_go(&q);
 *     qemu_finish(&q, text, sizeof(text), ms);
 */
#ifndef BENCH_QEMU_H
#define BENCH_QEMU_H

#include "bench.h"

struct qemu {
	pid_t pid;
	int monitor;    /* QMP */
	int text;       /* the debug port */
	pid_t iothread; /* after qemu_pin(); 0 = it has none */
};

/* `options` come behind those for machine, memory and kernel. Skipped if there is no QEMU. */
void qemu_start(struct qemu *q, const char *kernel, const char *cmdline, const char *const *options);

/* The vCPU's thread on the one CPU, the iothread's on the other. */
void qemu_pin(struct qemu *q, const struct bench_options *o);

/* And its main loop where the iothread would be. */
void qemu_pin_main(struct qemu *q, const struct bench_options *o);

/* Lets the guest run. */
void qemu_go(struct qemu *q);

/* Waits for the end of the process; what the guest said. Dies after `ms`, with QEMU. */
void qemu_finish(struct qemu *q, char *text, size_t room, uint64_t ms);

/* Or, of a guest that does not end: waits until it has said this, and ends it. */
void qemu_hear(struct qemu *q, const char *word, uint64_t ms);
void qemu_kill(struct qemu *q);

#endif
