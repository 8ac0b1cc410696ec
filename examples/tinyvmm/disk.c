/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <vdb/backend.h>
#include <vdb/error.h>
#include <vdb/virtio.h>

#include "keys.h"
#include "tinyvmm.h"
#include "values.h"

/* ---- What the user wants ---- */

/* One key of --disk. A switch may stand alone. */
struct key {
	const char *name;
	bool is_switch;
	int (*take)(struct disk *disk, const char *value);
};

static int on_off(const char *what, const char *text, bool *value)
{
	static const struct choice choices[] = {{"on", true}, {"off", false}, {0}};
	uint32_t chosen = true;

	if (text && value_choice(what, text, choices, &chosen))
		return -1;
	*value = chosen;
	return 0;
}

/* `room` counts the end of the string. */
static int text(const char *what, const char *from, char *to, size_t room)
{
	if (!*from)
		return complain("%s: is empty", what);
	if (strlen(from) >= room)
		return complain("%s %s: at most %zu characters", what, from, room - 1);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int take_null(struct disk *disk, const char *value)
{
	bool null = true;

	(void)disk;
	return on_off("--disk null", value, &null);
}

static int take_path(struct disk *disk, const char *value)
{
	return text("--disk path", value, disk->path, sizeof(disk->path));
}

static int take_size(struct disk *disk, const char *value)
{
	if (value_size("--disk size", value, &disk->size))
		return -1;
	if (!disk->size || disk->size % 512)
		return complain("--disk size %s: must be a multiple of 512 bytes", value);
	return 0;
}

static int take_queues(struct disk *disk, const char *value)
{
	return value_number32("--disk queues", value, 1, VDB_VIRTIO_MAX_QUEUES, &disk->queues);
}

static int take_id(struct disk *disk, const char *value)
{
	return text("--disk id", value, disk->id, sizeof(disk->id));
}

static int take_serial(struct disk *disk, const char *value)
{
	return text("--disk serial", value, disk->serial, sizeof(disk->serial));
}

static int take_readonly(struct disk *disk, const char *value)
{
	return on_off("--disk readonly", value, &disk->readonly);
}

static int take_direct(struct disk *disk, const char *value)
{
	return on_off("--disk direct", value, &disk->direct);
}

static int take_packed(struct disk *disk, const char *value)
{
	return on_off("--disk packed", value, &disk->packed);
}

static int take_write_through(struct disk *disk, const char *value)
{
	return on_off("--disk writethrough", value, &disk->write_through);
}

static int take_lock(struct disk *disk, const char *value)
{
	bool lock = true;
	int failed = on_off("--disk lock", value, &lock);

	disk->no_lock = !lock;
	return failed;
}

static const struct key keys[] = {
        {"null", true, take_null},
        {"path", false, take_path},
        {"size", false, take_size},
        {"queues", false, take_queues},
        {"id", false, take_id},
        {"serial", false, take_serial},
        {"readonly", true, take_readonly},
        {"direct", true, take_direct},
        {"packed", true, take_packed},
        {"writethrough", true, take_write_through},
        {"lock", true, take_lock},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

static int take(void *to, const char *name, const char *value)
{
	struct disk *disk = to;
	int taken = rates_take(&disk->rates, "--disk", name, value);

	if (taken <= 0)
		return taken;
	for (size_t i = 0; i < KEYS; i++) {
		if (strcmp(keys[i].name, name) != 0)
			continue;
		if (!value && !keys[i].is_switch)
			return complain("--disk %s: needs a value: %s=...", name, name);
		return keys[i].take(disk, value);
	}
	return complain("--disk: no key `%s`; see `tinyvmm run --help`", name);
}

int disk_parse(struct disk *disk, const char *from, uint32_t number, bool packed)
{
	*disk = (struct disk){.queues = 1, .packed = packed};
	snprintf(disk->id, sizeof(disk->id), "disk%u", number);
	if (keys_parse("--disk", from, take, disk))
		return -1;
	if (!*disk->path && !disk->size)
		return complain("--disk %s: say path=FILE, or null,size=BYTES", from);
	if (*disk->path && disk->size)
		return complain("--disk %s: size is for null; a file has its own", from);
	if (rates_check(&disk->rates, "--disk"))
		return -1;
	if (!*disk->serial)
		snprintf(disk->serial, sizeof(disk->serial), "%.20s", disk->id);
	return 0;
}

/* ---- Its backend ---- */

int disk_open(struct disk *disk)
{
	struct vdb_file_config config = {
	        .size = sizeof(config),
	        .flags = (disk->readonly ? VDB_FILE_READONLY : 0) | (disk->direct ? VDB_FILE_DIRECT : 0) |
	                 (disk->no_lock ? 0 : VDB_FILE_LOCK),
	        .path = disk->path,
	        .fd = -1,
	};
	int err;

	if (!*disk->path)
		err = vdb_backend_null(disk->size, &disk->backend);
	else
		err = vdb_backend_file(&config, &disk->backend);
	if (err == -ENOLCK)
		return complain("%s: %s; lock=off goes on without", disk->id, vdb_errmsg());
	return err ? complain("%s: %s", disk->id, vdb_errmsg()) : 0;
}

void disk_close(struct disk *disk)
{
	vdb_backend_destroy(disk->backend);
	disk->backend = NULL;
}
