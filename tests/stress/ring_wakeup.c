/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notification protocol between two threads: the driver of vdb/guest.h and
 * the device of lib/queue.
 *
 *   litmus  no eventfd: the bell is a counter that the device watches, so that both sides meet
 *           a million times a second; one request at a time, submitted just when the device arms
 *   sleep   both sides sleep on eventfds, with batches and delays of random size
 *
 * A lost wake-up is proven, not timed: a side found nothing, asked for a notification
 * and waits; the other side is known to have *finished* publishing (it says so in a
 * counter, with release); there is work; and no notification has come.
 *
 * Built with VDB__BREAK_DEVICE_FENCE, ring.c lacks the device's full fence, and
 * the litmus must show such a loss: then the program succeeds.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct vdb_guest;
static void ring_duel(struct vdb_guest *g);
#define VDB_GUEST_RING(g) ring_duel(g)
#include "base/atomic.h"
#include "base/list.h"
#include "mock.h"

#ifdef VDB__BREAK_DEVICE_FENCE
#define BROKEN 1
#define LITMUS_SECONDS 40 /* at most; the first loss ends it */
#else
#define BROKEN 0
#define LITMUS_SECONDS 2
#endif
#define SLEEP_SECONDS 3
#define RING 0x1000
#define ENTRIES 64u
#define DELAY 1000 /* empty turns, at most: a few times what a cache line needs to cross */
#define COLD 8

struct duel {
	/* Lines that both sides write: a store to one waits in the store buffer until the other CPU
	 * has given the line up, and the stores behind it wait too. */
	struct {
		uint32_t word;
		uint32_t pad[15];
	} cold[COLD];
	struct mock m;
	cpu_set_t cpus;
	bool litmus;
	uint32_t submitted; /* driver: sq_tail of the last submit that returned */
	uint32_t published; /* device: cq_tail of the last publish whose interrupt was sent */
	uint32_t stop;      /* driver: done */
	uint64_t lost_bells;
	uint64_t lost_interrupts;
	uint64_t bells; /* litmus: the doorbell */
	uint64_t requests;
	uint64_t sleeps[2]; /* driver's, device's */
	uint64_t interrupts;
};

static void ring_duel(struct vdb_guest *g)
{
	struct duel *d = vdb__container(g->user, struct duel, m);

	if (d->litmus)
		vdb__store_release(&d->bells, d->bells + 1);
	else
		mock_bell(g);
}

static uint32_t random_below(uint32_t *state, uint32_t limit)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state % limit;
}

/* No pause instruction: under a hypervisor that may hand the CPU to somebody else. */
static void spin(uint32_t turns)
{
	while (turns--)
		__asm__ __volatile__("" ::: "memory");
}

static void fill_store_buffer(struct duel *d, uint32_t value)
{
	for (int i = 0; i < COLD; i++)
		vdb__store(&d->cold[i].word, value);
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Pins the calling thread to the n-th CPU of the set; false if there are fewer. */
static bool pin(const cpu_set_t *may, int n)
{
	cpu_set_t one;
	size_t cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, may) || n-- != 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		return sched_setaffinity(0, sizeof(one), &one) == 0;
	}
	return false;
}

/* Takes the notifications out of an eventfd; false if there are none within `ms`. */
static bool notified(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t count;

	return poll(&p, 1, ms) == 1 && read(fd, &count, sizeof(count)) == sizeof(count);
}

/* ---- The device ---- */

static uint32_t serve(struct duel *d)
{
	struct vdb_queue *q = d->m.queue;
	struct vdb__seg segs[MOCK_MAX_SEGS];
	struct vdb__elem elem;
	uint64_t one = 1;
	uint32_t n = 0;

	(void)q->ops->ready(q, 0);
	for (; q->ops->pop(q, &elem, segs); n++)
		q->ops->complete(q, elem.cookie, elem.error, 0);
	if (q->ops->publish(q)) {
		d->interrupts++;
		(void)!write(d->m.call, &one, sizeof(one));
	}
	vdb__store_release(&d->published, d->published + n);
	return n;
}

/* Acquire: what the driver did in the submits that it counted, the bells included, is done. (One
 * may be taken before it is counted.) */
static bool work_is_there(struct duel *d, uint32_t taken)
{
	return (int32_t)(vdb__load_acquire(&d->submitted) - taken) > 0;
}

static void watch(struct duel *d, uint64_t bells, uint32_t taken)
{
	uint32_t turns = 0;

	while (vdb__load_acquire(&d->bells) == bells && !vdb__load_acquire(&d->stop)) {
		if (work_is_there(d, taken) && vdb__load_acquire(&d->bells) == bells) {
			d->lost_bells++;
			return; /* serves without being asked */
		}
		if (++turns % 65536 == 0)
			(void)sched_yield();
	}
}

static void sleep_for_bell(struct duel *d, uint32_t taken)
{
	while (!notified(d->m.kick, 10) && !vdb__load_acquire(&d->stop)) {
		if (work_is_there(d, taken)) {
			d->lost_bells += !notified(d->m.kick, 0);
			return;
		}
	}
}

