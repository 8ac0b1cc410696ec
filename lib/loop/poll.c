/* SPDX-License-Identifier: Apache-2.0 */
/* How long to look at what, and what is held back meanwhile. */
#include "loop/poll.h"

#include <stdlib.h>
#include <string.h>

#include "loop/state.h"

#define FIRST_NS 4096u      /* the shortest look that is worth it: about what a sleep costs */
#define LOOKS 32u           /* between two readings of the clock */
#define WINDOW_NS 10000000u /* unused credit is kept so long */

uint32_t vdb__poll_adapt(uint32_t ns, uint64_t gap, uint32_t max)
{
	uint32_t first = FIRST_NS < max ? FIRST_NS : max;

	if (gap > max)
		return ns / 2 < first ? 0 : ns / 2;
	if (ns < first)
		return first;
	if (gap <= ns)
		return ns;
	return ns > max / 2 ? max : 2 * ns;
}

int64_t vdb__poll_credit(int64_t credit, uint64_t elapsed, uint32_t percent)
{
	uint64_t kept = elapsed < WINDOW_NS ? elapsed : WINDOW_NS;
	int64_t most = (int64_t)(WINDOW_NS / 100 * percent);

	credit += (int64_t)(kept * percent / 100);
	return credit < most ? credit : most;
}

/* Tests run with looking forced on those loops that leave it at its default, or on none. */
static void force(struct vdb_loop_config *config)
{
#ifdef VDB__TEST_HOOKS
	const char *word = getenv("VDB_TEST_POLL");

	if (!word || config->poll_ns || config->poll_mode == VDB_POLL_NEVER)
		return;
	config->poll_ns = 100000;
	config->coalesce_ns = config->coalesce_ns ? config->coalesce_ns : 50000;
	config->poll_mode = !strcmp(word, "always")     ? VDB_POLL_ALWAYS
	                    : !strcmp(word, "adaptive") ? VDB_POLL_ADAPTIVE
	                                                : VDB_POLL_NEVER;
#else
	(void)config;
#endif
}

void vdb__poll_init(struct vdb_loop *loop)
{
	struct vdb_loop_config *config = &loop->config;

	force(config);
	loop->polling = (struct vdb__polling){
	        .max_ns = config->poll_mode == VDB_POLL_NEVER ? 0 : config->poll_ns,
	        .fixed = config->poll_mode == VDB_POLL_ALWAYS,
	        .any_ns = config->poll_mode == VDB_POLL_ALWAYS ? config->poll_ns : 0,
	        .percent = config->poll_cpu ? config->poll_cpu : 100,
	};
	vdb__list_init(&loop->polling.held);
}

uint64_t vdb__poll_now(struct vdb_loop *loop)
{
	struct vdb__polling *polling = &loop->polling;

	if (!polling->now)
		polling->now = vdb__now();
	return polling->now;
}

/* ---- A source's budgets ---- */

static bool adapts(const struct vdb_loop *loop)
{
	return loop->polling.max_ns && !loop->polling.fixed;
}

void vdb__poll_rang(struct vdb__source *source)
{
	struct vdb_loop *loop = source->loop;
	uint32_t *budget = source->owed ? &source->wait_ns : &source->poll_ns;
	uint64_t now;

	if (source->state != VDB__IDLE || !adapts(loop))
		return;
	now = vdb__poll_now(loop);
	vdb__store(budget, vdb__poll_adapt(*budget, now - source->since, loop->polling.max_ns));
	if (!loop->polling.quiet)
		return;
	loop->polling.any_ns =
	        vdb__poll_adapt(loop->polling.any_ns, now - loop->polling.quiet, loop->polling.max_ns);
	loop->polling.quiet = 0;
}

void vdb__source_answered(struct vdb__source *source)
{
	struct vdb_loop *loop = source->loop;

	if (!loop->polling.max_ns || (source->state != VDB__IDLE && source->state != VDB__HOT))
		return;
	vdb__poll_rang(source);
	/* Who has got an answer may soon have another question. */
	if (source->state == VDB__IDLE && source->ops->disarm && (source->poll_ns || loop->polling.fixed)) {
		source->ops->disarm(source);
		source->looks = 0;
		vdb__source_hot(source);
	}
	vdb__poll_start(source);
}

void vdb__poll_start(struct vdb__source *source)
{
	/* When that was is asked when the clock is read next, which it need not be at all if more is found
	 * at once. */
	source->since = 0;
}

static uint32_t budget_of(const struct vdb__source *source)
{
	const struct vdb__polling *polling = &source->loop->polling;
	uint32_t ns = source->poll_ns;

	if (polling->fixed)
		return polling->max_ns;
	if (source->owed && source->wait_ns > ns)
		ns = source->wait_ns;
	return ns < polling->max_ns ? ns : polling->max_ns; /* it may come from another loop */
}

