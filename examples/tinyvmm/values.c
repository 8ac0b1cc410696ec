/* SPDX-License-Identifier: Apache-2.0 */
#include "values.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tinyvmm.h"

const char *choice_name(const struct choice *choices, uint32_t value)
{
	while (choices->name && choices->value != value)
		choices++;
	return choices->name ? choices->name : "?";
}

int value_choice(const char *what, const char *text, const struct choice *choices, uint32_t *value)
{
	char list[64] = "";

	for (const struct choice *c = choices; c->name; c++) {
		if (!strcmp(text, c->name)) {
			*value = c->value;
			return 0;
		}
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? ", " : "",
		         c->name);
	}
	return complain("%s %s: must be one of %s", what, text, list);
}

int value_number(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *value)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (end == text || *end || strchr(text, '-'))
		return complain("%s %s: not a number", what, text);
	if (errno || n < min || n > max)
		return complain("%s %s: must be from %llu to %llu", what, text, (unsigned long long)min,
		                (unsigned long long)max);
	*value = n;
	return 0;
}

int value_number32(const char *what, const char *text, uint32_t min, uint32_t max, uint32_t *value)
{
	uint64_t n = 0;

	if (value_number(what, text, min, max, &n))
		return -1;
	*value = (uint32_t)n;
	return 0;
}

int value_size(const char *what, const char *text, uint64_t *value)
{
	static const char units[] = "KMGT";
	char digits[32];
	size_t len = strlen(text);
	const char *unit = len ? strchr(units, text[len - 1]) : NULL;
	unsigned shift = unit && *unit ? 10 * (unsigned)(unit - units + 1) : 0;

	if (len >= sizeof(digits))
		return complain("%s %s: not a size", what, text);
	memcpy(digits, text, len + 1);
	if (shift)
		digits[len - 1] = '\0';
	if (value_number(what, digits, 0, UINT64_MAX >> shift, value))
		return -1;
	*value <<= shift;
	return 0;
}

int value_writable(const char *what, const char *path)
{
	char folder[4096];
	struct stat st;
	int there = !stat(path, &st);

	snprintf(folder, sizeof(folder), "%s", path);
	if (there && S_ISDIR(st.st_mode))
		return complain("%s %s: cannot be written: it is a folder", what, path);
	if (access(there ? path : dirname(folder), W_OK))
		return complain("%s %s: cannot be written: %s", what, path, strerror(errno));
	return 0;
}

int value_open(const char *what, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	return fd < 0 ? complain("%s %s: %s", what, path, strerror(errno)) : fd;
}
