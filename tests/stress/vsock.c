/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thousands of conversations over one vsock device, begun by both sides, with small buffers, slow readers,
 * ends that go away in the middle and calls that nobody answers, all at random. The guest is played, and
 * holds back as Linux does (vsock_guest.c). Whatever is said must arrive; what began must end; and when
 * nothing goes on any more, what both sides think is told.
 *
 *     stress_vsock [SECONDS [SEED]]   for each kind of queue
 */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "run.h"
#include "virtio/core.h"
#include "virtio/vsock.h"
#include "vsock_rig.h"
#include "vsock_talk.h"

#define PATIENCE 30 /* seconds in which nothing goes on: it stands still */
#define VISITS 64u  /* of conversations, between two looks at the queues */
#define TOLD 40u    /* conversations, when it stands still */
#define FDS 4096u   /* two for each connection, and those that wait for one */

static double seconds = 0.2;
static uint64_t seed = 1;
static struct stress s;
static struct vsock_rig rig;
static struct played_guest *guest;
static int listener;

double stress_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uint32_t stress_draw(struct stress *stress, uint32_t below)
{
	stress->random ^= stress->random << 13;
	stress->random ^= stress->random >> 7;
	stress->random ^= stress->random << 17;
	return (uint32_t)(stress->random >> 32) % below;
}

uint8_t talk_byte(const struct talk *t, bool to_guest, uint32_t at)
{
	uint32_t x = (t->id * 2 + to_guest) * 0x9e3779b9u + at * 0x85ebca6bu;

	return (uint8_t)(x >> 24 ^ x >> 9);
}

struct talk *stress_find(struct stress *stress, uint32_t id)
{
	struct talk *t = &stress->talks[id % TALKS];

	return vdb__load_acquire(&t->used) && t->id == id ? t : NULL; /* pairs with the store in begin() */
}

/* ---- When it stands still ---- */

static void tell_talk(FILE *to, const struct talk *t)
{
	static const char *const guest_states[] = {"none", "asks", "open", "closes", "gone"};
	static const char *const host_states[] = {"waits", "calls", "hello", "open", "gone"};

	(void)fprintf(
	        to,
	        "talk %u, begun by the %s%s, ports %u (guest) %u: guest %s, sent %u of %u, got %u, read %u, "
	        "told %u, alloc %u, peer's %u taken %u, shut %u; host %s, sent %u of %u, got %u\n",
	        t->id, t->by_guest ? "guest" : "host", t->nobody ? ", to nobody" : "", t->guest_port,
	        t->host_port, guest_states[t->guest_state], t->guest.sent, t->guest.total, t->guest.got,
	        t->read, t->told, t->alloc, t->peer_alloc, t->peer_taken, t->peer_shut,
	        host_states[t->host_state], t->host.sent, t->host.total, t->host.got);
}

static void tell_connection(FILE *to, const struct vdb__vconn *c)
{
	static const char *const states[] = {"hello", "asked", "open", "closing", "dying", "gone"};
	const struct vdb__vsock_credit *credit = &c->credit;

	(void)fprintf(
	        to,
	        "connection %u (guest) %u: %s, owes %#x, %s; fd %d%s events %#x, kept %u%s%s%s; sent %u, "
	        "taken %u of %u; got %u, forwarded %u, told %u, window %u\n",
	        c->guest_port, c->host_port, states[c->state], c->owes,
	        vdb__list_empty(&c->ready) ? "not in the list" : "in the list", c->fd,
	        c->armed ? " armed" : "", c->events, (unsigned)c->fifo.count, c->stalled ? ", stalled" : "",
	        c->host_eof ? ", host eof" : "", c->host_deaf ? ", host deaf" : "", credit->sent,
	        credit->peer_taken, credit->peer_alloc, credit->got, credit->forwarded, credit->told,
	        credit->window);
}

/* The loop's thread sleeps by now, or should: what is read here stands still. */
static void tell_device(FILE *to)
{
	struct vdb_vsock_stats stats = vsock_rig_stats(&rig);
	const struct vdb__vsock *v = rig.rig.device->ctx;
	unsigned told = 0;

	(void)fprintf(
	        to,
	        "device: %u connections, %u resets wait, %s; packets %llu to the host, %llu to the guest, "
	        "%llu stalls for credit, %llu for a host, %llu violations, %llu timeouts\n",
	        stats.connections, v->reply_count, v->spare ? "has a spare buffer" : "has no spare buffer",
	        (unsigned long long)stats.packets_to_host, (unsigned long long)stats.packets_to_guest,
	        (unsigned long long)stats.credit_stalls, (unsigned long long)stats.host_stalls,
	        (unsigned long long)stats.violations, (unsigned long long)stats.timeouts);
	for (const struct vdb__list *at = v->all.next; at != &v->all && told++ < TOLD; at = at->next)
		tell_connection(to, vdb__container(at, struct vdb__vconn, all));
}

