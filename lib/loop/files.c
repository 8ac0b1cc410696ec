/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a loop was told of. An engine that can look them up once and for all does. */
#include "loop/files.h"

#include <stdlib.h>

#include "base/export.h"
#include "loop/state.h"

static struct vdb__file_slot *first_free(struct vdb__files *files)
{
	uint32_t i;

	if (!files->slots)
		files->slots = calloc(VDB__FILES_MAX, sizeof(*files->slots));
	if (!files->slots)
		return NULL;
	for (i = files->lowest; i < VDB__FILES_MAX && files->slots[i].used; i++)
		;
	files->lowest = i;
	return i < VDB__FILES_MAX ? &files->slots[i] : NULL;
}

static void tell_engine(struct vdb_loop *loop, struct vdb__file_slot *slot)
{
	const struct vdb__engine_ops *ops = loop->engine->ops;
	uint32_t index = (uint32_t)(slot - loop->files.slots);

	slot->known = ops->file && ops->file(loop->engine, index, slot->fd);
	slot->pollable = slot->known && ops->polls && ops->polls(loop->engine, index, slot->fd);
}

VDB_EXPORT uint32_t vdb_io_file_add(struct vdb_loop *loop, int fd)
{
	struct vdb__file_slot *slot = first_free(&loop->files);

	if (!slot || fd < 0)
		return 0;
	*slot = (struct vdb__file_slot){.fd = fd, .used = true};
	tell_engine(loop, slot);
	return (uint32_t)(slot - loop->files.slots) + 1;
}

VDB_EXPORT void vdb_io_file_remove(struct vdb_loop *loop, uint32_t file)
{
	struct vdb__files *files = &loop->files;
	struct vdb__file_slot *slot;

	if (!file)
		return;
	slot = &files->slots[file - 1];
	if (slot->known)
		(void)loop->engine->ops->file(loop->engine, file - 1, -1);
	if (slot->known && loop->engine->ops->polls)
		(void)loop->engine->ops->polls(loop->engine, file - 1, -1);
	*slot = (struct vdb__file_slot){0};
	if (file - 1 < files->lowest)
		files->lowest = file - 1;
}

void vdb__files_renew(struct vdb_loop *loop)
{
	for (uint32_t i = 0; loop->files.slots && i < VDB__FILES_MAX; i++)
		if (loop->files.slots[i].used)
			tell_engine(loop, &loop->files.slots[i]);
}

void vdb__files_unknown(struct vdb_loop *loop)
{
	for (uint32_t i = 0; loop->files.slots && i < VDB__FILES_MAX; i++)
		loop->files.slots[i].known = loop->files.slots[i].pollable = false;
}

void vdb__files_fini(struct vdb_loop *loop)
{
	free(loop->files.slots);
	loop->files.slots = NULL;
}
