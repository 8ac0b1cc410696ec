/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one loop to another: a ball that goes back and forth, by posts of two loops on two CPUs; and
 * beside them the two ways in which the kernel lets one io_uring wake the thread of another: a write to an
 * eventfd that the other polls, and IORING_OP_MSG_RING in the sender's own submission.
 *
 * `asleep`: whoever waits for the ball sleeps. `awake`: he looks for it.
 */
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bench.h"

enum { BY_EVENTFD, BY_MSG_RING };

#define QUICK_HOPS 2000u
#define HOPS 40000u

static uint32_t hops_of(const struct bench_options *o)
{
	return o->quick ? QUICK_HOPS : HOPS;
}

static void report(const struct bench_options *o, const struct bench_case *c, uint64_t ns,
                   uint64_t sending_ns)
{
	uint32_t hops = hops_of(o);

	bench_row(o, c, "hop", (double)ns / hops / 1000, "us", c->what);
	bench_row(o, c, "send", (double)sending_ns / hops, "ns", "  of that, until the sender goes on");
}

/* ---- Bare rings ---- */

struct side {
	struct side *other;
	struct io_uring ring;
	int wake_fd, cpu;
	uint32_t kind, hops;
	bool polling;
	uint32_t ready, ball; /* atomic; the ball is how often it has been thrown */
	uint64_t sending_ns;
};

static void open_ring(struct side *s)
{
	struct io_uring_params params = {
	        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
	};
	struct io_uring_sqe *sqe;

	if (io_uring_queue_init_params(64, &s->ring, &params))
		bench_die(BENCH_SKIPPED, "no io_uring with DEFER_TASKRUN here");
	sqe = io_uring_get_sqe(&s->ring);
	io_uring_prep_poll_multishot(sqe, s->wake_fd, POLLIN);
	io_uring_sqe_set_data64(sqe, 1);
	(void)io_uring_submit(&s->ring);
}

static void reap(struct side *s)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0;

	io_uring_for_each_cqe(&s->ring, head, cqe)
	{
		if (cqe->res < 0)
			bench_die(BENCH_SKIPPED, "MSG_RING: %s", strerror(-cqe->res));
		n++;
	}
	io_uring_cq_advance(&s->ring, n);
}

static void look(struct side *s)
{
	if (!s->polling)
		(void)io_uring_submit_and_wait(&s->ring, 1);
	else if (IO_URING_READ_ONCE(*s->ring.sq.kflags) & IORING_SQ_TASKRUN)
		(void)io_uring_submit_and_get_events(&s->ring);
	else if (io_uring_sq_ready(&s->ring))
		(void)io_uring_submit(&s->ring);
	reap(s);
}

static void throw(struct side * s, uint32_t ball)
{
	uint64_t since = bench_ns();
	const uint64_t one = 1;
	struct io_uring_sqe *sqe;

	__atomic_store_n(&s->other->ball, ball, __ATOMIC_RELEASE);
	if (s->kind == BY_EVENTFD) {
		if (write(s->other->wake_fd, &one, sizeof(one)) != sizeof(one))
			bench_die(BENCH_FAILED, "eventfd");
	} else {
		sqe = io_uring_get_sqe(&s->ring);
		io_uring_prep_msg_ring(sqe, s->other->ring.ring_fd, 0, 2, 0);
		io_uring_sqe_set_data64(sqe, 3);
	}
	s->sending_ns += bench_ns() - since;
}

static void *play(void *arg)
{
	struct side *s = arg;
	uint32_t ball;

	bench_pin(s->cpu);
	open_ring(s);
	__atomic_store_n(&s->ready, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&s->other->ready, __ATOMIC_ACQUIRE))
		;
	do {
		while (!(ball = __atomic_exchange_n(&s->ball, 0, __ATOMIC_ACQ_REL)))
			look(s);
		throw(s, ball + 1);
	} while (ball + 1 < s->hops);
	(void)io_uring_submit(&s->ring);
	return NULL;
}

