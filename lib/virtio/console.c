/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-console (5.3) with one port, in front of a chardev. A chain that cannot be served yet, because no
 * input has come or no output fits, waits in its queue here; the chardev says when to go on.
 */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/console.h>

#include "base/atomic.h"
#include "base/error.h"
#include "base/export.h"
#include "base/list.h"
#include "io/chardev.h"
#include "io/cursor.h"
#include "loop/source.h"
#include "virtio/device.h"
#include "virtio/ready.h"

enum { RECEIVE, TRANSMIT, QUEUES };

#define BITE 4096u        /* bytes between guest memory and a FIFO that lie on the stack meanwhile */
#define TURN (64u * 1024) /* output of one turn, where nothing holds it up */
#define EMERGENCY offsetof(struct virtio_console_config, emerg_wr)

enum { IDLE, POSTED, ORPHANED };

struct console {
	struct vdb_chardev *chardev;
	struct vdb_loop *loop;
	struct vdb_backend *backends[QUEUES];
	uint32_t size; /* columns, and rows above; any thread */
	/* Loop's thread. */
	struct vdb__list waiting[QUEUES]; /* FIFO of struct wait */
	struct vdb__post again;
	uint32_t posted; /* of `again`: IDLE.. */
};

/* In req->scratch. */
struct wait {
	struct vdb__list link;
	struct vdb__cursor at; /* in its iov */
	uint64_t done;         /* bytes of output that are through */
};
_Static_assert(sizeof(struct wait) <= sizeof(((struct vdb_req *)0)->scratch), "scratch");

static struct wait *wait_of(struct vdb_req *req)
{
	return (struct wait *)(void *)req->scratch;
}

static struct vdb_req *first(struct vdb__list *list)
{
	struct vdb__list *link = list->next;

	if (link == list)
		return NULL;
	return vdb__container(vdb__container(link, struct wait, link), struct vdb_req, scratch);
}

static void complete(struct vdb_req *req, int64_t result)
{
	vdb__list_remove(&wait_of(req)->link);
	vdb_req_complete(req, (int32_t)result);
}

/* ---- Input ---- */

static uint64_t fill(struct console *console, struct vdb_req *req)
{
	uint64_t room = req->len - req->readable, done = 0;
	struct wait *wait = wait_of(req);
	char bite[BITE], *from;
	struct iovec piece;
	size_t n, part;

	while (done < room) {
		n = room - done < BITE ? (size_t)(room - done) : BITE;
		n = vdb__chardev_get(console->chardev, bite, n);
		if (!n)
			break;
		for (from = bite; n; from += part, n -= part, done += part) {
			piece = vdb__cursor_piece(&wait->at, req->iov, n);
			part = piece.iov_len;
			memcpy(piece.iov_base, from, part);
			vdb__cursor_pass(&wait->at, req->iov, part);
		}
	}
	return done;
}

static void receive(struct console *console)
{
	struct vdb_req *req;
	uint64_t n;

	while ((req = first(&console->waiting[RECEIVE]))) {
		n = fill(console, req);
		if (!n && req->len > req->readable)
			return;
		complete(req, (int64_t)n);
	}
}

/* ---- Output ---- */

/* At most `max` bytes. True: the request is through. */
static bool drain(struct console *console, struct vdb_req *req, uint64_t *max)
{
	struct wait *wait = wait_of(req);
	struct iovec piece;
	char bite[BITE];
	size_t n;

	while (wait->done < req->readable && *max) {
		piece = vdb__cursor_piece(&wait->at, req->iov, *max < BITE ? *max : BITE);
		memcpy(bite, piece.iov_base, piece.iov_len);
		n = vdb__chardev_put(console->chardev, bite, piece.iov_len);
		vdb__cursor_pass(&wait->at, req->iov, n);
		wait->done += n;
		*max -= n;
		if (n < piece.iov_len)
			break;
	}
	return wait->done == req->readable;
}

/* One turn's worth. True: there is more that nothing holds up. */
static bool transmit_some(struct console *console)
{
	uint64_t max = TURN;
	struct vdb_req *req;

	while ((req = first(&console->waiting[TRANSMIT])) && drain(console, req, &max))
		complete(req, 0);
	return req && !max;
}

/* What the chardev takes is bounded by its FIFO, or not at all: the rest has its turn later. */
static void transmit(struct console *console)
{
	if (vdb__load(&console->posted) == IDLE && transmit_some(console)) {
		vdb__store(&console->posted, (uint32_t)POSTED);
		vdb__loop_post(console->loop, &console->again);
	}
}

/* Still POSTED meanwhile: destroy() leaves the console to whom it finds at work. */
static void transmit_again(struct vdb__post *post, int status)
{
	struct console *console = vdb__container(post, struct console, again);

	if (!status && transmit_some(console))
		vdb__loop_post(console->loop, post);
	else if (vdb__exchange(&console->posted, (uint32_t)IDLE) == ORPHANED)
		free(console);
}

/* ---- Requests ---- */

static int start_receive(void *ctx, struct vdb_req *req)
{
	struct console *console = ctx;

	*wait_of(req) = (struct wait){0};
	vdb__cursor_skip(&wait_of(req)->at, req->iov, req->readable);
	vdb__list_append(&console->waiting[RECEIVE], &wait_of(req)->link);
	receive(console);
	return VDB_REQ_PENDING;
}