static void *device(void *arg)
{
	struct duel *d = arg;
	uint32_t seed = 0x9e3779b9u, taken = 0;
	uint64_t bells;

	(void)pin(&d->cpus, 1);
	while (!vdb__load_acquire(&d->stop)) {
		bells = vdb__load_acquire(&d->bells);
		taken += serve(d);
		spin(random_below(&seed, DELAY));
		if (d->litmus)
			fill_store_buffer(d, taken);
		if (d->m.queue->ops->arm(d->m.queue))
			continue;
		d->sleeps[1]++;
		if (d->litmus)
			watch(d, bells, taken);
		else
			sleep_for_bell(d, taken);
	}
	return NULL;
}

/* ---- The driver ---- */

static uint32_t reap(struct duel *d)
{
	struct vdb_cqe cqe;
	uint32_t n = 0;

	for (; vdb_guest_reap(&d->m.g, &cqe); n++) {
		if (cqe.user_data != d->requests++)
			abort();
	}
	return n;
}

static void submit(struct duel *d, uint32_t n, uint64_t *next)
{
	struct vdb_sqe *sqe;

	while (n-- && (sqe = vdb_guest_sqe(&d->m.g)))
		sqe->user_data = (*next)++;
	(void)vdb_guest_submit(&d->m.g);
	vdb__store_release(&d->submitted, d->m.g.sq_published);
}

static void wait_for_interrupt(struct duel *d)
{
	uint32_t published;

	d->sleeps[0]++;
	while (!notified(d->m.call, 10)) {
		published = vdb__load_acquire(&d->published);
		if ((int32_t)(published - d->m.g.cq_head) > 0) {
			d->lost_interrupts += !notified(d->m.call, 0);
			return;
		}
	}
}

static void driver_litmus(struct duel *d, double end)
{
	uint32_t seed = 0x2545f491u, turns = 0;
	uint64_t next = 0;

	while (now() < end && !(BROKEN && vdb__load(&d->lost_bells))) {
		for (int i = 0; i < 256; i++) {
			fill_store_buffer(d, seed);
			spin(random_below(&seed, DELAY));
			submit(d, 1, &next);
			while (!reap(d))
				if (++turns % 65536 == 0)
					(void)sched_yield();
		}
	}
}

static void driver_sleep(struct duel *d, double end)
{
	uint32_t seed = 0x2545f491u;
	uint64_t next = 0;

	while (now() < end) {
		submit(d, 1 + random_below(&seed, 2 * ENTRIES), &next);
		spin(random_below(&seed, 5000));
		while (vdb_guest_outstanding(&d->m.g) > random_below(&seed, ENTRIES)) {
			if (!reap(d) && !vdb_guest_arm(&d->m.g))
				wait_for_interrupt(d);
		}
	}
	while (vdb_guest_outstanding(&d->m.g)) {
		if (!reap(d) && !vdb_guest_arm(&d->m.g))
			wait_for_interrupt(d);
	}
}

/* ---- */

static bool run(bool litmus, double seconds, const cpu_set_t *cpus, struct mock_ram *ram)
{
	static struct duel d;
	pthread_t thread;
	bool lost;

	d = (struct duel){.litmus = litmus, .cpus = *cpus};
	mock_open(&d.m, ram, &(struct vdb_ring_config){.gpa = RING, .sq_entries = ENTRIES});
	mock_connect(&d.m, VDB_F_EVENT_IDX);
	if (pthread_create(&thread, NULL, device, &d))
		return false;
	if (litmus)
		driver_litmus(&d, now() + seconds);
	else
		driver_sleep(&d, now() + seconds);
	vdb__store_release(&d.stop, 1);
	ring_duel(&d.m.g);
	(void)pthread_join(thread, NULL);
	lost = d.lost_bells || d.lost_interrupts;
	printf("%s: %llu requests, %llu bells (%llu suppressed), %llu interrupts; the driver slept %llu "
	       "times, the device %llu; lost %llu bells, %llu interrupts\n",
	       litmus ? "litmus" : "sleep", (unsigned long long)d.requests, (unsigned long long)d.m.g.rung,
	       (unsigned long long)d.m.g.suppressed, (unsigned long long)d.interrupts,
	       (unsigned long long)d.sleeps[0], (unsigned long long)d.sleeps[1],
	       (unsigned long long)d.lost_bells, (unsigned long long)d.lost_interrupts);
	mock_close(&d.m);
	return lost;
}

int main(void)
{
	struct mock_ram ram;
	cpu_set_t cpus;
	bool lost;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) || CPU_COUNT(&cpus) < 2) {
		printf("needs two CPUs: with one, both sides see memory in the same order\n");
		return 77;
	}
	(void)pin(&cpus, 0);
	mock_ram_open(&ram, 0, 1 << 20);
	lost = run(true, LITMUS_SECONDS, &cpus, &ram);
	if (!BROKEN)
		lost |= run(false, SLEEP_SECONDS, &cpus, &ram);
	mock_ram_close(&ram);
	if (BROKEN)
		printf(lost ? "lost wake-up shown\n"
		            : "no lost wake-up without the fence: the test is blind\n");
	return lost == BROKEN ? EXIT_SUCCESS : EXIT_FAILURE;
}
