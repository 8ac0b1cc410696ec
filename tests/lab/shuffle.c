/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: shuffle FILE BYTES OPERATIONS SEED
 *
 * Does random things to FILE, of at most BYTES: writes, reads, cuts it and lets it grow, punches holes,
 * appends, closes and opens it, renames it away and back, flushes it. All that is read must be what a copy in
 * memory has, and in the end the whole file is. Static, and without sanitizers: it runs in a guest in the
 * lab.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 65536u /* bytes of one operation */

struct shuffle {
	const char *path;
	char away[4096];
	int fd;
	unsigned char *copy, *buffer;
	uint32_t most, size;
	uint64_t random;
};

static uint32_t draw(struct shuffle *s, uint32_t below)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return (uint32_t)(s->random >> 32) % below;
}

static int fail(const char *what)
{
	fprintf(stderr, "shuffle: %s: %s\n", what, strerror(errno));
	return -1;
}

static int reopen(struct shuffle *s)
{
	if (s->fd >= 0 && close(s->fd))
		return fail("close");
	s->fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	return s->fd < 0 ? fail("open") : 0;
}

/* A range of the file as it may become. */
static uint32_t range(struct shuffle *s, uint32_t *len)
{
	uint32_t at = draw(s, s->most);

	*len = 1 + draw(s, MOST);
	if (*len > s->most - at)
		*len = s->most - at;
	return at;
}

static int put(struct shuffle *s, uint32_t at, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		s->copy[at + i] = (unsigned char)draw(s, 256);
	if (pwrite(s->fd, s->copy + at, len, at) != (ssize_t)len)
		return fail("write");
	if (at + len > s->size)
		s->size = at + len;
	return 0;
}

static int look(struct shuffle *s, uint32_t at, uint32_t len)
{
	uint32_t want = at >= s->size ? 0 : len > s->size - at ? s->size - at : len;
	ssize_t n = pread(s->fd, s->buffer, len, at);

	if (n < 0)
		return fail("read");
	if ((uint32_t)n == want && !memcmp(s->buffer, s->copy + at, want))
		return 0;
	fprintf(stderr, "shuffle: %u bytes at %u: %zd were read, and are not those that were written\n", want,
	        at, n);
	return -1;
}

static int resize(struct shuffle *s, uint32_t size)
{
	if (ftruncate(s->fd, size))
		return fail("truncate");
	if (size < s->size)
		memset(s->copy + size, 0, s->size - size);
	s->size = size;
	return 0;
}

static int punch(struct shuffle *s, uint32_t at, uint32_t len)
{
	if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len))
		return errno == EOPNOTSUPP ? 0 : fail("punch a hole");
	memset(s->copy + at, 0, len);
	return 0;
}

static int move(struct shuffle *s)
{
	struct stat status;

	if (rename(s->path, s->away) || !stat(s->path, &status) || rename(s->away, s->path))
		return fail("rename");
	return 0;
}

static int measure(const struct shuffle *s)
{
	struct stat status;

	if (fstat(s->fd, &status) || stat(s->path, &status))
		return fail("stat");
	if (status.st_size == (off_t)s->size)
		return 0;
	fprintf(stderr, "shuffle: the size is %lld, not %u\n", (long long)status.st_size, s->size);
	return -1;
}

static int operation(struct shuffle *s)
{
	uint32_t len, at = range(s, &len);

	switch (draw(s, 16)) {
	case 0:
		return resize(s, at);
	case 1:
		return punch(s, at, len);
	case 2:
		return fsync(s->fd) ? fail("fsync") : 0;
	case 3:
		return reopen(s);
	case 4:
		return move(s);
	case 5:
		return measure(s);
	case 6:
		return s->size + len <= s->most ? put(s, s->size, len) : 0;
	case 7:
	case 8:
	case 9:
	case 10:
		return put(s, at, len);
	default:
		return look(s, at, len);
	}
}

static int run(struct shuffle *s, uint64_t operations)
{
	if (reopen(s) || resize(s, 0))
		return -1;
	while (operations--)
		if (operation(s))
			return -1;
	if (reopen(s) || measure(s))
		return -1;
	for (uint32_t at = 0; at < s->size; at += MOST)
		if (look(s, at, MOST))
			return -1;
	return fsync(s->fd) ? fail("fsync") : 0;
}

int main(int argc, char **argv)
{
	struct shuffle s = {.fd = -1};
	uint64_t operations;
	int failed;

	if (argc != 5 || (s.most = (uint32_t)strtoul(argv[2], NULL, 10)) == 0) {
		fprintf(stderr, "usage: shuffle FILE BYTES OPERATIONS SEED\n");
		return 2;
	}
	s.path = argv[1];
	snprintf(s.away, sizeof(s.away), "%s.away", s.path);
	operations = strtoull(argv[3], NULL, 10);
	s.random = strtoull(argv[4], NULL, 10) * 0x9e3779b97f4a7c15 + 1;
	s.copy = calloc(1, s.most);
	s.buffer = malloc(MOST);
	if (!s.copy || !s.buffer)
		return fail("memory") != 0;
	failed = run(&s, operations);
	if (!failed)
		printf("shuffle: %llu operations, %u bytes\n", (unsigned long long)operations, s.size);
	free(s.copy);
	free(s.buffer);
	return failed != 0;
}
