/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random reads of 4 KiB from a file, through a VM's ring: `cached`, from the page cache, or `direct`
 * (O_DIRECT). scripts/bench has fio read the same file beside it. -k: each block of
 * the file begins with its number, and the guest looks whether it got the right one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define CHUNK (1u << 20)
#define DIRECT 1u /* kind */

static uint64_t *new_chunk(void)
{
	uint64_t *chunk = aligned_alloc(BENCH_BLOCK, CHUNK);

	if (!chunk)
		bench_die(BENCH_FAILED, "no memory");
	memset(chunk, 0x5a, CHUNK); /* not zeroes, which some file systems leave out */
	return chunk;
}

static void fill(int fd, const char *path, uint64_t bytes)
{
	uint64_t *chunk = new_chunk();

	for (uint64_t at = 0; at < bytes; at += CHUNK) {
		for (uint64_t i = 0; i < CHUNK / BENCH_BLOCK; i++)
			chunk[i * BENCH_BLOCK / 8] = at / BENCH_BLOCK + i;
		if (pwrite(fd, chunk, CHUNK, (off_t)at) != (ssize_t)CHUNK)
			bench_die(BENCH_FAILED, "%s: writing: %s", path, strerror(errno));
	}
	if (fsync(fd))
		bench_die(BENCH_FAILED, "%s: fsync: %s", path, strerror(errno));
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

/* As large as it should be, and in the page cache if that is where it is read from. */
static void make_ready(const struct bench_options *o, const char *path, bool cached)
{
	uint64_t bytes = o->file_mib << 20;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		bench_die(BENCH_FAILED, "%s: %s", path, strerror(errno));
	if ((uint64_t)st.st_size < bytes)
		fill(fd, path, bytes);
	else if (cached)
		read_through(fd, bytes);
	close(fd);
}

static struct vdb_backend *open_backend(const struct bench_case *c, const char *path)
{
	struct vdb_file_config config = {.size = sizeof(config),
	                                 .path = path,
	                                 .flags = VDB_FILE_READONLY |
	                                          (c->kind == DIRECT ? VDB_FILE_DIRECT : 0)};
	struct vdb_backend *backend;
	int err = vdb_backend_file(&config, &backend);

	if (err == -EINVAL && c->kind == DIRECT)
		bench_die(BENCH_SKIPPED, "%s; name a -f FILE on a disk", vdb_errmsg());
	bench_must(err);
	return backend;
}

static void report(const struct bench_options *o, const struct bench_case *c, struct bench_vm *vm)
{
	double seconds = bench_ticks_to_ns((double)vm->box->ran) / 1e9;

	bench_row(o, c, "rate", (double)vm->box->completed / seconds, "1/s", c->what);
	bench_row(o, c, "calls",
	          (double)(vm->loop_stats.enters + vm->loop_stats.nowaits) / (double)vm->box->all, "",
	          "  system calls for I/O and to wait, per request");
	if (c->depth == 1)
		bench_percentiles(o, c, "trip", vm->samples, vm->box->sampled,
		                  "  round trip, seen by the guest");
}

static void reads(const struct bench_options *o, const struct bench_case *c)
{
	const char *path = o->file ? o->file : "bench.dat";
	struct vdb_backend *backend;
	struct bench_vm vm;

	make_ready(o, path, c->kind != DIRECT);
	backend = open_backend(c, path);
	bench_vm_create(&vm, o, VDB_DOORBELL_PAGE);
	vm.box->check = o->check;
	bench_vm_read(&vm, o, c, backend, (o->file_mib << 20) / BENCH_BLOCK);
	report(o, c, &vm);
	bench_vm_destroy(&vm);
}

#define CACHED(n)                                                                                      \
	{.name = "cached-" #n, .run = reads, .depth = n, .what = "reads of a cached file, depth " #n}, \
	{                                                                                              \
		.name = "poll-cached-" #n, .run = reads, .depth = n, .polling = true,                  \
		.what = "cached, polling loop, depth " #n                                              \
	}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
	        CACHED(1),
	        CACHED(2),
	        CACHED(4),
	        CACHED(8),
	        CACHED(32),
	        CACHED(128),
	        {.name = "direct-32",
	         .run = reads,
	         .depth = 32,
	         .kind = DIRECT,
	         .what = "reads with O_DIRECT, depth 32"},
	        {.name = "poll-direct-32",
	         .run = reads,
	         .depth = 32,
	         .kind = DIRECT,
	         .polling = true,
	         .what = "O_DIRECT, polling loop, depth 32"},
	};

	return bench_main(argc, argv, "file", cases, sizeof(cases) / sizeof(cases[0]));
}