_Noreturn void stress_wrong(const struct talk *t, const char *what)
{
	(void)fprintf(stderr, "stress: %s (seed %llu): %s\n", what, (unsigned long long)seed,
	              strerror(errno));
	if (t)
		tell_talk(stderr, t);
	abort();
}

static _Noreturn void stands_still(void)
{
	(void)fprintf(stderr, "stress: nothing has gone on for %d s, with %u conversations\n", PATIENCE,
	              s.nlive);
	guest_tell(guest, stderr);
	tell_device(stderr);
	for (uint32_t i = 0; i < s.nlive && i < TOLD; i++)
		tell_talk(stderr, &s.talks[s.live[i]]);
	stress_wrong(NULL, "it stands still");
}

/* ---- Conversations ---- */

static struct talk_end make_end(void)
{
	struct talk_end end = {.step = 1u << stress_draw(&s, 13), .rude = NEVER};

	if (stress_draw(&s, 8))
		end.total = stress_draw(&s, end.step * 32 < 40000 ? end.step * 32 : 40000);
	if (!stress_draw(&s, 8))
		end.rude = stress_draw(&s, end.total + 1);
	return end;
}

static void begin(bool by_guest, bool nobody)
{
	uint32_t id = s.next_id;
	struct talk *t;

	while (s.talks[id % TALKS].used)
		id++;
	t = &s.talks[id % TALKS];
	s.next_id = (id + 1) % MOST_TALKS;
	*t = (struct talk){.id = id,
	                   .by_guest = by_guest,
	                   .nobody = nobody,
	                   .guest = make_end(),
	                   .host = make_end(),
	                   .guest_port = id + (by_guest ? GUEST_CALLS : GUEST_LISTENS),
	                   .host_port = by_guest ? id + HOST_LISTENS : 0,
	                   .alloc = 256u << stress_draw(&s, 8),
	                   .host_state = by_guest ? HOST_WAITS : HOST_CALLS,
	                   .fd = -1};
	/* Who reads a byte at a time is sent a byte at a time. */
	t->guest.step += t->host.total / 32;
	t->host.step += t->guest.total / 32;
	vdb__store_release(&t->used, true); /* pairs with the load in stress_find() */
	s.live[s.nlive++] = id % TALKS;
	s.begun[by_guest]++;
	if (by_guest)
		guest_call(guest, t);
}

static void end_of(struct talk *t)
{
	bool polite = t->guest.rude == NEVER && t->host.rude == NEVER;

	/* The device gives up on ends that are slow to go. */
	if (t->was_open && polite && !vsock_rig_stats(&rig).timeouts) {
		if (t->guest.reset || t->host.reset)
			stress_wrong(t, "it was reset, and neither end had gone");
		if (t->guest.got != t->host.total || t->host.got != t->guest.total)
			stress_wrong(t, "it has ended, and not all has arrived");
		s.whole++;
	} else if (t->was_open) {
		s.cut++;
	}
	vdb__store_release(&t->used, false);
	s.progress++;
}

static bool has_ended(const struct talk *t)
{
	return t->host_state == HOST_GONE &&
	       (t->guest_state == GUEST_GONE || (t->guest_state == GUEST_NONE && !t->by_guest));
}

/* Some ends are slower than others. */
static void visit(uint32_t at)
{
	struct talk *t = &s.talks[s.live[at]];

	if (!stress_draw(&s, 1 + t->id % 5))
		guest_step(guest, t);
	if (!stress_draw(&s, 1 + t->id % 7))
		host_step(&s, t);
	if (!has_ended(t))
		return;
	end_of(t);
	s.live[at] = s.live[--s.nlive];
}

/* Calls that nobody answers: first the host's, so that the guest's answers are behind the guest's own calls.
 */
static void burst(void)
{
	for (uint32_t i = 0; i < 200 && s.nlive < TALKS - 2000; i++)
		begin(false, true);
	for (uint32_t i = 0; i < 8 * VISITS; i++)
		visit(stress_draw(&s, s.nlive));
	for (uint32_t i = 0; i < 1700 && s.nlive < TALKS; i++)
		begin(true, true);
}

static void begin_some(void)
{
	static uint32_t most = 1;

	if (!stress_draw(&s, 500))
		most = 1u << stress_draw(&s, 11);
	if (!stress_draw(&s, 2000) && s.nlive < 1024)
		burst();
	for (int i = 0; i < 8 && s.nlive < most; i++)
		begin(stress_draw(&s, 2), !stress_draw(&s, 6));
}

/* ---- A run ---- */

