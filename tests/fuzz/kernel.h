/* SPDX-License-Identifier: Apache-2.0 */
/* Files that say that they are kernels, and memory to load them into: 0 to 8 MiB, 16 MiB to 24 MiB. */
#ifndef FUZZ_KERNEL_H
#define FUZZ_KERNEL_H

#include "input.h"

/*
 * Changes a good file of `len` bytes as the program says: its length, and words of the `head` bytes from
 * `from` on, or anywhere. Then has it loaded, with an initrd and a command line if it wants them.
 */
void fuzz_kernel(uint8_t *file, size_t len, size_t from, size_t head, struct fuzz_input *in);

#endif
