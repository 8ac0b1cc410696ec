/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statistics of the guest's memory (5.5.6.3). The driver gives one buffer with what it has to say; it goes
 * back when the host wants to hear more, by a timer or because the embedder asks, and returns with news.
 * The timer is there only while a buffer is: who has no driver is not woken.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "io/cursor.h"
#include "loop/state.h"
#include "virtio/balloon.h"

#define STAT_BYTES 10u /* a 16-bit tag, and a 64-bit value */
#define MAX_STATS 64u  /* that are looked at, of one buffer */
#define NS_PER_MS 1000000u

static struct vdb__balloon *balloon_of(struct vdb__balloon_poll *poll)
{
	return vdb__container(poll, struct vdb__balloon, poll);
}

/* ---- The buffer's way back; the thread of its loop ---- */

static void give_back(struct vdb__balloon_poll *poll, int32_t result)
{
	struct vdb_timer *timer;
	struct vdb_req *req;

	pthread_mutex_lock(&poll->lock);
	req = poll->pending;
	timer = poll->timer;
	poll->pending = NULL;
	poll->timer = NULL;
	pthread_mutex_unlock(&poll->lock);
	vdb_timer_destroy(timer);
	if (req)
		vdb_req_complete(req, result);
}

static void expired(void *arg)
{
	give_back(arg, 0);
}

/* A timer for the buffer, as `ms` says now. Without memory for one it waits for who asks. */
static void arm(struct vdb__balloon_poll *poll)
{
	pthread_mutex_lock(&poll->lock);
	if (poll->ms && (poll->timer || !vdb_timer_create(poll->pending->loop, expired, poll, &poll->timer)))
		vdb_timer_arm(poll->timer, (uint64_t)poll->ms * NS_PER_MS);
	else if (poll->timer)
		vdb_timer_disarm(poll->timer);
	pthread_mutex_unlock(&poll->lock);
}

static void cancel(void *ctx, struct vdb_req *req)
{
	struct vdb__balloon_poll *poll = &((struct vdb__balloon *)ctx)->poll;

	/* There is one at most. */
	if (poll->pending == req)
		give_back(poll, -ECANCELED);
}

/* ---- What it says ---- */

static void read_list(struct vdb_req *req, uint8_t *to, size_t n)
{
	struct vdb__cursor at = {0, 0};
	struct iovec piece;

	for (; n; to += piece.iov_len, n -= piece.iov_len) {
		piece = vdb__cursor_piece(&at, req->iov, n);
		memcpy(to, piece.iov_base, piece.iov_len);
		vdb__cursor_pass(&at, req->iov, piece.iov_len);
	}
}

/* Locked. A tag that nobody knows is passed over. */
static void take_values(struct vdb__balloon_poll *poll, const uint8_t *list, size_t n)
{
	uint64_t value;
	uint16_t tag;

	poll->has = 0;
	for (size_t i = 0; i + STAT_BYTES <= n; i += STAT_BYTES) {
		memcpy(&tag, list + i, sizeof(tag));
		memcpy(&value, list + i + sizeof(tag), sizeof(value));
		tag = le16toh(tag);
		if (tag >= VDB__BALLOON_VALUES)
			continue;
		poll->values[tag] = le64toh(value);
		poll->has |= 1u << tag;
	}
	poll->updates++;
	poll->at = vdb__now();
}

static int start(void *ctx, struct vdb_req *req)
{
	struct vdb__balloon *balloon = ctx;
	struct vdb__balloon_poll *poll = &balloon->poll;
	uint8_t list[MAX_STATS * STAT_BYTES];
	size_t n = req->readable < sizeof(list) ? (size_t)req->readable : sizeof(list);

	if (req->len != req->readable) {
		vdb__balloon_count(&balloon->wrong, 1);
		return -EINVAL;
	}
	read_list(req, list, n);
	/* A second one is against the rules: the first goes back. */
	give_back(poll, 0);
	pthread_mutex_lock(&poll->lock);
	take_values(poll, list, n);
	poll->pending = req;
	pthread_mutex_unlock(&poll->lock);
	arm(poll);
	if (poll->updated)
		poll->updated(poll->arg);
	return VDB_REQ_PENDING;
}

