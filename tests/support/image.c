/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void image_pattern(void *to, size_t len, unsigned seed)
{
	unsigned char *bytes = to;

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(seed + i * 7 + (i >> 8) * 3);
}

void image_store(char *path, const void *bytes, size_t len)
{
	int fd;

	(void)snprintf(path, 64, "%s/vdb-image-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	ck_assert_int_eq(close(fd), 0);
}

void image_make(char *path, size_t len, unsigned seed)
{
	unsigned char *bytes = malloc(len);

	ck_assert_ptr_nonnull(bytes);
	image_pattern(bytes, len, seed);
	image_store(path, bytes, len);
	free(bytes);
}

void image_check(const char *path, uint64_t offset, const void *bytes, size_t len)
{
	unsigned char *now = malloc(len);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t at = 0;

	ck_assert_ptr_nonnull(now);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pread(fd, now, len, (off_t)offset), (ssize_t)len);
	/* One ck_assert() for all: each is a system call. */
	while (at < len && now[at] == ((const unsigned char *)bytes)[at])
		at++;
	ck_assert_msg(at == len, "%s: byte %llu differs", path, (unsigned long long)offset + at);
	close(fd);
	free(now);
}

uint64_t image_size(const char *path)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}
