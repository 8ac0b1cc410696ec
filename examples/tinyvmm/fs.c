/* SPDX-License-Identifier: Apache-2.0 */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vdb/fs.h>

#include "devices.h"
#include "keys.h"
#include "run.h"
#include "tinyvmm.h"

/* ---- What the user wants ---- */

static int text(const char *name, const char *from, char *to, size_t room)
{
	if (strlen(from) >= room)
		return complain("--fs %s %.40s...: is too long", name, from);
	memcpy(to, from, strlen(from) + 1);
	return 0;
}

static int take(void *to, const char *name, const char *value)
{
	struct fs *fs = to;

	if (strcmp(name, "tag") != 0 && strcmp(name, "socket") != 0 && strcmp(name, "dir") != 0)
		return complain("--fs: no key `%s`; see `tinyvmm run --help`", name);
	if (!value || !*value)
		return complain("--fs %s: needs a value: %s=...", name, name);
	if (!strcmp(name, "tag"))
		return text(name, value, fs->tag, sizeof(fs->tag));
	if (!strcmp(name, "socket"))
		return text(name, value, fs->socket, sizeof(fs->socket));
	return text(name, value, fs->dir, sizeof(fs->dir));
}

static int check_dir(const char *dir)
{
	struct stat st;

	if (stat(dir, &st))
		return complain("--fs dir %s: %s", dir, strerror(errno));
	return S_ISDIR(st.st_mode) ? 0 : complain("--fs dir %s: is not a folder", dir);
}

int fs_parse(struct fs *fs, const char *value)
{
	*fs = (struct fs){0};
	if (keys_parse("--fs", value, take, fs))
		return -1;
	if (!*fs->tag || !*fs->socket == !*fs->dir)
		return complain("--fs %s: say tag=NAME, and either socket=PATH, of a virtiofsd that runs, or "
		                "dir=FOLDER",
		                value);
	if (strlen(fs->tag) > VDB_FS_TAG)
		return complain("--fs tag %s: at most %u bytes", fs->tag, VDB_FS_TAG);
	return *fs->dir ? check_dir(fs->dir) : 0;
}

/* ---- virtiofsd ---- */

/* Debian 12 has it with qemu-system-common; elsewhere it is a package of its own. */
#define OF_QEMU "/usr/lib/qemu/virtiofsd"

static const char *find_program(void)
{
	static const char *const places[] = {OF_QEMU, "/usr/libexec/virtiofsd", "/usr/bin/virtiofsd"};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (!access(places[i], X_OK))
			return places[i];
	}
	return NULL;
}

/* A socket that listens, and the other end of its one connection: it need not be waited for. */
static int make_sockets(int *listener, int *connection)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/tinyvmm-fs-XXXXXX";
	int failed;

	if (!mkdtemp(dir))
		return complain("--fs: %s: %s", dir, strerror(errno));
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", dir);
	*listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	failed = *listener < 0 || *connection < 0 ||
	         bind(*listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(*listener, 1) ||
	         connect(*connection, (struct sockaddr *)&addr, sizeof(addr));
	if (failed)
		complain("--fs: a socket in %s: %s", dir, strerror(errno));
	unlink(addr.sun_path);
	rmdir(dir);
	return failed ? -1 : 0;
}

/* In the child. It goes when we go, however that is. */
static _Noreturn void become(const char *program, char *const argv[], int listener, pid_t parent)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent || fcntl(listener, F_SETFD, 0))
		_exit(1);
	execv(program, argv);
	_exit(127);
}

static int start_program(struct fs *fs, const char *program, int listener)
{
	char fd[24], source[sizeof(fs->dir) + 16];
	char *const argv[] = {(char *)(uintptr_t)program, fd, "-f", "-o", source, NULL};
	pid_t parent = getpid();

	(void)snprintf(fd, sizeof(fd), "--fd=%d", listener);
	(void)snprintf(source, sizeof(source), "source=%s", fs->dir);
	fs->daemon = fork();
	if (fs->daemon == 0)
		become(program, argv, listener, parent);
	if (fs->daemon > 0)
		return 0;
	fs->daemon = 0;
	return complain("--fs: fork: %s", strerror(errno));
}

static int start_daemon(struct fs *fs)
{
	const char *program = find_program();
	int listener = -1, failed;

	if (!program)
		return complain("--fs dir: there is no virtiofsd; install it (Debian 12: apt install "
		                "qemu-system-common; later: apt install virtiofsd)");
	if (!strcmp(program, OF_QEMU) && geteuid() != 0)
		return complain("--fs dir %s: only root can start %s; have root start one with "
		                "--socket-path=PATH, and say socket=PATH instead of dir",
		                fs->dir, program);
	failed = make_sockets(&listener, &fs->connection) || start_program(fs, program, listener);
	if (listener >= 0)
		close(listener);
	return failed;
}

int fs_start(struct run_options *options)
{
	for (uint32_t i = 0; i < options->fs_count; i++) {
		if (*options->fs[i].dir && start_daemon(&options->fs[i]))
			return -1;
	}
	return 0;
}

/* The device has a connection of its own. */
static void hand_over(struct fs *fs)
{
	if (fs->connection > 0)
		close(fs->connection);
	fs->connection = 0;
}

void fs_stop(struct run_options *options)
{
	for (uint32_t i = 0; i < options->fs_count; i++) {
		struct fs *fs = &options->fs[i];

		hand_over(fs);
		if (!fs->daemon)
			continue;
		kill(fs->daemon, SIGTERM);
		while (waitpid(fs->daemon, NULL, 0) < 0 && errno == EINTR)
			;
		fs->daemon = 0;
	}
}

/* ---- The device ---- */

uint32_t fs_count(const struct run_options *options)
{
	return options->fs_count;
}

int fs_create(struct run *run, struct device *device, uint32_t index)
{
	struct fs *fs = &run->options.fs[index];
	const struct vdb_virtio_config at = devices_on_first(run, device);
	struct vdb_fs_config config = {.size = sizeof(config), .at = &at, .tag = fs->tag};
	int err;

	device->name = fs->tag;
	if (*fs->socket)
		config.path = fs->socket;
	config.fd = fs->connection;
	err = vdb_fs_create(&config, &device->virtio);
	hand_over(fs);
	return err;
}
