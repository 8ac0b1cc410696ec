/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane's life: made on any thread, given to the loop by a post, drained, taken from the engine, freed.
 *
 * What crosses threads is one word, `wake`, and one post. Whoever finds the word 0 may post, to the loop
 * that the lane has then; the loop's thread has let go of the post when it makes the word 0 again. So there
 * is never more than one post, none can fail, and who sets a bit while none is on its way, to keep it so,
 * may do with the lane what he likes: end it, or give it to another loop.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "io/lane.h"
#include "loop/limit.h"

#define DEFAULT_INFLIGHT 128u
#define MAX_INFLIGHT 65536u

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Gives back everything but the lane itself. */
static void let_go(struct vdb_lane *lane)
{
	if (lane->joined)
		vdb__mem_leave(lane->queue->view.mem, &lane->as_user);
	lane->joined = false;
	vdb__lane_pool_drop(lane);
	vdb__lane_disclaim(lane);
	vdb_backend_destroy(lane->backend);
	vdb_tenant_destroy(lane->tenant);
	vdb__limit_unref(lane->source.limit);
	lane->backend = NULL;
	lane->tenant = NULL;
	lane->source.limit = NULL;
	close_fd(&lane->kick_fd);
	close_fd(&lane->call_fd);
}

static void free_doomed(struct vdb_lane *lane)
{
	vdb_done_fn done = lane->done;
	void *arg = lane->done_arg;

	if (lane->queue)
		lane->queue->ops->destroy(lane->queue);
	free(lane);
	if (done)
		done(arg);
}

/* Somebody has asked for the end, and this is it. */
static void left(struct vdb_lane *lane, bool doomed)
{
	if (doomed)
		free_doomed(lane);
	else
		lane->done(lane->done_arg); /* may free the lane */
}

/* The engine has let go and no post is on its way. */
static void end(struct vdb_lane *lane)
{
	uint32_t asked = (lane->kept ? VDB__WAKE_CLOSE : 0) | (lane->doomed ? VDB__WAKE_LEAVE : 0);

	vdb__list_remove(&lane->batch.link);
	vdb__lane_irq_flush(lane);
	if (lane->member)
		vdb__loop_part_member(&lane->as_member);
	lane->member = false;
	let_go(lane);
	if (!lane->kept) {
		lane->queue->ops->destroy(lane->queue);
		lane->queue = NULL;
	}
	lane->phase = VDB__LANE_GONE;
	if (lane->journey != VDB__LANE_STAYS)
		vdb__lane_told(lane, -ECANCELED);
	/* From here on whoever wants it gone does that alone: leave(). */
	asked |= vdb__fetch_or(&lane->wake, VDB__WAKE_GONE);
	if (asked & (VDB__WAKE_LEAVE | VDB__WAKE_CLOSE))
		left(lane, asked & VDB__WAKE_LEAVE);
}

/* A wake post that is queued still points into the lane: it will come and end it. */
static void end_unless_awaited(struct vdb_lane *lane)
{
	uint32_t before;

	lane->phase = VDB__LANE_REMOVING;
	if (lane->joined) {
		vdb__mem_leave(lane->queue->view.mem, &lane->as_user);
		lane->joined = false;
	}
	before = vdb__fetch_or(&lane->wake, VDB__WAKE_DEAD);
	if (before & VDB__WAKE_MOVE) /* later ones see that it is dead */
		lane->journey = VDB__LANE_ASKED;
	if (!before)
		end(lane);
}

static void source_gone(struct vdb__source *source)
{
	struct vdb_lane *lane = (struct vdb_lane *)source;

	vdb__lane_closed(lane);
	vdb__lane_withdraw(lane);
	if (lane->journey == VDB__LANE_MOVES && !lane->doomed && !lane->kept)
		vdb__lane_set_out(lane);
	else
		end_unless_awaited(lane);
}

void vdb__lane_drained(struct vdb_lane *lane)
{
	if (lane->inflight || !vdb__lane_drains(lane))
		return;
	lane->phase = VDB__LANE_REMOVING;
	vdb__lane_irq_flush(lane); /* its VM's timer may go with it */
	vdb__source_remove(&lane->source, source_gone);
}