/* Goes on until `end` and then, beginning nothing more, until nothing is left. */
static void run_until(double end)
{
	const struct timespec nap = {.tv_nsec = 20000};
	double last = stress_now();
	uint64_t before;

	for (;;) {
		before = s.progress;
		if (last < end)
			begin_some();
		else if (!s.nlive && !vsock_rig_stats(&rig).connections)
			return;
		guest_drive(guest);
		for (uint32_t i = 0; i < VISITS && s.nlive; i++)
			visit(stress_draw(&s, s.nlive));
		if (s.progress != before) {
			last = stress_now();
			continue;
		}
		(void)nanosleep(&nap, NULL);
		if (stress_now() - last > PATIENCE)
			stands_still();
		if (stress_now() >= end && last < end)
			last = end;
	}
}

/* A listening socket with a name that the host chooses. */
static int make_listener(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	s.calls_to = (struct sockaddr_un){.sun_family = AF_UNIX};
	s.calls_to_len = sizeof(s.calls_to);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&s.calls_to, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&s.calls_to, &s.calls_to_len), 0);
	ck_assert_int_eq(listen(fd, 128), 0);
	return fd;
}

static void open_rig(uint64_t features)
{
	static const uint32_t entries[VSOCK_QUEUES] = {32, 64, 16};
	struct vdb_vsock_config config = {.buf_bytes = 32768,
	                                  .max_buffered = 8 << 20,
	                                  .timeout_ms = 10000,
	                                  .connect = host_answer,
	                                  .connect_arg = &s};

	listener = make_listener();
	config.listen_fd = listener;
	vsock_rig_make(&rig, &config, NULL);
	virtio_rig_negotiate(&rig.rig, features | VRIG_V1 | VRIG_BIT(0));
	for (uint32_t i = 0; i < VSOCK_QUEUES; i++)
		virtio_rig_queue(&rig.rig, i, entries[i]);
	virtio_rig_ok(&rig.rig);
}

static void report(const char *name, double began)
{
	struct vdb_vsock_stats stats = vsock_rig_stats(&rig);

	printf("%s: %llu conversations of the host's, %llu of the guest's: %llu whole, %llu refused, %llu "
	       "given up, %llu cut; "
	       "%llu bytes to the guest, %llu to the host; packets %llu and %llu, resets %llu, stalls for "
	       "credit "
	       "%llu, for hosts %llu; the guest held back %llu times, resets dropped %llu, timeouts %llu; "
	       "%.1f s\n",
	       name, (unsigned long long)s.begun[0], (unsigned long long)s.begun[1],
	       (unsigned long long)s.whole, (unsigned long long)s.refused, (unsigned long long)s.given_up,
	       (unsigned long long)s.cut, (unsigned long long)s.to_guest, (unsigned long long)s.to_host,
	       (unsigned long long)stats.packets_to_guest, (unsigned long long)stats.packets_to_host,
	       (unsigned long long)stats.resets, (unsigned long long)stats.credit_stalls,
	       (unsigned long long)stats.host_stalls, (unsigned long long)s.held_back,
	       (unsigned long long)stats.drops, (unsigned long long)stats.timeouts, stress_now() - began);
	(void)fflush(stdout);
	ck_assert_uint_eq(stats.violations, 0);
	ck_assert_uint_gt(s.whole, 0);
}

static const struct {
	uint64_t features;
	const char *name;
} kinds[] = {
        {0, "split"},
        {VRIG_BIT(VIRTIO_RING_F_EVENT_IDX), "split, event"},
        {VRIG_BIT(VIRTIO_F_RING_PACKED), "packed"},
        {VRIG_BIT(VIRTIO_F_RING_PACKED) | VRIG_BIT(VIRTIO_RING_F_EVENT_IDX), "packed, event"},
};

START_TEST(conversations)
{
	double began = stress_now();

	s.rig = &rig;
	s.random = seed * 0x9e3779b97f4a7c15u + (unsigned)_i + 1;
	open_rig(kinds[_i].features);
	guest = guest_make(&s);
	for (unsigned i = 0; i < 40; i++)
		begin(i % 2, false);
	run_until(stress_now() + seconds);
	report(kinds[_i].name, began);
	guest_free(guest);
	vsock_rig_close(&rig);
	close(listener);
}
END_TEST

/* Two for each connection. */
static bool may_have(rlim_t fds)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return false;
	limit.rlim_cur = limit.rlim_cur > fds ? limit.rlim_cur : fds;
	return limit.rlim_max >= fds && !setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	TCase *tc = tcase_create("vsock");

	if (argc > 1)
		seconds = strtod(argv[1], NULL);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10);
	if (!may_have(FDS)) {
		printf("needs %u file descriptors\n", FDS);
		return 77;
	}
	tcase_add_loop_test(tc, conversations, 0, sizeof(kinds) / sizeof(kinds[0]));
	return test_run_within("vsock", tc, 2 * seconds + 300);
}