static void raw(const struct bench_options *o, const struct bench_case *c)
{
	struct side a = {.kind = c->kind, .polling = c->polling, .hops = hops_of(o), .cpu = o->vcpu_cpu};
	struct side b = a;
	pthread_t threads[2];
	uint64_t since;

	b.cpu = o->loop_cpu;
	a.other = &b;
	b.other = &a;
	a.wake_fd = eventfd(0, EFD_CLOEXEC);
	b.wake_fd = eventfd(0, EFD_CLOEXEC);
	a.ball = 1;
	since = bench_ns();
	if (pthread_create(&threads[0], NULL, play, &a) || pthread_create(&threads[1], NULL, play, &b))
		bench_die(BENCH_FAILED, "no thread");
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	report(o, c, bench_ns() - since, a.sending_ns + b.sending_ns);
	io_uring_queue_exit(&a.ring);
	io_uring_queue_exit(&b.ring);
	close(a.wake_fd);
	close(b.wake_fd);
}

/* ---- Loops ---- */

struct game {
	struct vdb_loops *loops;
	uint32_t ball, hops;
	uint64_t sending_ns;
	struct vdb_gate *over;
};

static void caught(void *arg, int status)
{
	struct game *game = arg;
	uint64_t since = bench_ns();

	bench_must(status);
	if (++game->ball == game->hops) {
		bench_gate_open(vdb_gate_ref(game->over));
		return;
	}
	bench_must(vdb_loop_post(vdb_loops_get(game->loops, game->ball % 2), caught, game));
	__atomic_fetch_add(&game->sending_ns, bench_ns() - since, __ATOMIC_RELAXED);
}

/* Each loop has something that keeps it from its sleep: it looks for posts as often as for this. */
static void stay(void *arg, int status)
{
	struct game *game = arg;

	if (status || __atomic_load_n(&game->ball, __ATOMIC_RELAXED) == game->hops)
		return;
	for (uint32_t i = 0; i < 2; i++)
		if (vdb_loop_here(vdb_loops_get(game->loops, i)))
			bench_must(vdb_loop_post(vdb_loops_get(game->loops, i), stay, game));
}

static void loops(const struct bench_options *o, const struct bench_case *c)
{
	const int32_t cpus[2] = {o->vcpu_cpu, o->loop_cpu};
	const struct vdb_loops_config config = {.size = sizeof(config), .count = 2, .cpus = cpus};
	struct game game = {.hops = hops_of(o), .over = bench_gate()};
	uint64_t since;

	bench_must(vdb_loops_create(&config, &game.loops));
	bench_must(vdb_loops_start(game.loops));
	for (uint32_t i = 0; i < 2 && c->polling; i++)
		bench_must(vdb_loop_post(vdb_loops_get(game.loops, i), stay, &game));
	since = bench_ns();
	bench_must(vdb_loop_post(vdb_loops_get(game.loops, 0), caught, &game));
	bench_gate_wait(game.over);
	report(o, c, bench_ns() - since, game.sending_ns);
	bench_must(vdb_loops_join(game.loops));
	bench_must(vdb_loops_destroy(game.loops));
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
	        {.name = "asleep", .run = loops, .what = "a post to a loop that sleeps"},
	        {.name = "awake", .run = loops, .polling = true, .what = "a post to a loop that is awake"},
	        {.name = "eventfd-asleep", .run = raw, .kind = BY_EVENTFD, .what = "bare: eventfd, asleep"},
	        {.name = "msg-ring-asleep",
	         .run = raw,
	         .kind = BY_MSG_RING,
	         .what = "bare: MSG_RING, asleep"},
	        {.name = "eventfd-awake",
	         .run = raw,
	         .kind = BY_EVENTFD,
	         .polling = true,
	         .what = "bare: eventfd, awake"},
	        {.name = "msg-ring-awake",
	         .run = raw,
	         .kind = BY_MSG_RING,
	         .polling = true,
	         .what = "bare: MSG_RING, awake"},
	};

	return bench_main(argc, argv, "post", cases, sizeof(cases) / sizeof(cases[0]));
}
