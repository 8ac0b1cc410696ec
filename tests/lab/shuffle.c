/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: shuffle FOLDER FILES BYTES OPERATIONS SEED [TURN]
 *
 * Does random things to files in FOLDER, so many of at most BYTES each: writes, reads, both through a
 * mapping, too, cuts them and lets them grow, punches holes, appends, closes and opens them, gives them other
 * names and each other's, second names, removes and makes them, flushes them. All that is read must be what a
 * copy in memory has, and before and after the whole folder is.
 *
 * What is done depends on SEED and TURN alone: who has the second turn knows what the first has made, though
 * another machine has had it, and looks at all of it before it goes on. TURN is 1 if it is not given.
 *
 * Static, and without sanitizers: it runs in a guest in the lab.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 65536u /* bytes of one operation */
#define PAGE 4096u
#define FILES_MOST 64u

struct file {
	bool exists;
	int fd; /* -1: closed */
	uint32_t size;
	unsigned char *copy; /* zeroes behind its size */
};

struct shuffle {
	const char *folder;
	struct file files[FILES_MOST];
	uint32_t nfiles, most;
	unsigned char *buffer;
	uint64_t random;
	bool dry; /* a turn that is over: only the copy follows */
	uint64_t mapped, moved, removed;
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

static int differs(const struct shuffle *s, const struct file *f, const char *what, long long is,
                   long long should)
{
	fprintf(stderr, "shuffle: file %d: %s: %lld, not %lld\n", (int)(f - s->files), what, is, should);
	return -1;
}

/* Of the file with that number; or another name, which no file has. Until the next but one call. */
static const char *path_of(const struct shuffle *s, const struct file *f)
{
	static char paths[2][4096];
	static unsigned turn;
	char *path = paths[turn++ % 2];

	if (f)
		snprintf(path, sizeof(paths[0]), "%s/file%d", s->folder, (int)(f - s->files));
	else
		snprintf(path, sizeof(paths[0]), "%s/other", s->folder);
	return path;
}

static int close_it(struct file *f)
{
	int fd = f->fd;

	f->fd = -1;
	return fd >= 0 && close(fd) ? fail("close") : 0;
}

static int reopen(struct shuffle *s, struct file *f)
{
	if (s->dry)
		return 0;
	if (close_it(f))
		return -1;
	f->fd = open(path_of(s, f), O_RDWR | O_CLOEXEC);
	return f->fd < 0 ? fail("open") : 0;
}

/* A range of a file as it may become. */
static uint32_t range(struct shuffle *s, uint32_t *len)
{
	uint32_t at = draw(s, s->most);

	*len = 1 + draw(s, MOST);
	if (*len > s->most - at)
		*len = s->most - at;
	return at;
}

/* What is in it of that. */
static uint32_t within(const struct file *f, uint32_t at, uint32_t len)
{
	return at >= f->size ? 0 : len > f->size - at ? f->size - at : len;
}

/* ---- Contents ---- */

static void scribble(struct shuffle *s, struct file *f, uint32_t at, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		f->copy[at + i] = (unsigned char)draw(s, 256);
	if (at + len > f->size)
		f->size = at + len;
}

static int put(struct shuffle *s, struct file *f, uint32_t at, uint32_t len)
{
	scribble(s, f, at, len);
	return s->dry || pwrite(f->fd, f->copy + at, len, at) == (ssize_t)len ? 0 : fail("write");
}

/* By a descriptor of its own. */
static int append(struct shuffle *s, struct file *f, uint32_t len)
{
	uint32_t at = f->size;
	ssize_t n;
	int fd;

	if (len > s->most - at)
		return 0;
	scribble(s, f, at, len);
	if (s->dry)
		return 0;
	fd = open(path_of(s, f), O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return fail("open to append");
	n = write(fd, f->copy + at, len);
	return close(fd) || n != (ssize_t)len ? fail("append") : 0;
}

static int compare(const struct shuffle *s, const struct file *f, const unsigned char *is, uint32_t at,
                   uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (is[i] != f->copy[at + i])
			return differs(s, f, "the first wrong byte is at", at + i, -1);
	return 0;
}

static int look(struct shuffle *s, struct file *f, uint32_t at, uint32_t len)
{
	ssize_t n;

	if (s->dry)
		return 0;
	n = pread(f->fd, s->buffer, len, at);
	if (n < 0)
		return fail("read");
	if ((uint32_t)n != within(f, at, len))
		return differs(s, f, "bytes read", n, within(f, at, len));
	return compare(s, f, s->buffer, at, (uint32_t)n);
}

/* Through memory: reads, or writes, and then may leave it to the kernel when that is in the file. */
static int map(struct shuffle *s, struct file *f, uint32_t at, uint32_t len, bool writes)
{
	uint32_t from = at / PAGE * PAGE;
	bool flush = draw(s, 2);
	unsigned char *memory;
	int rc = 0;

	len = within(f, at, len);
	if (writes && len)
		scribble(s, f, at, len);
	s->mapped++;
	if (!len || s->dry)
		return 0;
	memory = mmap(NULL, at - from + len, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, from);
	if (memory == MAP_FAILED)
		return fail("map");
	if (writes && len)
		memcpy(memory + (at - from), f->copy + at, len);
	else
		rc = compare(s, f, memory + (at - from), at, len);
	if (writes && flush && msync(memory, at - from + len, MS_SYNC))
		rc = fail("msync");
	return munmap(memory, at - from + len) ? fail("unmap") : rc;
}

static int resize(struct shuffle *s, struct file *f, uint32_t size)
{
	if (!s->dry && (size % 2 ? ftruncate(f->fd, size) : truncate(path_of(s, f), size)))
		return fail("truncate");
	if (size < f->size)
		memset(f->copy + size, 0, f->size - size);
	f->size = size;
	return 0;
}

static int punch(struct shuffle *s, struct file *f, uint32_t at, uint32_t len)
{
	len = within(f, at, len);
	memset(f->copy + at, 0, len);
	if (!len || s->dry || !fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, len))
		return 0;
	if (errno != EOPNOTSUPP)
		return fail("punch a hole");
	return pwrite(f->fd, f->copy + at, len, at) == (ssize_t)len ? 0 : fail("write zeroes");
}

/* ---- Names ---- */

static int make(struct shuffle *s, struct file *f)
{
	f->exists = true;
	f->size = 0;
	if (s->dry)
		return 0;
	f->fd = open(path_of(s, f), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	return f->fd < 0 ? fail("make") : 0;
}

/* It may be open still, and closed after that. */
static int drop(struct shuffle *s, struct file *f)
{
	s->removed++;
	memset(f->copy, 0, f->size);
	f->exists = false;
	return !s->dry && unlink(path_of(s, f)) ? fail("remove") : close_it(f);
}

/* In the place of another, or away and back. */
static int move(struct shuffle *s, struct file *f, struct file *to)
{
	unsigned char *copy = to->copy;
	struct stat status;

	s->moved++;
	if (f == to) {
		if (!s->dry && (rename(path_of(s, f), path_of(s, NULL)) || !stat(path_of(s, f), &status) ||
		                rename(path_of(s, NULL), path_of(s, f))))
			return fail("rename, and back");
		return 0;
	}
	if (!s->dry && (rename(path_of(s, f), path_of(s, to)) || close_it(to)))
		return fail("rename");
	memset(copy, 0, s->most);
	*to = *f;
	*f = (struct file){.fd = -1, .copy = copy};
	return 0;
}

static int give_second_name(struct shuffle *s, struct file *f)
{
	struct stat status;

	if (s->dry)
		return 0;
	if (link(path_of(s, f), path_of(s, NULL)) || stat(path_of(s, NULL), &status) ||
	    unlink(path_of(s, NULL)))
		return fail("second name");
	if (status.st_nlink != 2 || status.st_size != (off_t)f->size)
		return differs(s, f, "names, or the size by the second one", (long long)status.st_size,
		               f->size);
	return 0;
}

static int measure(struct shuffle *s, struct file *f)
{
	struct stat status;

	if (s->dry)
		return 0;
	if (fstat(f->fd, &status) || stat(path_of(s, f), &status))
		return fail("stat");
	return status.st_size == (off_t)f->size ? 0
	                                        : differs(s, f, "size", (long long)status.st_size, f->size);
}

/* ---- One of them, a turn, all turns ---- */

static int operation(struct shuffle *s)
{
	struct file *f = &s->files[draw(s, s->nfiles)], *other = &s->files[draw(s, s->nfiles)];
	uint32_t len, at = range(s, &len), what = draw(s, 24);

	if (!f->exists)
		return make(s, f);
	switch (what) {
	case 0:
		return resize(s, f, at);
	case 1:
		return punch(s, f, at, len);
	case 2:
		return !s->dry && fsync(f->fd) ? fail("fsync") : 0;
	case 3:
		return reopen(s, f);
	case 4:
		return move(s, f, other);
	case 5:
		return measure(s, f);
	case 6:
	case 7:
		return append(s, f, len);
	case 8:
		return draw(s, 2) ? drop(s, f) : give_second_name(s, f);
	case 9:
	case 10:
	case 11:
		return map(s, f, at, len, true);
	case 12:
	case 13:
		return map(s, f, at, len, false);
	case 14:
	case 15:
	case 16:
	case 17:
		return put(s, f, at, len);
	default:
		return look(s, f, at, len);
	}
}

static int look_at_file(struct shuffle *s, struct file *f)
{
	if (reopen(s, f) || measure(s, f))
		return -1;
	for (uint32_t at = 0; at < f->size; at += MOST)
		if (look(s, f, at, MOST))
			return -1;
	return 0;
}

/* Every file, every byte, and no name besides. */
static int look_at_all(struct shuffle *s)
{
	DIR *folder = opendir(s->folder);
	uint32_t names = 0, should = 0;

	if (!folder)
		return fail("open the folder");
	for (const struct dirent *entry; (entry = readdir(folder));)
		names += entry->d_name[0] != '.';
	closedir(folder);
	for (uint32_t i = 0; i < s->nfiles; i++) {
		struct file *f = &s->files[i];

		should += f->exists;
		if (f->exists && look_at_file(s, f))
			return -1;
	}
	return names == should ? 0 : differs(s, s->files, "names in the folder", names, should);
}

static int turn(struct shuffle *s, uint64_t operations, uint64_t seed)
{
	s->random = seed * 0x9e3779b97f4a7c15 + 1;
	while (operations--)
		if (operation(s))
			return -1;
	return 0;
}

static int run(struct shuffle *s, uint64_t operations, uint64_t seed, uint64_t turns)
{
	if (mkdir(s->folder, 0755) && errno != EEXIST)
		return fail("make the folder");
	s->dry = true;
	for (uint64_t i = 1; i < turns; i++)
		if (turn(s, operations, seed * 1000 + i))
			return -1;
	s->dry = false;
	s->mapped = s->moved = s->removed = 0;
	if (look_at_all(s) || turn(s, operations, seed * 1000 + turns) || look_at_all(s))
		return -1;
	for (uint32_t i = 0; i < s->nfiles; i++)
		if (s->files[i].fd >= 0 && (fsync(s->files[i].fd) || close_it(&s->files[i])))
			return fail("fsync at the end");
	return 0;
}

static bool allocate(struct shuffle *s)
{
	s->buffer = malloc(MOST);
	for (uint32_t i = 0; i < s->nfiles; i++) {
		s->files[i] = (struct file){.fd = -1, .copy = calloc(1, s->most)};
		if (!s->files[i].copy)
			return false;
	}
	return s->buffer;
}

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 10);
}

int main(int argc, char **argv)
{
	static struct shuffle s;
	int failed;

	if (argc >= 6) {
		s.folder = argv[1];
		s.nfiles = (uint32_t)number(argv[2]);
		s.most = (uint32_t)number(argv[3]);
	}
	if (argc < 6 || argc > 7 || !s.most || !s.nfiles || s.nfiles > FILES_MOST) {
		fprintf(stderr, "usage: shuffle FOLDER FILES BYTES OPERATIONS SEED [TURN]\n");
		return 2;
	}
	if (!allocate(&s))
		return fail("memory") != 0;
	failed = run(&s, number(argv[4]), number(argv[5]), argc == 7 ? number(argv[6]) : 1);
	if (!failed)
		printf("shuffle: %s operations, %llu by mappings, %llu renames, %llu files removed\n",
		       argv[4], (unsigned long long)s.mapped, (unsigned long long)s.moved,
		       (unsigned long long)s.removed);
	return failed != 0;
}