static int start_transmit(void *ctx, struct vdb_req *req)
{
	struct console *console = ctx;
	bool alone = !first(&console->waiting[TRANSMIT]);

	*wait_of(req) = (struct wait){0};
	vdb__list_append(&console->waiting[TRANSMIT], &wait_of(req)->link);
	if (alone) /* else somebody waits for the chardev already */
		transmit(console);
	return VDB_REQ_PENDING;
}

static void cancel(void *ctx, struct vdb_req *req)
{
	(void)ctx;
	complete(req, -ECANCELED);
}

static int make_backend(struct console *console, uint32_t queue)
{
	static const struct vdb_backend_ops ops[QUEUES] = {
	        [RECEIVE] = {.size = sizeof(ops[0]),
	                     .name = "console input",
	                     .start = start_receive,
	                     .cancel = cancel},
	        [TRANSMIT] = {.size = sizeof(ops[0]),
	                      .name = "console output",
	                      .start = start_transmit,
	                      .cancel = cancel},
	};
	/* The chardev is of one loop. */
	static const struct vdb_backend_info info = {
	        .size = sizeof(info), .flags = VDB_BACKEND_FIXED, .ops = 1u << 31};

	return vdb_backend_create(&ops[queue], console, &info, &console->backends[queue]);
}

static void readable(void *arg)
{
	receive(arg);
}

static void writable(void *arg)
{
	transmit(arg);
}

/* ---- The device ---- */

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	uint32_t size = vdb__load(&((struct console *)ctx)->size);
	const struct virtio_console_config config = {
	        .cols = htole16((uint16_t)size),
	        .rows = htole16((uint16_t)(size >> 16)),
	        .max_nr_ports = htole32(1),
	};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* The emergency write: a character of a driver that has no queues yet, or none any more. */
static void config_write(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
	struct console *console = ctx;

	if (offset <= EMERGENCY && EMERGENCY - offset < len)
		(void)vdb__chardev_put(console->chardev, (const char *)data + (EMERGENCY - offset), 1);
}

static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	return ((struct console *)ctx)->backends[index];
}

/* The post may be on its way still, and is the last then. */
static void drop(struct console *console)
{
	for (unsigned i = 0; i < QUEUES; i++)
		vdb_backend_destroy(console->backends[i]);
	if (vdb__exchange(&console->posted, (uint32_t)ORPHANED) == IDLE)
		free(console);
}

static void destroy(void *ctx)
{
	struct console *console = ctx;

	vdb__chardev_unbind(console->chardev);
	drop(console);
}

static const struct vdb_virtio_ops console_ops = {
        .size = sizeof(console_ops),
        .device_id = 3,
        .name = "console",
        .config_read = config_read,
        .config_write = config_write,
        .backend = backend_of,
        .destroy = destroy,
};

static int make(struct vdb_chardev *chardev, struct vdb_loop *loop, struct console **out)
{
	struct console *console = calloc(1, sizeof(*console));
	int rc = console ? 0 : vdb__fail(ENOMEM, "console: no memory");

	if (rc)
		return rc;
	console->chardev = chardev;
	console->loop = loop;
	console->again.fn = transmit_again;
	for (uint32_t i = 0; i < QUEUES && !rc; i++) {
		vdb__list_init(&console->waiting[i]);
		rc = make_backend(console, i);
	}
	if (rc)
		drop(console);
	else
		*out = console;
	return rc;
}

static int check(const struct vdb_virtio_config *at, const struct vdb_chardev *chardev)
{
	if (!chardev)
		return vdb__fail(EINVAL, "console: a chardev must be given");
	if (vdb__chardev_loop(chardev) != at->loop)
		return vdb__fail(EINVAL, "console: its chardev is on another loop; make both on one");
	return 0;
}

/* The loop may call from the bind on: nothing waits yet. */
static int create(struct console *console, const struct vdb_virtio_config *at, struct vdb_virtio **out)
{
	const struct vdb__chardev_user user = {.readable = readable, .writable = writable, .arg = console};
	struct vdb_virtio *device = NULL;
	int rc = vdb__chardev_bind(console->chardev, &user);

	if (rc)
		return rc;
	rc = vdb_virtio_create(&console_ops, console, at, &device);
	if (rc)
		vdb__chardev_unbind(console->chardev);
	else
		*out = device;
	return rc;
}

VDB_EXPORT int vdb_console_create(const struct vdb_virtio_config *at, struct vdb_chardev *chardev,
                                  struct vdb_virtio **out)
{
	struct console *console = NULL;
	struct vdb_virtio_config own;
	int rc = vdb__virtio_at(&own, at, "console");

	if (!rc)
		rc = check(&own, chardev);
	if (!rc)
		rc = make(chardev, own.loop, &console);
	if (rc)
		return rc;
	own.features = 1ull << VIRTIO_CONSOLE_F_SIZE | 1ull << VIRTIO_CONSOLE_F_EMERG_WRITE;
	own.queues = QUEUES;
	own.config_len = sizeof(struct virtio_console_config);
	rc = create(console, &own, out);
	if (rc)
		drop(console);
	return rc;
}

VDB_EXPORT int vdb_console_resize(struct vdb_virtio *device, uint16_t columns, uint16_t rows)
{
	struct console *console = vdb__virtio_ctx(device, &console_ops);

	if (!console)
		return -EINVAL;
	vdb__store(&console->size, (uint32_t)rows << 16 | columns);
	vdb_virtio_config_changed(device);
	return 0;
}
