/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a guest's command line. */
#ifndef BENCH_WORDS_H
#define BENCH_WORDS_H

#include <stdbool.h>
#include <stdint.h>

static inline bool words_begin(const char *text, const char *with)
{
	while (*with)
		if (*text++ != *with++)
			return false;
	return true;
}

/* What follows `key` in the next word that begins so; NULL: there is none. */
static inline const char *words_find(const char *text, const char *key)
{
	while (*text) {
		if (words_begin(text, key)) {
			while (*key++)
				text++;
			return text;
		}
		while (*text && *text != ' ')
			text++;
		while (*text == ' ')
			text++;
	}
	return (const char *)0;
}

static inline uint64_t words_parse(const char *text)
{
	unsigned base = words_begin(text, "0x") ? 16 : 10;
	uint64_t value = 0;

	for (text += base == 16 ? 2 : 0;; text++) {
		unsigned digit = *text >= '0' && *text <= '9'   ? (unsigned)(*text - '0')
		                 : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a' + 10)
		                                                : base;

		if (digit >= base)
			return value;
		value = value * base + digit;
	}
}

/* The number behind `key`, or `otherwise`. */
static inline uint64_t words_number(const char *text, const char *key, uint64_t otherwise)
{
	const char *at = words_find(text, key);

	return at ? words_parse(at) : otherwise;
}

#endif
