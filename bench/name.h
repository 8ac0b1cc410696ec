/* SPDX-License-Identifier: Apache-2.0 */
/* Names of cases, which are made of words with '-' between them: vdb-split-read-32. */
#ifndef BENCH_NAME_H
#define BENCH_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Moves *at beyond "word", which must end there or at a '-'. */
bool name_step(const char **at, const char *word);

/* Steps over the first fitting name of a table. */
bool name_find(const char **at, const char *(*name)(size_t), size_t rows, size_t *index);

#endif
