/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/image.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

/* Pinned and read at once. Regions are pages at least, so that this many iovecs always do. */
#define PIECE 0x100000u
#define PIECE_IOVS (PIECE / VDB_PAGE_SIZE + 1)

int vdb__image_open(struct vdb__image *image, const char *what, const char *path)
{
	struct stat st;

	*image = (struct vdb__image){.fd = -1, .what = what, .path = path};
	/* O_NONBLOCK: a FIFO shall be refused, not waited for. */
	image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (image->fd < 0)
		return vdb__fail_sys(errno, "%s %s", what, path);
	if (fstat(image->fd, &st))
		return vdb__fail_sys(errno, "%s %s: fstat", what, path);
	if (!S_ISREG(st.st_mode))
		return vdb__fail(EINVAL, "%s %s: is no regular file", what, path);
	image->len = (uint64_t)st.st_size;
	return 0;
}

void vdb__image_close(struct vdb__image *image)
{
	if (image->fd >= 0)
		(void)close(image->fd);
	image->fd = -1;
}

int vdb__image_has(const struct vdb__image *image, const char *part, uint64_t offset, uint64_t len)
{
	if (offset <= image->len && len <= image->len - offset)
		return 0;
	return vdb__fail(EINVAL,
	                 "%s %s: truncated or malformed: %s should be %llu bytes at %llu, the file has %llu",
	                 image->what, image->path, part, (unsigned long long)len, (unsigned long long)offset,
	                 (unsigned long long)image->len);
}

/* One read's worth. Bytes, > 0; or what went wrong. */
static int64_t read_some(const struct vdb__image *image, const struct iovec *iov, int count, uint64_t offset)
{
	ssize_t n;

	do
		n = preadv(image->fd, iov, count, (off_t)offset);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return vdb__fail_sys(errno, "%s %s: read at %llu", image->what, image->path,
		                     (unsigned long long)offset);
	if (!n)
		return vdb__fail(EINVAL, "%s %s: got shorter while it was read", image->what, image->path);
	return n;
}

int vdb__image_read(const struct vdb__image *image, const char *part, uint64_t offset, void *to, size_t len)
{
	int err = vdb__image_has(image, part, offset, len);

	for (size_t done = 0; !err && done < len;) {
		struct iovec iov = {.iov_base = (char *)to + done, .iov_len = len - done};
		int64_t n = read_some(image, &iov, 1, offset + done);

		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return err;
}

static int64_t load_some(const struct vdb__image *image, uint64_t offset, uint64_t len, struct vdb_mem *mem,
                         vdb_gpa_t gpa)
{
	struct iovec iov[PIECE_IOVS];
	struct vdb_mem_pin *pin;
	int64_t n;
	int count;

	if (len > PIECE)
		len = PIECE;
	count = vdb_mem_pin(mem, gpa, len, true, iov, PIECE_IOVS, &pin);
	if (count < 0)
		return count;
	n = read_some(image, iov, count, offset);
	vdb_mem_unpin(pin);
	return n;
}

int vdb__image_load(const struct vdb__image *image, const char *part, uint64_t offset, uint64_t len,
                    struct vdb_mem *mem, vdb_gpa_t gpa)
{
	int err = vdb__image_has(image, part, offset, len);

	for (uint64_t done = 0; !err && done < len;) {
		int64_t n = load_some(image, offset + done, len - done, mem, gpa + done);

		if (n < 0)
			return (int)n;
		done += (uint64_t)n;
	}
	return err;
}
