/* SPDX-License-Identifier: Apache-2.0 */
#include "polling.h"

#include <string.h>

#include "tinyvmm.h"
#include "values.h"

#define MAX_US 1000000u

static const struct choice modes[] = {{"adaptive", VDB_POLL_ADAPTIVE}, {"always", VDB_POLL_ALWAYS}, {0}};

static int microseconds(const char *what, const char *text, uint32_t *ns)
{
	uint32_t us = 0;

	if (value_number32(what, text, 0, MAX_US, &us))
		return -1;
	*ns = us * 1000;
	return 0;
}

static int take(struct vdb_loop_config *loop, char *part)
{
	char *value = strchr(part, '=');

	if (!value)
		return complain("--poll %s: must be like 50,mode=adaptive,cpu=20,coalesce=50", part);
	*value++ = '\0';
	if (!strcmp(part, "mode"))
		return value_choice("--poll mode", value, modes, &loop->poll_mode);
	if (!strcmp(part, "cpu"))
		return value_number32("--poll cpu", value, 1, 100, &loop->poll_cpu);
	if (!strcmp(part, "coalesce"))
		return microseconds("--poll coalesce", value, &loop->coalesce_ns);
	return complain("--poll: no key `%s`; mode, cpu and coalesce are known", part);
}

int polling_parse(struct vdb_loop_config *loop, const char *text)
{
	char copy[256], *save = NULL, *part;

	if (strlen(text) >= sizeof(copy))
		return complain("--poll %.40s...: too long", text);
	memcpy(copy, text, strlen(text) + 1);
	part = strtok_r(copy, ",", &save);
	if (microseconds("--poll", part ? part : "", &loop->poll_ns))
		return -1;
	while ((part = strtok_r(NULL, ",", &save)))
		if (take(loop, part))
			return -1;
	return 0;
}