bool vdb__poll_over(struct vdb__source *source)
{
	uint64_t now;

	if (!source->loop->polling.max_ns)
		return true;
	now = vdb__poll_now(source->loop);
	if (!source->since)
		source->since = now;
	return now - source->since >= budget_of(source);
}

/* ---- Looking ---- */

/* What is not a request of a guest's. */
static bool due(const struct vdb_loop *loop)
{
	return loop->engine->ops->ready(loop->engine) || !vdb__loop_idle(loop);
}

/* Requests first, and more often: it is for their guests that we look. */
static bool found(struct vdb_loop *loop)
{
	for (unsigned i = 0; i < LOOKS; i++) {
		if (vdb__sources_look(loop, false))
			return true;
		if (i % 4)
			continue;
		if (due(loop))
			return true;
		vdb__cpu_relax();
	}
	return false;
}

/* Those not worth it any more are armed, each by itself; but none as long as the loop itself has a budget,
 * since it stays awake for whoever comes next. True: one has work after all. */
static bool expire(struct vdb_loop *loop)
{
	struct vdb__list *entry = loop->hot.next, *next;
	struct vdb__polling *polling = &loop->polling;
	bool work = false, awake;

	if (!polling->quiet)
		polling->quiet = polling->now;
	awake = polling->now - polling->quiet < polling->any_ns;
	for (; entry != &loop->hot; entry = next) {
		struct vdb__source *source = vdb__container(entry, struct vdb__source, link);

		next = entry->next;
		if (!vdb__poll_over(source) || awake)
			continue;
		if (vdb__source_arm(source))
			vdb__count(&loop->stats.poll_misses, budget_of(source) != 0);
		else
			work = true;
	}
	return work;
}

/* Without a cap nobody asks how much there is. */
static bool affordable(struct vdb_loop *loop, uint64_t now)
{
	struct vdb__polling *polling = &loop->polling;

	if (polling->percent == 100)
		return true;
	polling->credit = vdb__poll_credit(polling->credit, now - polling->credited, polling->percent);
	polling->credited = now;
	return polling->credit > 0;
}

static void account(struct vdb_loop *loop, uint64_t ns)
{
	loop->polling.credit -= (int64_t)ns;
	vdb__count(&loop->stats.poll_time_ns, ns);
}

static bool worth_it(const struct vdb_loop *loop)
{
	const struct vdb__list *entry = loop->hot.next;

	if (!loop->polling.max_ns)
		return false;
	if (loop->polling.any_ns)
		return true;
	while (entry != &loop->hot && !budget_of(vdb__container(entry, const struct vdb__source, link)))
		entry = entry->next;
	return entry != &loop->hot;
}

bool vdb__poll(struct vdb_loop *loop)
{
	struct vdb__polling *polling = &loop->polling;
	uint64_t last = polling->percent == 100 ? 0 : vdb__now();
	bool work = false;

	if (!worth_it(loop) || (last && !affordable(loop, last)))
		return false;
	while (!work && !vdb__list_empty(&loop->hot)) {
		if (found(loop))
			return true;
		polling->now = vdb__now();
		if (last)
			account(loop, polling->now - last);
		last = polling->now;
		vdb__holds_release(loop, false);
		work = expire(loop);
		if (!affordable(loop, last))
			break;
	}
	return work;
}

/* ---- What is held back ---- */

void vdb__loop_hold(struct vdb_loop *loop, struct vdb__hold *hold, uint64_t until)
{
	if (!hold->link.next)
		vdb__list_init(&hold->link);
	if (!vdb__list_empty(&hold->link))
		return;
	hold->until = until;
	vdb__list_append(&loop->polling.held, &hold->link);
	vdb__loop_nudge(loop);
}

bool vdb__loop_unhold(struct vdb__hold *hold)
{
	if (!hold->link.next || vdb__list_empty(&hold->link))
		return false;
	vdb__list_remove(&hold->link);
	return true;
}

void vdb__holds_release(struct vdb_loop *loop, bool all)
{
	struct vdb__list round, *entry;

	if (vdb__list_empty(&loop->polling.held))
		return;
	vdb__list_init(&round);
	vdb__list_splice(&round, &loop->polling.held);
	while ((entry = vdb__list_pop(&round))) {
		struct vdb__hold *hold = vdb__container(entry, struct vdb__hold, link);

		if (all || !hold->until || hold->until <= vdb__poll_now(loop))
			hold->release(hold);
		else
			vdb__list_append(&loop->polling.held, &hold->link);
	}
}
