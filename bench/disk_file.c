/* SPDX-License-Identifier: Apache-2.0 */
/* The file behind the disk: filled before anything is measured, cached or not as the job wants it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

#define CHUNK (1u << 20)
#define PIECE 4096u

static uint64_t *new_chunk(void)
{
	uint64_t *chunk = aligned_alloc(PIECE, CHUNK);

	if (!chunk)
		bench_die(BENCH_FAILED, "no memory");
	memset(chunk, 0x5a, CHUNK); /* not zeroes, which some file systems leave out */
	return chunk;
}

static void fill(int fd, const char *path, uint64_t bytes)
{
	uint64_t *chunk = new_chunk();

	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		for (uint64_t i = 0; i < CHUNK / PIECE; i++)
			chunk[i * PIECE / 8] = at / PIECE + i;
		if (pwrite(fd, chunk, CHUNK, (off_t)at) != (ssize_t)CHUNK)
			bench_die(BENCH_FAILED, "%s: writing: %s", path, strerror(errno));
	}
	free(chunk);
}

static void read_through(int fd, uint64_t bytes)
{
	uint64_t *chunk = new_chunk();

	for (uint64_t at = 0; at < bytes; at += CHUNK)
		if (pread(fd, chunk, CHUNK, (off_t)at) <= 0)
			bench_die(BENCH_FAILED, "reading: %s", strerror(errno));
	free(chunk);
}

/* Nothing is left to be written back while the next one is measured. */
void disk_ready(const struct disk_job *job)
{
	struct stat st;
	int fd;

	if (!job->path)
		return;
	fd = open(job->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0 || fstat(fd, &st))
		bench_die(BENCH_FAILED, "%s: %s", job->path, strerror(errno));
	if ((uint64_t)st.st_size < job->bytes)
		fill(fd, job->path, job->bytes);
	if (fsync(fd))
		bench_die(BENCH_FAILED, "%s: fsync: %s", job->path, strerror(errno));
	if (job->direct)
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	else
		read_through(fd, job->bytes);
	close(fd);
}

int disk_open(const struct disk_job *job)
{
	int fd = open(job->path, O_RDWR | O_CLOEXEC | (job->direct ? O_DIRECT : 0));

	if (fd < 0 && errno == EINVAL && job->direct)
		bench_die(BENCH_SKIPPED, "%s: no O_DIRECT; name a -f FILE on a disk", job->path);
	if (fd < 0)
		bench_die(BENCH_FAILED, "%s: %s", job->path, strerror(errno));
	return fd;
}
