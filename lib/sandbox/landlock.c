/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock: which files may be opened from now on, by which thread is the filters' matter. Older kernels
 * handle less of it: each version of its interface adds rights, and what a kernel does not know is not asked
 * of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "sandbox/sandbox.h"

/* Newer than the headers that this is built with. */
#define FS_REFER (1ull << 13)      /* version 2 */
#define FS_TRUNCATE (1ull << 14)   /* 3 */
#define FS_IOCTL_DEV (1ull << 15)  /* 5 */
#define NET_TCP (3ull << 0)        /* 4: to bind, to connect */
#define SCOPE_ABSTRACT (1ull << 0) /* 6: abstract Unix sockets of others */

struct ruleset {
	uint64_t fs, net, scoped;
};

#define FILE_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FILE_WRITE (LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)
#define FOLDER_READ LANDLOCK_ACCESS_FS_READ_DIR
#define FOLDER_CREATE                                                                                  \
	(LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
	 FILE_READ | FILE_WRITE)
#define FS_FIRST ((1ull << 13) - 1) /* all of version 1 */

static int version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* All that this version can forbid. */
static struct ruleset handled(int abi)
{
	struct ruleset all = {.fs = FS_FIRST};

	if (abi >= 2)
		all.fs |= FS_REFER;
	if (abi >= 3)
		all.fs |= FS_TRUNCATE;
	if (abi >= 4)
		all.net = NET_TCP;
	if (abi >= 5)
		all.fs |= FS_IOCTL_DEV;
	if (abi >= 6)
		all.scoped = SCOPE_ABSTRACT;
	return all;
}

static size_t ruleset_bytes(int abi)
{
	return abi >= 6   ? sizeof(struct ruleset)
	       : abi >= 4 ? offsetof(struct ruleset, scoped)
	                  : sizeof(uint64_t);
}

static uint64_t rights(const struct vdb_sandbox_path *path, bool folder)
{
	uint64_t to = 0;

	if (path->access & VDB_SANDBOX_READ)
		to |= FILE_READ | (folder ? FOLDER_READ : 0);
	if (path->access & VDB_SANDBOX_WRITE)
		to |= FILE_WRITE;
	if (path->access & VDB_SANDBOX_CREATE && folder)
		to |= FOLDER_CREATE;
	return to;
}

static int add(const struct vdb_sandbox *sandbox, const struct vdb_sandbox_path *path, uint64_t known)
{
	struct landlock_path_beneath_attr rule = {.parent_fd = open(path->path, O_PATH | O_CLOEXEC)};
	struct stat st = {0};
	int err = 0;

	if (rule.parent_fd < 0 || fstat(rule.parent_fd, &st))
		err = errno;
	rule.allowed_access = err ? 0 : rights(path, S_ISDIR(st.st_mode)) & known;
	if (!err && syscall(SYS_landlock_add_rule, sandbox->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
		err = errno;
	if (rule.parent_fd >= 0)
		close(rule.parent_fd);
	return err ? vdb__fail_sys(err, "sandbox: path %s", path->path) : 0;
}

#ifdef VDB__SANITIZED
static const struct vdb_sandbox_path proc = {.path = "/proc", .access = VDB_SANDBOX_READ};
#endif

static int add_all(const struct vdb_sandbox *sandbox, uint64_t known)
{
	int err = 0;

#ifdef VDB__SANITIZED
	err = add(sandbox, &proc, known); /* the run time looks there */
#endif
	for (uint32_t i = 0; i < sandbox->config.path_count && !err; i++)
		err = add(sandbox, &sandbox->paths[i], known);
	return err;
}

int vdb__landlock_create(struct vdb_sandbox *sandbox)
{
	struct ruleset all;
	int abi = version(), err;

	if (abi <= 0)
		return vdb__sandbox_lacks(sandbox, VDB_SANDBOX_LANDLOCK,
		                          errno == EOPNOTSUPP ? "Landlock is built into this kernel, but not "
		                                                "enabled (lsm= on its command line)"
		                                              : "this kernel has no Landlock (5.13)");
	all = handled(abi);
	sandbox->ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, ruleset_bytes(abi), 0);
	if (sandbox->ruleset < 0)
		return vdb__fail_sys(errno, "sandbox: Landlock ruleset");
	err = add_all(sandbox, all.fs);
	if (!err)
		sandbox->parts |= VDB_SANDBOX_LANDLOCK;
	return err;
}

int vdb__landlock_enter(const struct vdb_sandbox *sandbox)
{
	return syscall(SYS_landlock_restrict_self, sandbox->ruleset, 0)
	               ? vdb__fail_sys(errno, "sandbox: Landlock")
	               : 0;
}
