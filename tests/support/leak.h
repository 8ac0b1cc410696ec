/* SPDX-License-Identifier: Apache-2.0 */
/* Did something stay open or mapped? */
#ifndef TESTS_LEAK_H
#define TESTS_LEAK_H

#include <stddef.h>

/* Open fds of this process. */
int leak_fds(void);

/* Mapped bytes and lines in /proc/self/maps. */
size_t leak_mapped(int *lines);

/*
 * Runs fn(arg) again and again and fails the test if the process keeps an fd
 * more, or mappings that grow by an average of `bytes` (at least a page) or by a
 * line each time. Name the smallest mapping that fn could leak: 1 MiB is well
 * clear of what malloc and thread stacks do. fn undoes all that it does.
 */
void leak_check(void (*fn)(void *arg), void *arg, size_t bytes);

#endif
