/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The notification protocol of virtqueues between two threads: the driver of the tests and the device of
 * lib/queue, for each layout, with and without EVENT_IDX. Bells and interrupts are counters that the other
 * side watches, so that both meet a million times a second; one request at a time, made available just when
 * the device arms; the driver polls for its use, or sleeps until it is interrupted.
 *
 * A lost wake-up is proven, not timed: see ring_wakeup.c. Built with VDB__BREAK_DEVICE_FENCE,
 * the device lacks its full fence, and a loss must be seen for each: then the program succeeds.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/atomic.h"
#include "mock.h"
#include "virtq_driver.h"

#ifdef VDB__BREAK_DEVICE_FENCE
#define BROKEN 1
#define SECONDS 20 /* at most; the first loss ends it */
#else
#define BROKEN 0
#define SECONDS 1
#endif
#define QUEUE 0x1000
#define ENTRIES 16u
#define DELAY 1000 /* empty turns, at most: a few times what a cache line needs to cross */
#define COLD 8

struct duel {
	/* Lines that both sides write: a store to one waits in the store buffer until the other CPU
	 * has given the line up, and the stores behind it wait too. */
	struct {
		uint32_t word;
		uint32_t pad[15];
	} cold[COLD];
	struct virtq_driver d;
	struct vdb_queue *queue;
	cpu_set_t cpus;
	uint32_t submitted; /* driver: published and, if asked for, rung */
	uint32_t published; /* device: published and, if asked for, interrupted */
	uint32_t bells, interrupts;
	uint32_t stop;
	uint32_t lost_bells, lost_interrupts;
	uint64_t sleeps[2]; /* driver's, device's */
};

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

/* Pins the calling thread to the n-th CPU of the set. */
static void pin(const cpu_set_t *may, int n)
{
	cpu_set_t one;

	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, may) || n-- != 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		(void)sched_setaffinity(0, sizeof(one), &one);
		return;
	}
}

/*
 * Sleeps until `signals` is no longer `before`. True: the other side says in `done` that it has finished
 * with number `next`, and has not signalled. Acquire: what it did before it counted, it has done.
 */
static bool sleep_is_lost(const struct duel *d, const uint32_t *signals, uint32_t before,
                          const uint32_t *done, uint32_t next)
{
	uint32_t turns = 0;

	while (vdb__load_acquire(signals) == before && !vdb__load_acquire(&d->stop)) {
		if ((int32_t)(vdb__load_acquire(done) - next) >= 0 && vdb__load_acquire(signals) == before)
			return true;
		if (++turns % 65536 == 0)
			(void)sched_yield();
	}
	return false;
}

static uint32_t serve(struct duel *d)
{
	static struct vdb__seg segs[MOCK_MAX_SEGS];
	const struct vdb__queue_ops *ops = d->queue->ops;
	struct vdb__elem elem;
	uint32_t n = 0;

	(void)ops->ready(d->queue, 0);
	for (; ops->pop(d->queue, &elem, segs); n++)
		ops->complete(d->queue, elem.cookie, 0, 0);
	if (ops->publish(d->queue))
		vdb__store_release(&d->interrupts, d->interrupts + 1);
	vdb__store_release(&d->published, d->published + n);
	return n;
}

static void *device(void *arg)
{
	struct duel *d = arg;
	uint32_t seed = 0x9e3779b9u, taken = 0, bells;

	pin(&d->cpus, 1);
	while (!vdb__load_acquire(&d->stop)) {
		bells = vdb__load_acquire(&d->bells);
		taken += serve(d);
		spin(random_below(&seed, DELAY));
		fill_store_buffer(d, taken);
		if (d->queue->ops->arm(d->queue))
			continue;
		d->sleeps[1]++;
		d->lost_bells += sleep_is_lost(d, &d->bells, bells, &d->submitted, taken + 1);
	}
	return NULL;
}

static void ring(void *arg)
{
	struct duel *d = arg;

	vdb__store_release(&d->bells, d->bells + 1);
}

static void wait_for_use(struct duel *d, bool by_interrupt)
{
	uint32_t len, turns = 0, interrupts;
	uint64_t cookie;

	for (;;) {
		interrupts = vdb__load_acquire(&d->interrupts);
		if (virtq_reap(&d->d, &cookie, &len))
			return;
		if (by_interrupt && !virtq_arm(&d->d)) {
			d->sleeps[0]++;
			d->lost_interrupts +=
			        sleep_is_lost(d, &d->interrupts, interrupts, &d->published, d->submitted);
		} else if (++turns % 65536 == 0) {
			(void)sched_yield();
		}
	}
}

static uint64_t drive(struct duel *d, double end)
{
	const struct virtq_buf buf = {0x8000, 64, true};
	uint32_t seed = 0x2545f491u;
	uint64_t n = 0;

	while (now() < end && !(BROKEN && vdb__load(&d->lost_bells))) {
		for (int i = 0; i < 256; i++, n++) {
			fill_store_buffer(d, seed);
			spin(random_below(&seed, DELAY));
			(void)virtq_add(&d->d, &buf, 1, n);
			(void)virtq_publish(&d->d);
			vdb__store_release(&d->submitted, d->submitted + 1);
			wait_for_use(d, !BROKEN && seed & 1);
		}
	}
	return n;
}

static bool run(uint32_t flags, const char *name, const cpu_set_t *cpus, struct mock_ram *ram)
{
	static struct duel d;
	pthread_t thread;
	uint64_t n;

	memset(&d, 0, sizeof(d));
	d.cpus = *cpus;
	virtq_driver_open(&d.d, ram,
	                  &(struct vdb_virtq_config){.entries = ENTRIES, .flags = flags, .desc = QUEUE});
	d.d.bell = ring;
	d.d.bell_arg = &d;
	if (vdb_virtq_create(ram->mem, &d.d.config, &d.queue))
		abort();
	d.queue->ops->attach(d.queue, &(struct vdb__queue_identity){0});
	if (pthread_create(&thread, NULL, device, &d))
		abort();
	n = drive(&d, now() + SECONDS);
	vdb__store_release(&d.stop, 1);
	(void)pthread_join(thread, NULL);
	printf("%s: %llu requests, %u bells, %u interrupts; the driver slept %llu times, the device %llu; "
	       "lost %u bells, %u interrupts\n",
	       name, (unsigned long long)n, d.bells, d.interrupts, (unsigned long long)d.sleeps[0],
	       (unsigned long long)d.sleeps[1], d.lost_bells, d.lost_interrupts);
	vdb_queue_destroy(d.queue);
	virtq_driver_close(&d.d);
	return d.lost_bells || d.lost_interrupts;
}

int main(void)
{
	static const struct {
		uint32_t flags;
		const char *name;
	} kinds[] = {
	        {0, "split"},
	        {VDB_VIRTQ_EVENT_IDX, "split, event"},
	        {VDB_VIRTQ_PACKED, "packed"},
	        {VDB_VIRTQ_PACKED | VDB_VIRTQ_EVENT_IDX, "packed, event"},
	};
	struct mock_ram ram;
	cpu_set_t cpus;
	bool good = true;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) || CPU_COUNT(&cpus) < 2) {
		printf("needs two CPUs: with one, both sides see memory in the same order\n");
		return 77;
	}
	pin(&cpus, 0);
	mock_ram_open(&ram, 0, 1 << 20);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		good &= run(kinds[i].flags, kinds[i].name, &cpus, &ram) == BROKEN;
	mock_ram_close(&ram);
	if (BROKEN)
		printf(good ? "lost wake-ups shown\n"
		            : "no lost wake-up without the fence: the test is blind\n");
	return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
