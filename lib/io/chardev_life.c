/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chardev's life: made on any thread, given to the loop by a post, flushed and taken
 * from it by another, freed. As with lanes, `gone` says that the loop holds nothing any more.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "io/chardev_state.h"

#define DEFAULT_FIFO (64u * 1024)
#define MAX_FIFO (16u << 20)

static void drop(struct vdb_chardev *c)
{
	vdb__stream_close(&c->tx.stream);
	vdb__stream_close(&c->rx.stream);
	pthread_mutex_destroy(&c->lock);
	pthread_mutex_destroy(&c->user_lock);
	free(c->out.data);
	free(c->in.data);
	free(c);
}

static void drop_doomed(struct vdb_chardev *c)
{
	vdb_done_fn done = c->done;
	void *arg = c->done_arg;

	drop(c);
	if (done)
		done(arg);
}

/* From here on nobody posts: true if none is on its way. */
static bool die(struct vdb_chardev *c)
{
	bool posted;

	pthread_mutex_lock(&c->lock);
	c->dead = true;
	posted = c->posted;
	pthread_mutex_unlock(&c->lock);
	return !posted;
}

void vdb__chardev_settled(struct vdb_chardev *c)
{
	if (!c->closing || c->tx.busy || c->rx.busy || vdb__load(&c->gone) || !die(c))
		return;
	if (c->member)
		vdb__loop_part_member(&c->as_member);
	c->member = false;
	if (c->doomed)
		drop_doomed(c);
	else
		vdb__store_release(&c->gone, 1u); /* pairs with vdb_chardev_destroy() */
}

/* A disk takes what it takes and then ends by itself; for a peer nobody waits. */
static void let_end(struct vdb_chardev *c, struct vdb__chardev_side *side)
{
	if (side->busy && side->stream.kind != VDB__STREAM_DISK)
		vdb_io_cancel(c->loop, &side->io);
}

static void start_closing(struct vdb_chardev *c)
{
	if (c->closing)
		return;
	c->closing = true;
	vdb__chardev_flush(c);
	let_end(c, &c->tx);
	let_end(c, &c->rx);
	vdb__chardev_settled(c);
}

static void member_leave(struct vdb__member *member)
{
	start_closing(vdb__container(member, struct vdb_chardev, as_member));
}

/* ---- Posts: on the loop's thread, or on the one that destroys the loop ---- */

static void work(struct vdb__post *post, int status)
{
	struct vdb_chardev *c = vdb__container(post, struct vdb_chardev, work);

	(void)status;
	pthread_mutex_lock(&c->lock);
	c->posted = false;
	pthread_mutex_unlock(&c->lock);
	if (!c->closing)
		vdb__chardev_pump(c);
	vdb__chardev_settled(c);
}

static void attach(struct vdb__post *post, int status)
{
	struct vdb_chardev *c = vdb__container(post, struct vdb_chardev, attach);

	if (status < 0) { /* the loop never ran, and never will */
		c->closing = true;
		vdb__chardev_settled(c);
		return;
	}
	c->member = true;
	vdb__loop_join_member(c->loop, &c->as_member);
	vdb__chardev_pump(c);
}

static void destroy(struct vdb__post *post, int status)
{
	struct vdb_chardev *c = vdb__container(post, struct vdb_chardev, destroy);

	(void)status;
	c->doomed = true;
	if (vdb__load(&c->gone))
		drop_doomed(c);
	else
		start_closing(c);
}

/* ---- Any thread ---- */

VDB_EXPORT void vdb_chardev_destroy(struct vdb_chardev *c, vdb_done_fn done, void *arg)
{
	if (!c)
		return;
	c->done = done;
	c->done_arg = arg;
	if (vdb__load_acquire(&c->gone))
		drop_doomed(c);
	else
		vdb__loop_post(c->loop, &c->destroy);
}

static int check_config(const struct vdb_loop *loop, const struct vdb_chardev_config *config)
{
	if (!loop)
		return vdb__fail(EINVAL, "chardev: a loop must be given");
	if (config->output && config->out_fd > 0)
		return vdb__fail(EINVAL, "chardev: out_fd and output are both set; give one of them");
	if (config->fifo > MAX_FIFO)
		return vdb__fail(EINVAL, "chardev: fifo of %u bytes; at most %u", config->fifo, MAX_FIFO);
	return 0;
}

static int make_fifo(struct vdb__fifo *fifo, uint32_t size)
{
	fifo->size = size ? size : DEFAULT_FIFO;
	fifo->data = malloc(fifo->size);
	return fifo->data ? 0 : vdb__fail(ENOMEM, "chardev: no memory");
}

static int acquire(struct vdb_chardev *c, const struct vdb_chardev_config *config)
{
	int rc = make_fifo(&c->out, config->fifo);

	if (!rc)
		rc = make_fifo(&c->in, config->fifo);
	if (!rc)
		rc = vdb__stream_open(&c->tx.stream, config->out_fd, O_WRONLY);
	if (!rc)
		rc = vdb__stream_open(&c->rx.stream, config->in_fd, O_RDONLY);
	return rc;
}

static void set_up(struct vdb_chardev *c, const struct vdb_chardev_config *config)
{
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->user_lock, NULL);
	c->tx.stream.fd = c->rx.stream.fd = -1;
	c->output = config->output;
	c->filter = config->filter;
	c->closed = config->closed;
	c->arg = config->arg;
	c->sinkless = !config->output && config->out_fd <= 0;
	c->work.fn = work;
	c->attach.fn = attach;
	c->destroy.fn = destroy;
	vdb__list_init(&c->as_member.link);
	c->as_member.leave = member_leave;
}

VDB_EXPORT int vdb_chardev_create(struct vdb_loop *loop, const struct vdb_chardev_config *config,
                                  struct vdb_chardev **out)
{
	struct vdb_chardev_config own;
	struct vdb_chardev *c;
	int rc = vdb__config_take(&own, sizeof(own), config, "chardev config");

	if (!rc)
		rc = check_config(loop, &own);
	if (rc)
		return rc;
	c = calloc(1, sizeof(*c));
	if (!c)
		return vdb__fail(ENOMEM, "chardev: no memory");
	c->loop = loop;
	set_up(c, &own);
	rc = acquire(c, &own);
	if (rc) {
		drop(c);
		return rc;
	}
	*out = c;
	vdb__loop_post(loop, &c->attach);
	return 0;
}
