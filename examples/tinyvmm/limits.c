/* SPDX-License-Identifier: Apache-2.0 */
#include "limits.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/limit.h>

#include "run.h"
#include "tinyvmm.h"
#include "values.h"

#define MAX_BURST_MS 60000u
#define MAX_RATE (VDB_LIMIT_MAX / MAX_BURST_MS)

/* ---- What the user says ---- */

int rates_take(struct rates *rates, const char *option, const char *name, const char *value)
{
	char what[64];
	bool bps = !strcmp(name, "bps"), iops = !strcmp(name, "iops");

	if (!bps && !iops && strcmp(name, "burst") != 0)
		return 1;
	snprintf(what, sizeof(what), "%.40s %s", option, name);
	if (!value)
		return complain("%s: needs a value: %s=...", what, name);
	rates->given = true;
	if (!bps && !iops)
		return value_number32(what, value, 1, MAX_BURST_MS, &rates->burst_ms);
	if (iops)
		return value_number(what, value, 0, MAX_RATE, &rates->iops);
	if (value_size(what, value, &rates->bps))
		return -1;
	return rates->bps > MAX_RATE ? complain("%s %s: is too much; 0 is unlimited", what, value) : 0;
}

int rates_check(const struct rates *rates, const char *option)
{
	if (rates->burst_ms && !rates->bps && !rates->iops)
		return complain("%s burst: is for bps and iops, of which there is none", option);
	return 0;
}

int rates_parse(struct rates *rates, const char *option, const char *text)
{
	char copy[128], *rest = copy, *part, *value;
	int taken;

	*rates = (struct rates){.given = true};
	if (strlen(text) >= sizeof(copy))
		return complain("%s %.40s...: is too long", option, text);
	memcpy(copy, text, strlen(text) + 1);
	while ((part = strsep(&rest, ","))) {
		value = strchr(part, '=');
		if (value)
			*value++ = '\0';
		taken = rates_take(rates, option, part, value);
		if (taken > 0)
			return complain("%s: no key `%s`; there are bps, iops and burst", option, part);
		if (taken)
			return -1;
	}
	return rates_check(rates, option);
}

static struct vdb_limit_config config_of(const struct rates *rates)
{
	return (struct vdb_limit_config){
	        .size = sizeof(struct vdb_limit_config),
	        .bytes_per_s = rates->bps,
	        .bytes_burst = rates->bps * rates->burst_ms / 1000,
	        .ops_per_s = rates->iops,
	        .ops_burst = rates->iops * rates->burst_ms / 1000,
	};
}

/* ---- The file: a name and what is said of it, a line each ---- */

struct table {
	struct rates vm, vsock, disks[RUN_MAX_DISKS], nets[NET_MAX];
};

/* What the command line says. */
static void table_begin(struct table *table, const struct run_options *o)
{
	table->vm = o->limit;
	table->vsock = o->vsock.rates;
	for (uint32_t i = 0; i < o->disk_count; i++)
		table->disks[i] = o->disks[i].rates;
	for (uint32_t i = 0; i < o->net_count; i++)
		table->nets[i] = o->nets[i].rates;
}

static struct rates *table_find(struct table *table, const struct run_options *o, const char *name)
{
	if (!strcmp(name, "vm"))
		return &table->vm;
	for (uint32_t i = 0; i < o->disk_count; i++)
		if (!strcmp(name, o->disks[i].id))
			return &table->disks[i];
	for (uint32_t i = 0; i < o->net_count; i++)
		if (!strcmp(name, o->nets[i].id))
			return &table->nets[i];
	if (o->vsock.given && !strcmp(name, "vsock"))
		return &table->vsock;
	return NULL;
}

/* Its packets go by. */
static bool is_vhost(const struct run_options *o, const char *name)
{
	for (uint32_t i = 0; i < o->net_count; i++)
		if (!strcmp(name, o->nets[i].id))
			return o->nets[i].vhost;
	return o->vsock.vhost && !strcmp(name, "vsock");
}

static int take_line(struct table *table, const struct run_options *o, char *line, unsigned number)
{
	static const char blank[] = " \t\r\n";
	char where[64], *rest, *name = strtok_r(line, blank, &rest), *text = strtok_r(NULL, blank, &rest);
	struct rates *rates;

	if (!name || *name == '#')
		return 0;
	snprintf(where, sizeof(where), "--limits line %u: %.32s", number, name);
	rates = table_find(table, o, name);
	if (!rates)
		return complain("%s: there is no such device; `vm` is all of them together", where);
	if (is_vhost(o, name))
		return complain("%s: is served by the kernel (vhost), and cannot be limited here", where);
	if (!text || strtok_r(NULL, blank, &rest))
		return complain("%s: must be followed by bps=N,iops=N,burst=MS, without blanks", where);
	return rates_parse(rates, where, text);
}

static int read_table(struct table *table, const struct run_options *o)
{
	char *line = NULL;
	size_t room = 0;
	int failed = 0;
	FILE *file;

	table_begin(table, o);
	if (!o->limits)
		return 0;
	file = fopen(o->limits, "re");
	if (!file)
		return complain("--limits %s: %s", o->limits, strerror(errno));
	for (unsigned number = 1; !failed && getline(&line, &room, file) >= 0; number++)
		failed = take_line(table, o, line, number);
	if (!failed && ferror(file))
		failed = complain("--limits %s: cannot be read", o->limits);
	free(line);
	(void)fclose(file);
	return failed;
}

/* ---- The limits ---- */

/* With a file there is one for each, which may be unlimited for now. */
static int make(const struct run_options *o, const struct rates *rates, struct vdb_limit **out)
{
	struct vdb_limit_config config = config_of(rates);

	if (!rates->given && !o->limits)
		return 0;
	return vdb_limit_create(&config, out) ? complain("%s", vdb_errmsg()) : 0;
}

int limits_create(struct run *run)
{
	struct run_options *o = &run->options;
	struct table table;
	int failed = read_table(&table, o);

	if (!failed)
		failed = make(o, &table.vm, &run->limit);
	if (!failed && o->vsock.given)
		failed = make(o, &table.vsock, &o->vsock.limit);
	for (uint32_t i = 0; i < o->disk_count && !failed; i++)
		failed = make(o, &table.disks[i], &o->disks[i].limit);
	for (uint32_t i = 0; i < o->net_count && !failed; i++)
		failed = make(o, &table.nets[i], &o->nets[i].limit);
	return failed;
}

void limits_destroy(struct run *run)
{
	vdb_limit_destroy(run->limit);
	vdb_limit_destroy(run->options.vsock.limit);
	for (uint32_t i = 0; i < run->options.disk_count; i++)
		vdb_limit_destroy(run->options.disks[i].limit);
	for (uint32_t i = 0; i < run->options.net_count; i++)
		vdb_limit_destroy(run->options.nets[i].limit);
}

static void set(struct vdb_limit *limit, const struct rates *rates)
{
	struct vdb_limit_config config = config_of(rates);

	if (vdb_limit_set(limit, &config))
		complain("%s", vdb_errmsg());
}

void limits_reload(struct run *run)
{
	struct run_options *o = &run->options;
	struct table table;

	if (!o->limits || read_table(&table, o))
		return;
	set(run->limit, &table.vm);
	for (uint32_t i = 0; i < o->disk_count; i++)
		set(o->disks[i].limit, &table.disks[i]);
	for (uint32_t i = 0; i < o->net_count; i++)
		set(o->nets[i].limit, &table.nets[i]);
	if (o->vsock.given)
		set(o->vsock.limit, &table.vsock);
	complain("--limits %s: taken up", o->limits);
}
