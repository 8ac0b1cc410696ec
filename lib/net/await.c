/* SPDX-License-Identifier: Apache-2.0 */
#include "net/await.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/list.h"

struct vdb__await {
	struct vdb_io io;
	struct vdb_loop *loop;
	struct vdb__netfd *fd;
	void (*ready)(void *arg, int error);
	void *arg;
	bool busy, dropped;
};

int vdb__netfd_open(int fd, struct vdb__netfd **out)
{
	struct vdb__netfd *own = malloc(sizeof(*own));
	int err;

	if (!own)
		return vdb__fail(ENOMEM, "netdev: no memory");
	own->refs = 1;
	own->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (own->fd < 0) {
		err = errno;
		free(own);
		return vdb__fail_sys(err, "netdev: cannot duplicate fd %d", fd);
	}
	*out = own;
	return 0;
}

void vdb__netfd_ref(struct vdb__netfd *fd)
{
	vdb__ref_get(&fd->refs);
}

void vdb__netfd_unref(struct vdb__netfd *fd)
{
	if (!fd || !vdb__ref_put(&fd->refs))
		return;
	close(fd->fd);
	free(fd);
}

static void finish(struct vdb__await *await)
{
	vdb__netfd_unref(await->fd);
	free(await);
}

static void done(struct vdb_io *io, int64_t result)
{
	struct vdb__await *await = vdb__container(io, struct vdb__await, io);

	await->busy = false;
	if (await->dropped)
		finish(await);
	else if (result != -ECANCELED)
		await->ready(await->arg, result < 0 ? (int)result : 0);
}

int vdb__await_create(struct vdb_loop *loop, struct vdb__netfd *fd, void (*ready)(void *arg, int error),
                      void *arg, struct vdb__await **out)
{
	struct vdb__await *await = calloc(1, sizeof(*await));

	if (!await)
		return vdb__fail(ENOMEM, "netdev: no memory");
	vdb__netfd_ref(fd);
	await->fd = fd;
	await->loop = loop;
	await->ready = ready;
	await->arg = arg;
	*out = await;
	return 0;
}

void vdb__await_start(struct vdb__await *await, short events)
{
	if (await->busy)
		return;
	await->busy = true;
	await->io = (struct vdb_io){
	        .op = VDB_IO_POLL,
	        .fd = await->fd->fd,
	        .mode = events,
	        .done = done,
	};
	vdb_io_submit(await->loop, &await->io);
}

void vdb__await_drop(struct vdb__await *await)
{
	if (!await)
		return;
	await->dropped = true;
	if (await->busy)
		vdb_io_cancel(await->loop, &await->io);
	else
		finish(await);
}
