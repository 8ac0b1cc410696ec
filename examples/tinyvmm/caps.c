/* SPDX-License-Identifier: Apache-2.0 */
#include "caps.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run.h"
#include "terminal.h"
#include "tinyvmm.h"
#include "values.h"

static int take(struct vdb_caps *caps, const char *name, const char *value)
{
	char what[48];

	snprintf(what, sizeof(what), "--caps %.32s", name);
	if (!value)
		return complain("%s: needs a value: %s=...", what, name);
	if (!strcmp(name, "inflight"))
		return value_number32(what, value, 0, UINT32_MAX, &caps->inflight);
	if (!strcmp(name, "pinned"))
		return value_size(what, value, &caps->pinned);
	if (!strcmp(name, "fds"))
		return value_number32(what, value, 0, UINT32_MAX, &caps->fds);
	if (!strcmp(name, "irqs"))
		return value_number32(what, value, 0, VDB_CAPS_MAX_IRQS, &caps->irqs_per_s);
	if (!strcmp(name, "lines"))
		return value_number32(what, value, 1, UINT32_MAX, &caps->log_lines);
	return complain("--caps: no key `%s`; there are inflight, pinned, fds, irqs and lines", name);
}

int caps_parse(struct vdb_caps *caps, const char *text)
{
	char copy[128], *rest = copy, *part, *value;

	*caps = (struct vdb_caps){.size = sizeof(*caps)};
	if (strlen(text) >= sizeof(copy))
		return complain("--caps %.40s...: is too long", text);
	memcpy(copy, text, strlen(text) + 1);
	while ((part = strsep(&rest, ","))) {
		value = strchr(part, '=');
		if (value)
			*value++ = '\0';
		if (take(caps, part, value))
			return -1;
	}
	return 0;
}

/* On a loop's thread, which must not wait for who reads our complaints. */
static int say(void *arg, const char *line)
{
	char text[VDB_LOG_LINE];

	(void)arg;
	(void)snprintf(text, sizeof(text), "tinyvmm: %.400s%s", line, terminal_is_raw() ? "\r" : "");
	return vdb_log_fd((void *)(intptr_t)STDERR_FILENO, text);
}

int caps_give(const struct run *run, struct vdb_tenant *tenant)
{
	struct vdb_caps caps = run->options.caps;

	caps.size = sizeof(caps);
	caps.log = say;
	return vdb_tenant_caps(tenant, &caps);
}

struct vdb_tenant_stats caps_account(const struct run *run)
{
	struct vdb_tenant_stats sum = {.size = sizeof(sum)}, one = {.size = sizeof(one)};

	for (uint32_t i = 0; i < VDB_LOOPS_MAX && run->devices.tenants[i]; i++) {
		if (vdb_tenant_stats(run->devices.tenants[i], &one))
			continue;
		sum.inflight += one.inflight;
		sum.bytes += one.bytes;
		sum.requests += one.requests;
		sum.bells += one.bells;
		sum.bells_vain += one.bells_vain;
		sum.starts += one.starts;
		sum.broken += one.broken;
		sum.refused += one.refused;
		sum.errors += one.errors;
		sum.dropped += one.dropped;
		sum.throttled += one.throttled;
		sum.crowded += one.crowded;
		sum.irqs += one.irqs;
		sum.irqs_delayed += one.irqs_delayed;
		sum.pinned += one.pinned;
		sum.pinned_refused += one.pinned_refused;
		sum.fds += one.fds;
		sum.fds_refused += one.fds_refused;
		sum.log_lines += one.log_lines;
		sum.log_dropped += one.log_dropped;
	}
	return sum;
}
