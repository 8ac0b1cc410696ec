/* SPDX-License-Identifier: Apache-2.0 */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <vdb/backend.h>
#include <vdb/error.h>

#include "guest/block.h"
#include "tinyvmm.h"

static int make_backend(struct image *image, const char *path, int fd, bool direct)
{
	struct vdb_file_config config = {
	        .size = sizeof(config), .flags = direct ? VDB_FILE_DIRECT : 0, .path = path, .fd = fd};

	if (vdb_backend_file(&config, &image->backend))
		return complain("%s", vdb_errmsg());
	return 0;
}

static int open_named(struct image *image, const char *path, uint64_t bytes, bool direct)
{
	struct vdb_backend_info info = {.size = sizeof(info)};

	image->name = path;
	image->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (image->fd < 0)
		return complain("image %s: %s; make one with: truncate -s %llu %s", path, strerror(errno),
		                (unsigned long long)bytes, path);
	if (flock(image->fd, LOCK_EX | LOCK_NB))
		return complain("image %s: another tinyvmm is at work on it; wait, or use another one", path);
	if (make_backend(image, path, -1, direct))
		return -1;
	if (vdb_backend_query(image->backend, &info))
		return complain("%s", vdb_errmsg());
	if (info.capacity < bytes)
		return complain("image %s: has %llu bytes, this run needs %llu; ask for fewer --vms or "
		                "--blocks, or: truncate -s %llu %s",
		                path, (unsigned long long)info.capacity, (unsigned long long)bytes,
		                (unsigned long long)bytes, path);
	return 0;
}

/* Nameless from the start: it is gone when tinyvmm is, however that ends. */
static int open_temporary(struct image *image, uint64_t bytes, bool direct)
{
	const char *folder = getenv("TMPDIR");
	char path[4096];
	int fd, failed;

	image->name = "(temporary)";
	snprintf(path, sizeof(path), "%s/tinyvmm-XXXXXX", folder && *folder ? folder : "/var/tmp");
	image->fd = mkostemp(path, O_CLOEXEC);
	if (image->fd < 0)
		return complain("temporary image %s: %s; set TMPDIR, or name an --image", path,
		                strerror(errno));
	fd = open(path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	failed = errno;
	unlink(path);
	if (fd < 0)
		return complain("temporary image in %s: %s; O_DIRECT needs a disk: set TMPDIR to a folder on "
		                "one",
		                folder && *folder ? folder : "/var/tmp", strerror(failed));
	failed = posix_fallocate(fd, 0, (off_t)bytes);
	if (failed)
		complain("temporary image of %llu bytes in %s: %s; set TMPDIR, or name an --image",
		         (unsigned long long)bytes, folder && *folder ? folder : "/var/tmp",
		         strerror(failed));
	else
		failed = make_backend(image, NULL, fd, direct);
	close(fd);
	return failed ? -1 : 0;
}

int image_open(struct image *image, const char *path, uint64_t bytes, bool direct)
{
	*image = (struct image){.fd = -1};
	return path ? open_named(image, path, bytes, direct) : open_temporary(image, bytes, direct);
}

void image_close(struct image *image)
{
	vdb_backend_destroy(image->backend);
	if (image->fd >= 0)
		close(image->fd);
}

static bool block_wrong(const struct image *image, struct demo_block *want)
{
	struct demo_block got;
	ssize_t n = pread(image->fd, &got, sizeof(got), (off_t)(want->block * DEMO_BLOCK_BYTES));

	return n != (ssize_t)sizeof(got) || demo_block_check(&got, want);
}

int64_t image_wrong_blocks(const struct image *image, uint32_t vm, uint64_t seed, uint64_t first,
                           uint64_t slice, uint64_t flushed)
{
	uint64_t round = flushed >> 32, blocks = flushed & UINT32_MAX;
	int64_t wrong = 0;

	for (uint64_t i = 0; i < slice; i++) {
		struct demo_block want = {
		        .vm = vm, .block = first + i, .round = i < blocks ? round : round - 1, .seed = seed};

		if (want.round && want.round != UINT64_MAX)
			wrong += block_wrong(image, &want);
	}
	return wrong;
}
