/* SPDX-License-Identifier: Apache-2.0 */
/* --pin: which thread belongs on which CPU of the host. */
#ifndef TINYVMM_PINS_H
#define TINYVMM_PINS_H

#include <stdint.h>

struct run_options;

/* Takes "vcpu0=2,loop=3,io=4,io=5". 0, or -1 after a complaint. */
int pins_parse(struct run_options *options, const char *text);

/* A CPU of the host that this process may use. `what` begins the complaint. 0 or -1. */
int pins_cpu(const char *what, const char *text, int32_t *cpu);

#endif
