/* SPDX-License-Identifier: Apache-2.0 */
/* No VM at all: a thread on the loop's CPU does what the guest would ask for, by plain system calls, one
 * after the other. What the host's file costs, and so the least that a disk of that file can. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disk.h"
#include "guest/histogram.h"

#define PIECE 4096u

struct host {
	const struct disk_job *job;
	int fd;
	uint64_t *data;
	uint64_t chance, next;
	struct histogram trips;
};

/* As the guest picks them. */
static uint64_t pick(struct host *h)
{
	uint64_t blocks = h->job->bytes / h->job->block;

	if (h->job->sequential) {
		h->next = h->next + 1 < blocks ? h->next + 1 : 0;
		return h->next;
	}
	h->chance ^= h->chance << 13;
	h->chance ^= h->chance >> 7;
	h->chance ^= h->chance << 17;
	return (uint64_t)((unsigned __int128)h->chance * blocks >> 64);
}

static void request(struct host *h)
{
	const struct disk_job *job = h->job;
	uint64_t block = pick(h), start;
	ssize_t done;

	for (uint32_t i = 0; i < job->block / PIECE; i++)
		h->data[i * (PIECE / 8)] = block * (job->block / PIECE) + i;
	start = bench_tsc();
	if (!strcmp(job->op, "read"))
		done = pread(h->fd, h->data, job->block, (off_t)(block * job->block));
	else
		done = pwrite(h->fd, h->data, job->block, (off_t)(block * job->block));
	if (done != (ssize_t)job->block || (!strcmp(job->op, "pair") && fdatasync(h->fd)))
		bench_die(BENCH_FAILED, "%s: %s", job->path, strerror(errno));
	histogram_add(&h->trips, bench_tsc() - start);
}

static uint64_t keep_going(struct host *h, uint64_t ticks, uint64_t *ran)
{
	uint64_t start = bench_tsc(), count = 0;

	h->trips = (struct histogram){0};
	do {
		request(h);
		count++;
		*ran = bench_tsc() - start;
	} while (*ran < ticks);
	return count;
}

void disk_host(const struct bench_options *o, const struct disk_job *job, struct disk_result *result)
{
	uint64_t ticks = bench_ms_to_ticks(o->ms);
	struct host *h = calloc(1, sizeof(*h));
	uint64_t warm;

	if (!h)
		bench_die(BENCH_FAILED, "no memory");
	*h = (struct host){.job = job, .fd = disk_open(job), .chance = bench_tsc() | 1};
	h->data = aligned_alloc(PIECE, job->block);
	if (!h->data)
		bench_die(BENCH_FAILED, "no memory");
	memset(h->data, 0x5a, job->block);
	*result = (struct disk_result){0};
	bench_pin(o->loop_cpu);
	warm = keep_going(h, ticks / DISK_WARM_UP, &result->ran);
	result->completed = keep_going(h, ticks, &result->ran);
	bench_unpin();
	result->all = warm + result->completed;
	result->p50 = histogram_percentile(&h->trips, 50);
	result->p99 = histogram_percentile(&h->trips, 99);
	close(h->fd);
	free(h->data);
	free(h);
}
