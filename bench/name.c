/* SPDX-License-Identifier: Apache-2.0 */
#include "name.h"

#include <string.h>

bool name_step(const char **at, const char *word)
{
	size_t len = strlen(word);

	if (strncmp(*at, word, len) != 0 || ((*at)[len] && (*at)[len] != '-'))
		return false;
	*at += len + ((*at)[len] == '-');
	return true;
}

bool name_find(const char **at, const char *(*name)(size_t), size_t rows, size_t *index)
{
	for (*index = 0; *index < rows; ++*index)
		if (name_step(at, name(*index)))
			return true;
	return false;
}