const struct vdb_backend_ops vdb__balloon_stats_ops = {
        .size = sizeof(vdb__balloon_stats_ops),
        .name = "balloon statistics",
        .start = start,
        .cancel = cancel,
};

/* ---- Any thread ---- */

/*
 * `posted` ends before the work, so that who wants more meanwhile posts again. Without a buffer, or if it has
 * come back on another loop since, there is nothing to do: it brought news by itself, and got the interval of
 * then. While there is one, the device cannot go.
 */
static void run(struct vdb__post *post, int status)
{
	struct vdb__balloon_poll *poll = vdb__container(post, struct vdb__balloon_poll, post);
	bool orphaned, asked;

	pthread_mutex_lock(&poll->lock);
	orphaned = poll->orphaned;
	asked = poll->asked;
	poll->posted = poll->asked = false;
	if (!poll->pending || poll->pending->loop != poll->posted_to)
		status = -ECANCELED;
	pthread_mutex_unlock(&poll->lock);
	if (orphaned)
		vdb__balloon_free(balloon_of(poll));
	else if (!status && asked)
		give_back(poll, 0);
	else if (!status)
		arm(poll);
}

/* Locked. */
static void post(struct vdb__balloon_poll *poll)
{
	if (!poll->pending || poll->posted)
		return;
	poll->posted = true;
	poll->posted_to = poll->pending->loop;
	vdb__loop_post(poll->posted_to, &poll->post);
}

void vdb__balloon_poll_set(struct vdb__balloon *balloon, uint32_t ms)
{
	struct vdb__balloon_poll *poll = &balloon->poll;

	pthread_mutex_lock(&poll->lock);
	poll->ms = ms;
	post(poll);
	pthread_mutex_unlock(&poll->lock);
}

void vdb__balloon_poll_now(struct vdb__balloon *balloon)
{
	struct vdb__balloon_poll *poll = &balloon->poll;

	pthread_mutex_lock(&poll->lock);
	poll->asked = poll->pending;
	post(poll);
	pthread_mutex_unlock(&poll->lock);
}

void vdb__balloon_values(struct vdb__balloon *balloon, struct vdb_balloon_stats *stats)
{
	struct vdb__balloon_poll *poll = &balloon->poll;

	_Static_assert(sizeof(*stats) - offsetof(struct vdb_balloon_stats, swapped_in) ==
	                       sizeof(poll->values),
	               "a field for each value, in the order of their tags");
	pthread_mutex_lock(&poll->lock);
	stats->has = poll->has;
	stats->updates = poll->updates;
	stats->age_ns = poll->updates ? vdb__now() - poll->at : 0;
	memcpy(&stats->swapped_in, poll->values, sizeof(poll->values));
	pthread_mutex_unlock(&poll->lock);
}

/* ---- Life ---- */

void vdb__balloon_poll_init(struct vdb__balloon *balloon, const struct vdb_balloon_config *config)
{
	struct vdb__balloon_poll *poll = &balloon->poll;

	/* Default attributes: cannot fail. */
	pthread_mutex_init(&poll->lock, NULL);
	poll->post.fn = run;
	poll->ms = config->stats_ms;
	poll->updated = config->updated;
	poll->arg = config->arg;
}

void vdb__balloon_poll_reset(struct vdb__balloon *balloon)
{
	struct vdb__balloon_poll *poll = &balloon->poll;

	pthread_mutex_lock(&poll->lock);
	poll->has = 0;
	memset(poll->values, 0, sizeof(poll->values));
	pthread_mutex_unlock(&poll->lock);
}

bool vdb__balloon_poll_end(struct vdb__balloon *balloon)
{
	struct vdb__balloon_poll *poll = &balloon->poll;
	bool idle;

	pthread_mutex_lock(&poll->lock);
	idle = !poll->posted;
	poll->orphaned = true;
	pthread_mutex_unlock(&poll->lock);
	return idle;
}
