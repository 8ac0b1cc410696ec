/* SPDX-License-Identifier: Apache-2.0 */
#include "balloon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <vdb/error.h>

#include "keys.h"
#include "run.h"
#include "tinyvmm.h"
#include "values.h"

/* ---- What the user wants ---- */

/* "on", "off", or nothing, which is on. */
static int on_off(const char *what, const char *text, bool *value)
{
	static const struct choice choices[] = {{"on", true}, {"off", false}, {0}};
	uint32_t chosen = true;

	if (text && value_choice(what, text, choices, &chosen))
		return -1;
	*value = chosen;
	return 0;
}

static int take_target(const char *what, const char *text, uint64_t *target)
{
	if (value_size(what, text, target))
		return -1;
	if (*target % VDB_PAGE_SIZE)
		return complain("%s %s: must be a multiple of %u bytes", what, text, VDB_PAGE_SIZE);
	return 0;
}

/* A line with the target. */
static int read_file(const char *path, uint64_t *target)
{
	char line[64] = "", what[128];
	FILE *file = fopen(path, "re");
	uint64_t value = 0;

	if (!file)
		return complain("--balloon file %s: %s", path, strerror(errno));
	if (!fgets(line, sizeof(line), file)) {
		int err = ferror(file) ? errno : 0;

		(void)fclose(file);
		return complain("--balloon file %s: %s; its first line is to be the target, such as 64M",
		                path, err ? strerror(err) : "is empty");
	}
	(void)fclose(file);
	line[strcspn(line, " \t\r\n")] = '\0';
	snprintf(what, sizeof(what), "--balloon file %.100s:", path);
	if (take_target(what, line, &value))
		return -1;
	*target = value;
	return 0;
}

static int take_file(struct balloon_option *option, const char *path)
{
	if (strlen(path) >= sizeof(option->file))
		return complain("--balloon file: is too long");
	memcpy(option->file, path, strlen(path) + 1);
	return read_file(path, &option->target);
}

static int take(void *to, const char *name, const char *value)
{
	struct balloon_option *option = to;

	if (!strcmp(name, "reporting"))
		return on_off("--balloon reporting", value, &option->reporting);
	if (!strcmp(name, "oom"))
		return on_off("--balloon oom", value, &option->on_oom);
	if (strcmp(name, "target") != 0 && strcmp(name, "file") != 0 && strcmp(name, "stats") != 0)
		return complain("--balloon: no key `%s`; see `tinyvmm run --help`", name);
	if (!value || !*value)
		return complain("--balloon %s: needs a value: %s=...", name, name);
	if (!strcmp(name, "stats"))
		return value_number32("--balloon stats", value, 1, 86400, &option->seconds);
	if (*option->file || option->target_given)
		return complain("--balloon %s %s: say one of target=BYTES and file=FILE, once", name, value);
	if (!strcmp(name, "file"))
		return take_file(option, value);
	option->target_given = true;
	return take_target("--balloon target", value, &option->target);
}

int balloon_parse(struct balloon_option *option, const char *text)
{
	if (option->given)
		return complain("--balloon %s: one is all that a machine has", text);
	*option = (struct balloon_option){.given = true};
	return keys_parse("--balloon", text, take, option);
}

int balloon_check(const struct balloon_option *option, uint64_t memory, bool registered)
{
	if (!option->given)
		return 0;
	if (registered)
		return complain(
		        "--balloon: pages that are given back cannot be registered; leave out --uring "
		        "memory");
	if (option->target > memory)
		return complain("--balloon target %llu: is more than there is, --memory %llu",
		                (unsigned long long)option->target, (unsigned long long)memory);
	return 0;
}

/* ---- The device ---- */

uint32_t balloon_count(const struct run_options *options)
{
	return options->balloon.given;
}

int balloon_create(struct run *run, struct device *device, uint32_t index)
{
	struct balloon_option *option = &run->options.balloon;
	const struct vdb_virtio_config at = devices_on_first(run, device);
	const struct vdb_balloon_config config = {
	        .size = sizeof(config),
	        .flags = (option->reporting ? VDB_BALLOON_REPORTING : 0) |
	                 (option->on_oom ? VDB_BALLOON_DEFLATE_ON_OOM : 0),
	        .at = &at,
	        .target = option->target,
	        .stats_ms = option->seconds * 1000,
	};

	int err;

	(void)index;
	device->name = "balloon";
	err = vdb_balloon_create(&config, &device->virtio);
	option->device = device->virtio;
	return err;
}

void balloon_reload(struct run *run)
{
	struct balloon_option *option = &run->options.balloon;
	uint64_t target = 0;

	if (!option->device || !*option->file || read_file(option->file, &target))
		return;
	if (target > run->options.memory)
		complain("--balloon file %s: is more than there is, --memory %llu", option->file,
		         (unsigned long long)run->options.memory);
	else if (vdb_balloon_target(option->device, target))
		complain("balloon: %s", vdb_errmsg());
	else
		complain("balloon: the target is %llu bytes now", (unsigned long long)target);
}
