/* SPDX-License-Identifier: Apache-2.0 */
#include "uring.h"

#include <string.h>

#include "tinyvmm.h"
#include "values.h"

#define MAX_IDLE_MS 60000u

static int take_sqpoll(struct vdb_loop_config *loop, const char *value)
{
	loop->flags |= VDB_LOOP_SQPOLL;
	return value ? value_number32("--uring sqpoll", value, 1, MAX_IDLE_MS, &loop->sq_idle_ms) : 0;
}

static int take_cpu(struct vdb_loop_config *loop, const char *value)
{
	uint32_t cpu = 0;

	if (value_number32("--uring sq-cpu", value ? value : "", 0, 65535, &cpu))
		return -1;
	loop->sq_cpu = cpu + 1;
	return 0;
}

static int take(struct vdb_loop_config *loop, char *part)
{
	char *value = strchr(part, '=');

	if (value)
		*value++ = '\0';
	if (!strcmp(part, "sqpoll"))
		return take_sqpoll(loop, value);
	if (!strcmp(part, "sq-cpu"))
		return take_cpu(loop, value);
	if (!strcmp(part, "memory") && !value)
		loop->flags |= VDB_LOOP_REGISTER_MEMORY;
	else if (!strcmp(part, "iopoll") && !value)
		loop->flags |= VDB_LOOP_IOPOLL;
	else
		return complain("--uring: no key `%s`; memory, iopoll, sqpoll[=MS] and sq-cpu=CPU are known",
		                part);
	return 0;
}

int uring_parse(struct vdb_loop_config *loop, const char *text)
{
	char copy[128], *save = NULL, *part;

	if (strlen(text) >= sizeof(copy))
		return complain("--uring %.40s...: too long", text);
	memcpy(copy, text, strlen(text) + 1);
	part = strtok_r(copy, ",", &save);
	if (!part)
		return complain("--uring: say what: memory, iopoll, sqpoll[=MS], sq-cpu=CPU");
	for (; part; part = strtok_r(NULL, ",", &save))
		if (take(loop, part))
			return -1;
	if (loop->sq_cpu && !(loop->flags & VDB_LOOP_SQPOLL))
		return complain("--uring sq-cpu is for sqpoll");
	return 0;
}

void uring_add(struct vdb_loop_stats *total, const struct vdb_loop_stats *one)
{
	total->features |= one->features;
	total->fixed_files += one->fixed_files;
	total->fixed_buffers += one->fixed_buffers;
	total->memory += one->memory;
	total->memory_refused += one->memory_refused;
	total->polled += one->polled;
	total->signals += one->signals;
}
