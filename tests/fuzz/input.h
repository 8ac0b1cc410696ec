/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An input is a program: bytes that a target reads one after the other, and does what they say. What is
 * missing reads as zeroes, and a target ends when the input has, or after so many steps as it allows.
 *
 *     struct fuzz_input in = fuzz_input(data, size);
 *     for (int i = 0; i < STEPS && fuzz_more(&in); i++)
 *             step(fuzz_u8(&in) % KINDS, &in);
 */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* libFuzzer's, or replay.c, calls it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline struct fuzz_input fuzz_input(const uint8_t *data, size_t size)
{
	return (struct fuzz_input){data, size};
}

static inline bool fuzz_more(const struct fuzz_input *in)
{
	return in->left > 0;
}

static inline void fuzz_bytes(struct fuzz_input *in, void *to, size_t len)
{
	size_t have = len < in->left ? len : in->left;

	memset(to, 0, len);
	if (have)
		memcpy(to, in->at, have);
	in->at += have;
	in->left -= have;
}

static inline uint8_t fuzz_u8(struct fuzz_input *in)
{
	uint8_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

static inline uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

static inline uint32_t fuzz_u32(struct fuzz_input *in)
{
	uint32_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

static inline uint64_t fuzz_u64(struct fuzz_input *in)
{
	uint64_t value;

	fuzz_bytes(in, &value, sizeof(value));
	return value;
}

/* What a target finds wrong is a crash. */
#define fuzz_check(truth) ((truth) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #truth))
static inline _Noreturn void fuzz_failed(const char *file, int line, const char *truth)
{
	(void)fprintf(stderr, "%s:%d: not so: %s\n", file, line, truth);
	abort();
}

#endif
