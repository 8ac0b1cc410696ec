/* SPDX-License-Identifier: Apache-2.0 */
#include "keys.h"

#include <stddef.h>
#include <string.h>

#include "tinyvmm.h"

/* Copies up to the next comma, ",," standing for one, and returns what is behind it; NULL: too
 * long. */
static const char *next_part(const char *from, char *to, size_t room)
{
	size_t len = 0;

	for (; *from; from++) {
		if (*from == ',' && from[1] != ',')
			return to[len] = '\0', from + 1;
		from += *from == ',';
		if (len + 1 == room)
			return NULL;
		to[len++] = *from;
	}
	to[len] = '\0';
	return from;
}

int keys_parse(const char *option, const char *text,
               int (*take)(void *to, const char *name, const char *value), void *to)
{
	for (const char *rest = text; *rest;) {
		char part[KEYS_PART], *value;

		rest = next_part(rest, part, sizeof(part));
		if (!rest)
			return complain("%s %.40s...: too long", option, text);
		value = strchr(part, '=');
		if (value)
			*value++ = '\0';
		if (take(to, part, value))
			return -1;
	}
	return 0;
}