static void start_closing(struct vdb_lane *lane)
{
	if (lane->phase != VDB__LANE_OPEN && lane->phase != VDB__LANE_MOVING)
		return;
	lane->phase = VDB__LANE_CLOSING;
	vdb__source_ending(&lane->source);
	vdb__lane_cancel(lane);
	vdb__loop_batch(lane->loop, &lane->batch);
}

/* One that moves is leaving already. */
static void member_leave(struct vdb__member *member)
{
	struct vdb_lane *lane = vdb__container(member, struct vdb_lane, as_member);

	if (lane->phase != VDB__LANE_MOVING)
		start_closing(lane);
}

/* ---- The post: on the loop's thread, or on the one that destroys the loop ---- */

/* There is no engine to serve it: the guest learns that much. */
static void attach_failed(struct vdb_lane *lane)
{
	lane->queue->ops->fail(lane->queue, VDB_REASON_HOST);
	vdb__lane_publish(lane);
	vdb__loop_unsignal(lane->loop, lane->call_fd);
	end_unless_awaited(lane);
}

/* The loop ends, or its engine does not want the lane, which may be gone afterwards. */
static void refused(struct vdb_lane *lane, int rc, bool loop_ends)
{
	if (lane->journey == VDB__LANE_MOVES) {
		if (!lane->failed)
			lane->failed = loop_ends ? -ESHUTDOWN : rc;
		if (vdb__load(&lane->arrival.loop)) {
			vdb__lane_set_out(lane); /* back again */
			return;
		}
	}
	if (loop_ends)
		end_unless_awaited(lane);
	else
		attach_failed(lane);
}

static int attach(struct vdb_lane *lane)
{
	if (!lane->known)
		vdb__lane_attach_queue(lane);
	lane->known = true;
	lane->request_cost = vdb__loop_request_cost(lane->loop);
	return vdb__source_add(lane->loop, &lane->source, lane->tenant, lane->kick_fd);
}

/* False: it may be gone. */
static bool come(struct vdb_lane *lane, int status)
{
	int rc = status ? status : attach(lane);

	if (rc) {
		refused(lane, rc, status < 0);
		return false;
	}
	vdb__lane_introduce(lane);
	lane->phase = VDB__LANE_OPEN;
	lane->member = true;
	vdb__loop_join_member(lane->loop, &lane->as_member);
	vdb__lane_opened(lane);
	if (lane->journey == VDB__LANE_MOVES)
		vdb__lane_arrived(lane);
	return true;
}

static void map_is_new(struct vdb_lane *lane)
{
	if (lane->phase != VDB__LANE_OPEN && !vdb__lane_drains(lane))
		return;
	vdb__lane_refresh(lane);
	vdb__loop_batch(lane->loop, &lane->batch); /* in case it broke the queue */
}

static void look(struct vdb_lane *lane, uint32_t why)
{
	if (why & VDB__WAKE_MAP)
		map_is_new(lane);
	if (lane->phase != VDB__LANE_OPEN || !(why & (VDB__WAKE_MAP | VDB__WAKE_KICK)))
		return;
	if (why & VDB__WAKE_KICK)
		vdb__lane_source_ops.kicked(&lane->source);
	/* For a new map, too: other memory behind the queue was never asked for a doorbell, and the
	 * VM has it before we do, so one may have come while we saw nothing. */
	vdb__source_ready(&lane->source);
}

static void woken(struct vdb__post *post, int status)
{
	struct vdb_lane *lane = vdb__container(post, struct vdb_lane, wake_post);
	uint32_t why = vdb__load(&lane->wake);

	if (why & VDB__WAKE_DEAD) {
		end(lane);
		return;
	}
	if (lane->phase == VDB__LANE_LEFT) {
		vdb__lane_hand_over(lane);
		return;
	}
	/* From here on others may post it again. Acquire: what they did before they asked. */
	why = vdb__exchange(&lane->wake, 0u);
	lane->kept |= (why & VDB__WAKE_CLOSE) != 0;
	lane->doomed |= (why & VDB__WAKE_LEAVE) != 0;
	if (why & VDB__WAKE_MOVE)
		lane->journey = VDB__LANE_ASKED;
	if (why & VDB__WAKE_ATTACH && !come(lane, status))
		return;
	look(lane, why);
	if (lane->journey == VDB__LANE_ASKED)
		vdb__lane_depart(lane);
	if (lane->kept || lane->doomed)
		start_closing(lane);
}

