/* SPDX-License-Identifier: Apache-2.0 */
/* The main thread while the VM runs: signals, time, and the VM's end. */
#ifndef TINYVMM_WATCH_H
#define TINYVMM_WATCH_H

struct run;

/* Before any thread is started: they inherit that signals are blocked. 0, or -1 after a
 * complaint. */
int watch_prepare(struct run *run);

/* Until the VM has ended. */
void watch(struct run *run);

#endif
