/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root folder of nothing but the sandbox's paths, each where it was: bind mounts in an empty file system,
 * which then takes the old one's place. In a mount namespace of the process's own (isolate.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "sandbox/sandbox.h"

/* Every folder of it: "/tmp/vm" below the new root. The last one, too, if it is a folder. */
static int make_folders(const char *below, bool last)
{
	char text[4096];
	size_t len = strlen(below);

	if (len >= sizeof(text))
		return -ENAMETOOLONG;
	memcpy(text, below, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (text[i] != '/' && !(last && i == len))
			continue;
		text[i] = '\0';
		if (i > 1 && mkdir(text + 1, 0755) && errno != EEXIST)
			return -errno;
		text[i] = i < len ? '/' : '\0';
	}
	return 0;
}

static int make_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* In its subtree, too. Kernels before 5.12 have no such call; there it is left to Landlock. */
static void limit(const char *target, bool writable)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
	                                      (writable ? 0u : (unsigned)MOUNT_ATTR_RDONLY)};

	(void)syscall(SYS_mount_setattr, AT_FDCWD, target, AT_RECURSIVE, &attr, sizeof(attr));
}

/* `fd` is the path's, opened before it was hidden; the working folder is the new root. */
static int place(const struct vdb_sandbox_path *path, int fd)
{
	const char *target = path->path + 1;
	char source[32];
	struct stat st;
	int err;

	if (fstat(fd, &st))
		return -errno;
	err = make_folders(path->path, S_ISDIR(st.st_mode));
	if (!err && !S_ISDIR(st.st_mode))
		err = make_file(target);
	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
	if (!err && mount(source, target, NULL, MS_BIND | MS_REC, NULL))
		err = -errno;
	if (!err)
		limit(target, path->access & (VDB_SANDBOX_WRITE | VDB_SANDBOX_CREATE));
	return err;
}

bool vdb__root_is_whole(const struct vdb_sandbox *sandbox)
{
	struct stat root, st;

	if (stat("/", &root))
		return false;
	for (uint32_t i = 0; i < sandbox->config.path_count; i++)
		if (!stat(sandbox->paths[i].path, &st) && st.st_dev == root.st_dev &&
		    st.st_ino == root.st_ino)
			return true;
	return false;
}

/* With what the sanitizers' run time looks at, in builds that have them. */
#ifdef VDB__SANITIZED
#define MORE 1u
#else
#define MORE 0u
#endif
static const struct vdb_sandbox_path more = {.path = "/proc", .access = VDB_SANDBOX_READ | VDB_SANDBOX_WRITE};

static const struct vdb_sandbox_path *path_of(const struct vdb_sandbox *sandbox, uint32_t i)
{
	return i < sandbox->config.path_count ? &sandbox->paths[i] : &more;
}

static int open_paths(const struct vdb_sandbox *sandbox, int *fds, uint32_t count)
{
	int err = 0;

	for (uint32_t i = 0; i < count; i++)
		fds[i] = -1;
	for (uint32_t i = 0; i < count && !err; i++) {
		fds[i] = open(path_of(sandbox, i)->path, O_PATH | O_CLOEXEC);
		err = fds[i] < 0 ? -errno : 0;
	}
	return err;
}

/* An empty file system, over any folder that is there: what that hides has been opened. */
static int mount_empty(void)
{
	static const char *const places[] = {"/tmp", "/run", "/mnt", "/dev"};
	const char *options = "size=1m,nr_inodes=4096,mode=0755";
	int err = -ENOENT;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && err; i++) {
		err = mount("sandbox", places[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) ||
		                      chdir(places[i])
		              ? -errno
		              : 0;
	}
	return err;
}

/* The old root is below the new one for a moment, and then nowhere. */
static int change_root(const struct vdb_sandbox *sandbox)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};

	(void)make_folders(sandbox->cwd, true);
	if (syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return -errno;
	(void)syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof(attr));
	(void)!chdir(sandbox->cwd); /* paths are relative to it */
	return 0;
}

static int place_all(const struct vdb_sandbox *sandbox, const int *fds, uint32_t count)
{
	int err = mount_empty();

	for (uint32_t i = 0; i < count && !err; i++)
		err = place(path_of(sandbox, i), fds[i]);
	return err ? err : change_root(sandbox);
}

int vdb__root_move(struct vdb_sandbox *sandbox)
{
	uint32_t count = sandbox->config.path_count + MORE;
	int *fds = calloc(count + 1, sizeof(*fds)), err;

	if (!fds)
		return vdb__fail(ENOMEM, "sandbox: no memory");
	err = open_paths(sandbox, fds, count);
	if (!err)
		err = place_all(sandbox, fds, count);
	for (uint32_t i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(fds);
	sandbox->moved = !err;
	return err ? vdb__fail_sys(-err, "sandbox: a root folder of its own") : 0;
}