/* ---- Any thread ---- */

uint32_t vdb__lane_wake(struct vdb_lane *lane, uint32_t why)
{
	/* Acquire, pairs with the exchange in woken(): the loop has let go of the post. */
	uint32_t before = vdb__fetch_or(&lane->wake, why);

	if (!before)
		vdb__loop_post(lane->loop, &lane->wake_post);
	return before;
}

static void map_changed(struct vdb__mem_user *user)
{
	(void)vdb__lane_wake(vdb__container(user, struct vdb_lane, as_user), VDB__WAKE_MAP);
}

VDB_EXPORT void vdb_lane_kick(struct vdb_lane *lane)
{
	(void)vdb__lane_wake(lane, VDB__WAKE_KICK);
}

static void leave(struct vdb_lane *lane, uint32_t how)
{
	if (vdb__lane_wake(lane, how) & VDB__WAKE_GONE)
		left(lane, how == VDB__WAKE_LEAVE);
}

VDB_EXPORT void vdb_lane_destroy(struct vdb_lane *lane, vdb_done_fn done, void *arg)
{
	if (!lane)
		return;
	lane->done = done;
	lane->done_arg = arg;
	leave(lane, VDB__WAKE_LEAVE);
}

void vdb__lane_close(struct vdb_lane *lane, const uint32_t *finish, vdb_done_fn done, void *arg)
{
	lane->done = done;
	lane->done_arg = arg;
	lane->finish = finish;
	leave(lane, VDB__WAKE_CLOSE);
}

static int dup_fd(int fd, const char *what, int *out)
{
	if (fd <= 0)
		return 0;
	*out = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *out < 0 ? vdb__fail_sys(errno, "lane: cannot duplicate %s %d", what, fd) : 0;
}

/* A peer could leave its eventfd blocking, and full: the loop's thread must not wait there. */
static int unblock(int fd)
{
	int flags;

	if (fd < 0)
		return 0;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return vdb__fail_sys(errno, "lane: call_fd cannot be made non-blocking");
	return 0;
}

static int check_config(const struct vdb_loop *loop, const struct vdb_queue *queue,
                        const struct vdb_backend *backend, const struct vdb_lane_config *config)
{
	if (!loop || !queue || !backend)
		return vdb__fail(EINVAL, "lane: loop, queue and backend must be given");
	if (config->max_inflight > MAX_INFLIGHT)
		return vdb__fail(EINVAL, "lane: max_inflight %u; at most %u", config->max_inflight,
		                 MAX_INFLIGHT);
	if (config->trigger && config->call_fd > 0)
		return vdb__fail(EINVAL, "lane: call_fd and trigger are both set; give one of them");
	return 0;
}

static void set_up(struct vdb_lane *lane, const struct vdb_lane_config *config)
{
	lane->source.ops = &vdb__lane_source_ops;
	lane->source.loop = lane->loop;
	lane->source.limit = vdb__limit_ref(config->limit);
	vdb__list_init(&lane->source.link);
	vdb__list_init(&lane->batch.link);
	lane->batch.fn = vdb__lane_batch_fn;
	vdb__list_init(&lane->irq_hold.link);
	lane->irq_hold.release = vdb__lane_irq_release;
	vdb__list_init(&lane->irq_late.link);
	lane->irq_late.raise = vdb__lane_irq_late;
	vdb__list_init(&lane->as_member.link);
	lane->as_member.leave = member_leave;
	lane->as_user.changed = map_changed;
	lane->wake_post.fn = woken;
	lane->wake = VDB__WAKE_ATTACH;
	lane->trigger = config->trigger;
	lane->trigger_arg = config->trigger_arg;
	lane->broken = config->broken;
	lane->broken_arg = config->broken_arg;
}

