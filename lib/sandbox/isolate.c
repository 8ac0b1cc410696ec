/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces of the process's own. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/export.h"
#include "sandbox/sandbox.h"

/* No PID namespace: only children would be in it, and threads could no longer be started. Signals to others
 * are a matter of the filters. */
#define OWN (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		err = errno;
	close(fd);
	return err;
}

/* The same user and group as outside, and nobody else. 0 or a positive errno. */
static int map_user(uid_t uid, gid_t gid)
{
	char text[32];
	int err = write_file("/proc/self/setgroups", "deny");

	(void)snprintf(text, sizeof(text), "%u %u 1", uid, uid);
	if (!err || err == ENOENT)
		err = write_file("/proc/self/uid_map", text);
	(void)snprintf(text, sizeof(text), "%u %u 1", gid, gid);
	return err ? err : write_file("/proc/self/gid_map", text);
}

/* Whoever is privileged needs no user namespace: he is so until he enters. */
static int become(uid_t uid, gid_t gid)
{
	if (!unshare(OWN))
		return 0;
	if (errno != EPERM || unshare(OWN | CLONE_NEWUSER))
		return errno;
	return map_user(uid, gid);
}

/* Namespaces may be had without the rights in them (AppArmor): a child finds out. Its exit status is the
 * errno. */
static int try(struct vdb_sandbox *sandbox, uid_t uid, gid_t gid)
{
	int status = 0, err;
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (!pid) {
		err = become(uid, gid);
		_exit(err ? err : -vdb__root_move(sandbox));
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

static bool one_thread(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) || st.st_nlink <= 3;
}

static int not_to_be_had(struct vdb_sandbox *sandbox, const char *why, const char *detail)
{
	int err = vdb__sandbox_lacks(sandbox, VDB_SANDBOX_NAMESPACES, "%s%s", why, detail);

	return err ? err
	           : vdb__fail(EOPNOTSUPP, "sandbox: %s", vdb_sandbox_why(sandbox, VDB_SANDBOX_NAMESPACES));
}

VDB_EXPORT int vdb_sandbox_isolate(struct vdb_sandbox *sandbox)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int err;

	if (!(sandbox->config.parts & VDB_SANDBOX_NAMESPACES) || sandbox->isolated)
		return 0;
	if (!one_thread())
		return vdb__fail(EBUSY,
		                 "sandbox: namespaces are for a process of one thread: isolate it earlier");
	if (vdb__root_is_whole(sandbox))
		return not_to_be_had(sandbox, "one of its paths is /, and no root is without that;",
		                     " use a folder below");
	err = try(sandbox, uid, gid);
	if (err)
		return not_to_be_had(sandbox,
		                     "this host lets this user make no namespaces: ", strerrordesc_np(err));
	err = become(uid, gid);
	if (err)
		return vdb__fail_sys(err, "sandbox: namespaces");
	sandbox->isolated = true;
	sandbox->parts |= VDB_SANDBOX_NAMESPACES;
	return 0;
}
