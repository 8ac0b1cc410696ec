/* SPDX-License-Identifier: Apache-2.0 */
/* The guests that are ELF files, and what they say at their end: "done", and words of NAME=NUMBER. */
#ifndef BENCH_SAID_H
#define BENCH_SAID_H

#include "bench.h"

/* The path of such a file, which lies beside this program; valid until the next call. */
const char *said_guest(const char *name);

/* What follows "done"; dies if the guest did not come so far, with what it said instead. */
const char *said_done(const char *text);

/* The number behind " name="; dies if there is none. */
uint64_t said_number(const char *done, const char *name);

/* Milliseconds after which a guest that has not ended never will. */
uint64_t said_patience(const struct bench_options *o);

#endif
