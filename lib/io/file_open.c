/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that can be wrong with an image is found, and said, before anything is served. */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"

#define MIN_BLOCK 512u
#define MAX_BLOCK (1u << 20)
#define FALLBACK_ALIGN 4096u /* for O_DIRECT, where the kernel does not say */

static int check_kind(const struct stat *st, const char *name)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	if (S_ISDIR(st->st_mode))
		return vdb__fail(EISDIR, "image %s is a directory; name a file or block device", name);
	return vdb__fail(EINVAL, "image %s is neither a regular file nor a block device", name);
}

/* Looks before it opens: opening a FIFO would wait for its other end. */
static int open_path(struct vdb__file *file, const char *path)
{
	int flags = O_CLOEXEC | (file->flags & VDB_FILE_READONLY ? O_RDONLY : O_RDWR);
	struct stat st;
	int rc;

	if (stat(path, &st))
		return vdb__fail_sys(errno, "image %s", path);
	rc = check_kind(&st, path);
	if (rc)
		return rc;
	if (file->flags & VDB_FILE_DIRECT)
		flags |= O_DIRECT;
	file->fd = open(path, flags);
	if (file->fd >= 0)
		return 0;
	if (errno == EINVAL && flags & O_DIRECT)
		return vdb__fail(
		        EINVAL, "image %s: its file system has no O_DIRECT; leave out VDB_FILE_DIRECT", path);
	return vdb__fail_sys(errno, "image %s: open", path);
}

/* The flags are the file description's, and so the caller's: they are not ours to change. */
static int check_flags(const struct vdb__file *file, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return vdb__fail_sys(errno, "image fd %d", fd);
	if (flags & O_PATH || (flags & O_ACCMODE) == O_WRONLY ||
	    ((flags & O_ACCMODE) == O_RDONLY && !(file->flags & VDB_FILE_READONLY)))
		return vdb__fail(EBADF,
		                 "image fd %d is not open for reading and writing; open it O_RDWR, or "
		                 "set VDB_FILE_READONLY",
		                 fd);
	if (flags & O_APPEND)
		return vdb__fail(EINVAL, "image fd %d: with O_APPEND every write goes to the end", fd);
	if (flags & O_NONBLOCK)
		return vdb__fail(EINVAL, "image fd %d: O_NONBLOCK makes reads fail that would wait", fd);
	if (!(flags & O_DIRECT) != !(file->flags & VDB_FILE_DIRECT))
		return vdb__fail(EINVAL, "image fd %d: O_DIRECT and VDB_FILE_DIRECT go together", fd);
	return 0;
}

static int dup_fd(struct vdb__file *file, int fd)
{
	int rc = check_flags(file, fd);

	if (rc)
		return rc;
	file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return file->fd < 0 ? vdb__fail_sys(errno, "image fd %d: dup", fd) : 0;
}

/* Says who has it; waiting would be for ever. With F_OFD_SETLK it is this description's, so that two of one
 * process conflict as well (F_SETLK: never within one). */
static int take_lock(struct vdb__file *file, const char *name)
{
	struct flock lock = {
	        .l_type = file->flags & VDB_FILE_READONLY ? F_RDLCK : F_WRLCK,
	        .l_whence = SEEK_SET,
	};

	if (!(file->flags & VDB_FILE_LOCK))
		return 0;
	file->locked = !fcntl(file->fd, F_OFD_SETLK, &lock);
	if (file->locked)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return vdb__fail(EBUSY,
		                 "image %s is in use by another process or VM (only readers may share it); "
		                 "close it there, or leave out VDB_FILE_LOCK",
		                 name);
	return vdb__fail(ENOLCK, "image %s: its file system cannot lock (%s); leave out VDB_FILE_LOCK", name,
	                 strerror(errno));
}

void vdb__file_unlock(const struct vdb__file *file)
{
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	/* Closing is not enough where the description is the caller's, too: and so may be what is on it
	 * when we got nothing. */
	if (file->locked)
		(void)fcntl(file->fd, F_OFD_SETLK, &lock);
}

int vdb__file_size(const struct vdb__file *file, uint64_t *size)
{
	struct stat st = {0};

	if (file->regular ? fstat(file->fd, &st) : ioctl(file->fd, BLKGETSIZE64, size))
		return vdb__fail_sys(errno, "image: its size");
	if (file->regular)
		*size = (uint64_t)st.st_size;
	return 0;
}

static int measure(struct vdb__file *file, const char *name)
{
	struct stat st;
	int rc, sector = 0;

	if (fstat(file->fd, &st))
		return vdb__fail_sys(errno, "image %s: fstat", name);
	rc = check_kind(&st, name);
	if (rc)
		return rc;
	file->regular = S_ISREG(st.st_mode);
	file->io_align = MIN_BLOCK;
	if (!file->regular && ioctl(file->fd, BLKSSZGET, &sector))
		return vdb__fail_sys(errno, "image %s: sectors of the block device", name);
	if (!file->regular)
		file->io_align = (uint32_t)sector;
	return vdb__file_size(file, &file->capacity);
}

static int align_direct(struct vdb__file *file, const char *name)
{
	struct statx stx = {0};

	if (!(file->flags & VDB_FILE_DIRECT))
		return 0;
	if (statx(file->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &stx) || !(stx.stx_mask & STATX_DIOALIGN)) {
		if (file->regular)
			file->io_align = FALLBACK_ALIGN;
		file->mem_align = file->io_align;
		return 0;
	}
	if (!stx.stx_dio_offset_align)
		return vdb__fail(EINVAL, "image %s cannot be used with O_DIRECT; leave out VDB_FILE_DIRECT",
		                 name);
	file->io_align = stx.stx_dio_offset_align;
	file->mem_align = stx.stx_dio_mem_align;
	return 0;
}

int vdb__file_check_size(const struct vdb__file *file, uint64_t size, const char *name)
{
	if (!size)
		return vdb__fail(EINVAL, "image %s is empty; give it a size first (truncate -s)", name);
	if (size % file->block_size)
		return vdb__fail(EINVAL, "image %s: %llu bytes, not a multiple of the block size %u", name,
		                 (unsigned long long)size, file->block_size);
	return 0;
}

static int check_size(struct vdb__file *file, uint32_t wanted, const char *name)
{
	uint32_t block = file->io_align > MIN_BLOCK ? file->io_align : MIN_BLOCK;

	if (wanted && (wanted & (wanted - 1) || wanted < MIN_BLOCK || wanted > MAX_BLOCK))
		return vdb__fail(EINVAL, "image %s: block size %u; give a power of two from 512 to 1 MiB",
		                 name, wanted);
	if (wanted && wanted < block)
		return vdb__fail(EINVAL, "image %s needs blocks of %u bytes, not %u", name, block, wanted);
	file->block_size = wanted ? wanted : block;
	return vdb__file_check_size(file, file->capacity, name);
}

int vdb__file_open(struct vdb__file *file, const struct vdb_file_config *config)
{
	const char *name = config->path ? config->path : "fd";
	int rc;

	file->mem_align = 1;
	if (config->path)
		rc = open_path(file, config->path);
	else
		rc = dup_fd(file, config->fd);
	if (!rc)
		rc = take_lock(file, name);
	if (!rc)
		rc = measure(file, name);
	if (!rc)
		rc = align_direct(file, name);
	if (!rc)
		rc = check_size(file, config->block_size, name);
	return rc;
}