static int acquire(struct vdb_lane *lane, const struct vdb_lane_config *config)
{
	int rc = dup_fd(config->kick_fd, "kick_fd", &lane->kick_fd);

	if (!rc)
		rc = dup_fd(config->call_fd, "call_fd", &lane->call_fd);
	if (!rc)
		rc = unblock(lane->call_fd);
	if (!rc)
		rc = vdb__lane_pool_init(lane,
		                         config->max_inflight ? config->max_inflight : DEFAULT_INFLIGHT);
	if (rc)
		return rc;
	if (config->tenant) {
		vdb__tenant_ref(config->tenant);
		lane->tenant = config->tenant;
		return 0;
	}
	lane->own_tenant = true;
	return vdb_tenant_create(lane->loop, &lane->tenant);
}

/* A native ring's driver resets it by the ring itself: that must be looked at, whatever the backend wants. */
static int claim(struct vdb_lane *lane)
{
	const char *name = lane->backend->ops.name;

	if (lane->backend->ops.wants && lane->queue->ops->in_band)
		return vdb__fail(EOPNOTSUPP,
		                 "lane: backend %s takes requests as it wants them; give it a virtqueue",
		                 name);
	if (!vdb__lane_claim(lane))
		return vdb__fail(EBUSY, "lane: backend %s serves another queue; make one for each", name);
	return 0;
}

/* Last: from here on changes of memory reach the lane. */
static int join_memory(struct vdb_lane *lane)
{
	int rc = vdb__mem_join(lane->queue->view.mem, &lane->as_user);

	lane->joined = !rc;
	return rc;
}

VDB_EXPORT int vdb_lane_create(struct vdb_loop *loop, struct vdb_queue *queue, struct vdb_backend *backend,
                               const struct vdb_lane_config *config, struct vdb_lane **out)
{
	struct vdb_lane_config own;
	struct vdb_lane *lane;
	int rc = vdb__config_take(&own, sizeof(own), config, "lane config");

	if (!rc)
		rc = check_config(loop, queue, backend, &own);
	if (rc)
		return rc;
	lane = calloc(1, sizeof(*lane));
	if (!lane)
		return vdb__fail(ENOMEM, "lane: no memory");
	lane->kick_fd = lane->call_fd = -1;
	lane->loop = loop;
	lane->queue = queue;
	vdb__backend_ref(backend);
	lane->backend = backend;
	lane->fixed = backend->info.flags & VDB_BACKEND_FIXED;
	set_up(lane, &own);
	rc = claim(lane);
	if (!rc)
		rc = acquire(lane, &own);
	if (!rc)
		rc = join_memory(lane);
	if (rc) {
		let_go(lane);
		free(lane);
		return rc;
	}
	*out = lane;
	vdb__loop_post(loop, &lane->wake_post);
	return 0;
}

VDB_EXPORT int vdb_lane_stats(const struct vdb_lane *lane, struct vdb_lane_stats *stats)
{
	const struct vdb_lane_stats *own = &lane->stats;
	struct vdb_lane_stats copy = {
	        .state = vdb__load(&own->state),
	        .requests = vdb__load(&own->requests),
	        .completions = vdb__load(&own->completions),
	        .errors = vdb__load(&own->errors),
	        .bytes_read = vdb__load(&own->bytes_read),
	        .bytes_written = vdb__load(&own->bytes_written),
	        .flushes = vdb__load(&own->flushes),
	        .discards = vdb__load(&own->discards),
	        .zeroes = vdb__load(&own->zeroes),
	        .kicks = vdb__load(&own->kicks),
	        .visits = vdb__load(&own->visits),
	        .poll_hits = vdb__load(&own->poll_hits),
	        .triggers = vdb__load(&own->triggers),
	        .suppressed = vdb__load(&own->suppressed),
	        .resets = vdb__load(&own->resets),
	        .broken = vdb__load(&own->broken),
	        .inflight = vdb__load(&own->inflight),
	        .moves = vdb__load(&own->moves),
	        .poll_ns = vdb__load(&lane->source.poll_ns),
	        .coalesced = vdb__load(&own->coalesced),
	};

	return vdb__stats_give(stats, &copy, sizeof(copy), "lane stats");
}
