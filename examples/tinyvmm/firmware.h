/* SPDX-License-Identifier: Apache-2.0 */
/* What firmware would have done: memory, its map, the kernel, the tables that tell the guest what
 * it is made of. */
#ifndef TINYVMM_FIRMWARE_H
#define TINYVMM_FIRMWARE_H

struct run;

/* All return 0, or -1 after a complaint. */

/* The VM's memory. */
int firmware_memory(struct run *run);

/* Kernel, initrd and command line, into it. */
int firmware_load(struct run *run);

/* ACPI tables, or an MP table, when all devices are there. */
int firmware_tables(struct run *run);

#endif
