/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: stress_lives [LIVES [SEED [THREADS]]]
 *
 * VMs are created, run, reset, rebooted and destroyed at random, several at a time, with all kinds of devices
 * and requests in flight; two loops serve many of them, some have one of their own. What the process holds
 * of the host (fds, threads, mappings, memory) after the first twentieth of the lives it holds at the end.
 *
 * A life depends on its seed, which a failure names, and on what the scheduler makes of it:
 * `stress_lives 1 SEED 1` lives that one alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "held.h"
#include "life.h"

#define LIVES_DEFAULT (HELD_SANITIZED ? 200u : 600u)
#define THREADS_DEFAULT 8u
#define THREADS_MAX 64u
#define WARM_UP 20u /* the first of so many parts */

struct stress {
	struct life_world world;
	uint64_t seed;
	uint32_t threads;
	uint32_t next, end; /* lives; next: atomic */
	struct life_sum sums[THREADS_MAX];
};

struct liver {
	struct stress *stress;
	struct life_sum *sum;
	pthread_t thread;
};

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* splitmix64: each life's own. The first one's is the seed itself. */
static uint64_t seed_of(uint64_t seed, uint32_t life)
{
	uint64_t z = seed + life * 0x9e3779b97f4a7c15ull;

	if (!life)
		return seed;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static void *live(void *arg)
{
	struct liver *liver = arg;
	struct stress *stress = liver->stress;
	uint32_t i;

	while ((i = __atomic_fetch_add(&stress->next, 1, __ATOMIC_ACQ_REL)) < stress->end)
		life_live(&stress->world, seed_of(stress->seed, i), liver->sum);
	return NULL;
}

/* All lives up to `end`, and nobody lives when it returns. */
static void live_until(struct stress *stress, uint32_t end)
{
	struct liver livers[THREADS_MAX];

	stress->end = end;
	for (uint32_t i = 0; i < stress->threads; i++) {
		livers[i] = (struct liver){.stress = stress, .sum = &stress->sums[i]};
		must(-pthread_create(&livers[i].thread, NULL, live, &livers[i]));
	}
	for (uint32_t i = 0; i < stress->threads; i++)
		pthread_join(livers[i].thread, NULL);
	stress->next = end;
}

/* ---- The world ---- */

static void open_world(struct life_world *world)
{
	struct vdb_loop_config config = {.size = sizeof(config), .pool_threads = -1};
	int rc = vdb_kvm_open(NULL, &world->kvm);
	char disk[96];

	if (rc == -ENOENT || rc == -EACCES || rc == -ENOTSUP) {
		(void)fprintf(stderr, "skipped: %s\n", vdb_errmsg());
		exit(77);
	}
	must(rc);
	(void)snprintf(world->dir, sizeof(world->dir), "/tmp/vdb-lives-XXXXXX");
	if (!mkdtemp(world->dir))
		life_die("%s: %s", world->dir, strerror(errno));
	(void)snprintf(disk, sizeof(disk), "%s/disk", world->dir);
	world->disk = open(disk, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (world->disk < 0 || unlink(disk) || ftruncate(world->disk, LIVES_DISK))
		life_die("%s: %s", disk, strerror(errno));
	must(vdb_worker_create(NULL, &world->worker));
	for (uint32_t i = 0; i < LIFE_LOOPS; i++) {
		config.engine = i ? VDB_ENGINE_EPOLL : VDB_ENGINE_AUTO;
		must(vdb_loop_create(&config, &world->loops[i]));
		must(vdb_loop_start(world->loops[i], -1, NULL));
	}
}

static void close_world(struct life_world *world)
{
	for (uint32_t i = 0; i < LIFE_LOOPS; i++) {
		must(vdb_loop_join(world->loops[i]));
		must(vdb_loop_destroy(world->loops[i]));
	}
	must(vdb_worker_destroy(world->worker));
	vdb_kvm_close(world->kvm);
	close(world->disk);
	if (rmdir(world->dir))
		life_die("%s: %s", world->dir, strerror(errno));
}

/* ---- Results ---- */

static struct life_sum sum_of(const struct stress *stress)
{
	struct life_sum all = {0};

	for (uint32_t i = 0; i < stress->threads; i++) {
		const struct life_sum *one = &stress->sums[i];

		all.lives += one->lives;
		all.reboots += one->reboots;
		all.pauses += one->pauses;
		all.moves += one->moves;
		all.resets += one->resets;
		all.under += one->under;
		all.own_loops += one->own_loops;
		for (uint32_t kind = 0; kind < LIVES_KINDS; kind++) {
			all.done[kind] += one->done[kind];
			all.with[kind] += one->with[kind];
		}
	}
	return all;
}

static void print_sum(const struct life_sum *sum, double took)
{
	static const char *const names[] = {"native", "blk mmio", "blk pci", "net", "vsock"};

	printf("%llu lives in %.1f s: %llu reboots, %llu pauses, %llu moves, %llu loops of their own, %llu "
	       "device "
	       "resets, %llu requests in flight at the end\n",
	       (unsigned long long)sum->lives, took, (unsigned long long)sum->reboots,
	       (unsigned long long)sum->pauses, (unsigned long long)sum->moves,
	       (unsigned long long)sum->own_loops, (unsigned long long)sum->resets,
	       (unsigned long long)sum->under);
	for (uint32_t kind = 0; kind < LIVES_KINDS; kind++)
		printf("%s: %llu lives, %llu requests%s", names[kind], (unsigned long long)sum->with[kind],
		       (unsigned long long)sum->done[kind], kind + 1 < LIVES_KINDS ? "; " : "\n");
}

/* A run that has hardly done anything has shown nothing. */
static int check_sum(const struct life_sum *sum)
{
	if (sum->lives < 100)
		return 0;
	for (uint32_t kind = 0; kind < LIVES_KINDS; kind++) {
		if (sum->done[kind] < sum->lives / 10) {
			(void)fprintf(stderr, "kind %u was hardly used\n", kind);
			return 1;
		}
	}
	if (sum->under && sum->resets && sum->reboots && sum->moves && sum->own_loops)
		return 0;
	(void)fprintf(stderr, "something that should happen by chance never did\n");
	return 1;
}

static int run(struct stress *stress, uint32_t lives)
{
	struct held before, after;
	struct life_sum sum;
	double start = seconds();
	uint64_t threads;
	unsigned grown;

	held_look(&before);
	threads = before.threads;
	live_until(stress, lives / WARM_UP);
	held_look(&before);
	held_print("after the first lives", &before);
	live_until(stress, lives);
	held_look(&after);
	held_print("at the end", &after);
	sum = sum_of(stress);
	print_sum(&sum, seconds() - start);
	if (HELD_SANITIZED)
		printf("skipped part: mappings and RSS, which are the sanitizer's\n");
	grown = held_compare(&before, &after);
	if (after.vms || after.vcpus || after.pinned_kb || after.threads != threads) {
		(void)fprintf(stderr, "something of a VM is left\n");
		grown++;
	}
	return check_sum(&sum) || grown ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* glibc keeps stacks of threads that have ended, and heaps: as many as there ever were at once. */
static void keep_nothing(char **argv)
{
	static const char tunables[] = "glibc.pthread.stack_cache_size=0:glibc.malloc.arena_max=1:glibc."
	                               "malloc.mmap_threshold=131072";

	if (getenv("GLIBC_TUNABLES"))
		return;
	if (setenv("GLIBC_TUNABLES", tunables, 1))
		life_die("setenv: %s", strerror(errno));
	execv("/proc/self/exe", argv);
	life_die("exec: %s", strerror(errno));
}

static uint64_t number(int argc, char **argv, int i, uint64_t otherwise)
{
	return i < argc ? strtoull(argv[i], NULL, 0) : otherwise;
}

int main(int argc, char **argv)
{
	static struct stress stress;
	uint64_t lives = number(argc, argv, 1, LIVES_DEFAULT);
	int result;

	keep_nothing(argv);
	if (getrandom(&stress.seed, sizeof(stress.seed), 0) != sizeof(stress.seed))
		life_die("getrandom: %s", strerror(errno));
	stress.seed = number(argc, argv, 2, stress.seed);
	stress.threads = (uint32_t)number(argc, argv, 3, THREADS_DEFAULT);
	if (!lives || lives > UINT32_MAX / 2 || !stress.threads || stress.threads > THREADS_MAX) {
		(void)fprintf(stderr, "usage: %s [LIVES [SEED [THREADS (1..%u)]]]\n", argv[0], THREADS_MAX);
		return 2;
	}
	printf("%llu lives, seed %#llx, %u at a time\n", (unsigned long long)lives,
	       (unsigned long long)stress.seed, stress.threads);
	open_world(&stress.world);
	result = run(&stress, (uint32_t)lives);
	close_world(&stress.world);
	return result;
}
