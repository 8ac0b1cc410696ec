/* SPDX-License-Identifier: Apache-2.0 */
#include "canary.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vdb/error.h>

#include "image.h"

#define GUARD (1u << 20)
#define SEED 0x5au

static bool alive(const uint8_t *bytes)
{
	uint8_t want[CANARY_BYTES];

	image_pattern(want, sizeof(want), SEED);
	return memcmp(want, bytes, sizeof(want)) == 0;
}

/* GUARD, canary, disk, canary, GUARD. */
static uint64_t span(const struct canary *canary)
{
	return canary->capacity + 2 * (uint64_t)(GUARD + CANARY_BYTES);
}

struct vdb_backend *canary_memory(struct canary *canary, uint64_t capacity)
{
	struct vdb_backend *backend = NULL;
	uint8_t *all;

	*canary = (struct canary){.capacity = capacity, .fd = -1};
	ck_assert_uint_eq(capacity % 4096, 0);
	all = mmap(NULL, span(canary), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert(all != MAP_FAILED);
	ck_assert_int_eq(mprotect(all + GUARD, capacity + 2 * (uint64_t)CANARY_BYTES, PROT_READ | PROT_WRITE),
	                 0);
	canary->memory = all + GUARD + CANARY_BYTES;
	image_pattern(canary->memory - CANARY_BYTES, CANARY_BYTES, SEED);
	image_pattern(canary->memory + capacity, CANARY_BYTES, SEED);
	ck_assert_msg(vdb_backend_memory(canary->memory, capacity, &backend) == 0, "%s", vdb_errmsg());
	return backend;
}

static int unlinked(void)
{
	const char *folder = getenv("TMPDIR");
	char path[256];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/vdb-canary-XXXXXX", folder ? folder : "/tmp");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unlink(path), 0);
	return fd;
}

static void put(int fd, uint64_t offset, uint64_t len, unsigned seed)
{
	uint8_t *bytes = malloc(len);

	ck_assert_ptr_nonnull(bytes);
	image_pattern(bytes, len, seed);
	ck_assert_int_eq(pwrite(fd, bytes, len, (off_t)offset), (ssize_t)len);
	free(bytes);
}

/* The same file, opened past the page cache; -1: its file system has no such thing. */
static int direct(int fd)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

struct vdb_backend *canary_file(struct canary *canary, uint64_t capacity, uint32_t vdb_file_flags)
{
	struct vdb_file_config config = {.size = sizeof(config), .flags = vdb_file_flags};
	struct vdb_backend *backend = NULL;
	int own = -1;

	*canary = (struct canary){.capacity = capacity, .fd = unlinked()};
	put(canary->fd, 0, capacity, 0);
	put(canary->fd, capacity, CANARY_BYTES, SEED);
	if (vdb_file_flags & VDB_FILE_DIRECT) {
		own = direct(canary->fd);
		if (own < 0)
			return NULL;
	}
	config.fd = own < 0 ? canary->fd : own;
	ck_assert_msg(vdb_backend_file(&config, &backend) == 0, "%s", vdb_errmsg());
	if (own >= 0)
		close(own);
	ck_assert_msg(vdb_backend_resize(backend, capacity) == 0, "%s", vdb_errmsg());
	return backend;
}

void canary_read(const struct canary *canary, uint64_t offset, void *to, uint64_t len)
{
	ck_assert(offset <= canary->capacity && len <= canary->capacity - offset);
	if (canary->memory)
		memcpy(to, canary->memory + offset, len);
	else
		ck_assert_int_eq(pread(canary->fd, to, len, (off_t)offset), (ssize_t)len);
}

static const char *dead_file(const struct canary *canary)
{
	uint8_t now[CANARY_BYTES];
	struct stat st;

	ck_assert_int_eq(fstat(canary->fd, &st), 0);
	if ((uint64_t)st.st_size != canary->capacity + CANARY_BYTES)
		return "the file's size has changed";
	ck_assert_int_eq(pread(canary->fd, now, sizeof(now), (off_t)canary->capacity), sizeof(now));
	return alive(now) ? NULL : "the file was written behind the disk's end";
}

const char *canary_dead(const struct canary *canary)
{
	if (!canary->memory)
		return dead_file(canary);
	if (!alive(canary->memory - CANARY_BYTES))
		return "memory was written before the disk's begin";
	return alive(canary->memory + canary->capacity) ? NULL : "memory was written behind the disk's end";
}

/* Memory stays: the backend need not have gone yet, and the process is short-lived. */
void canary_forget(struct canary *canary)
{
	if (!canary->memory)
		ck_assert_int_eq(close(canary->fd), 0);
}
