/* SPDX-License-Identifier: Apache-2.0 */
#include "passt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tinyvmm.h"

#define PATIENCE_MS 20000
#define NOISE "Failed to send " /* to a system log that is not there */

/* What it has said on its way. */
struct words {
	char text[4096];
	size_t len;
};

/* ---- In the child ---- */

static void say_nothing_more(int error)
{
	(void)!write(STDERR_FILENO, &error, sizeof(error));
	_exit(127);
}

static void become_passt(int fd, int words, int failure, uint32_t mtu)
{
	char fd_text[16], mtu_text[16];
	char *argv[] = {"passt", "--quiet", "--fd", fd_text, mtu ? "--mtu" : NULL, mtu_text, NULL};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), error;
	sigset_t none;

	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)snprintf(fd_text, sizeof(fd_text), "%d", fd);
	(void)snprintf(mtu_text, sizeof(mtu_text), "%u", mtu);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(words, STDERR_FILENO) < 0 || fcntl(fd, F_SETFD, 0))
		say_nothing_more(errno);
	execvp(argv[0], argv);
	error = errno;
	(void)!write(failure, &error, sizeof(error));
	_exit(127);
}

/* ---- Here ---- */

/* Up to its end. False: that does not come. */
static bool listen_to(int fd, struct words *words)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	char waste[256];
	ssize_t n;

	do {
		size_t room = sizeof(words->text) - 1 - words->len;

		if (poll(&poll_fd, 1, PATIENCE_MS) <= 0)
			return false;
		n = room ? read(fd, words->text + words->len, room) : read(fd, waste, sizeof(waste));
		words->len += room && n > 0 ? (size_t)n : 0;
	} while (n > 0);
	words->text[words->len] = '\0';
	return true;
}

/* The last line that is one of passt's. */
static const char *last_of(struct words *words)
{
	const char *last = "it did not say why";
	char *rest = words->text, *line;

	while ((line = strsep(&rest, "\n"))) {
		if (*line && strncmp(line, NOISE, strlen(NOISE)) != 0)
			last = line;
	}
	return last;
}

static int explain(const char *id, struct words *words)
{
	if (strstr(words->text, "External interface not usable"))
		return complain(
		        "%s: passt finds no interface with a route to the outside; the guest would have no "
		        "network either",
		        id);
	return complain("%s: passt has not started: %s", id, last_of(words));
}

static int explain_exec(const char *id, int error)
{
	if (error == ENOENT)
		return complain("%s: --net user needs passt, which is not installed: apt install passt", id);
	return complain("%s: passt: %s", id, strerror(error));
}

/* Its first process ends when the other one, in the background, is ready. */
static int wait_for(const char *id, pid_t pid, int words_fd, int failure_fd)
{
	struct words words = {.len = 0};
	int status = 0, error = 0;
	bool ended = listen_to(words_fd, &words);

	if (!ended)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!ended)
		return complain("%s: passt has neither started nor failed in %d s", id, PATIENCE_MS / 1000);
	if (read(failure_fd, &error, sizeof(error)) == (ssize_t)sizeof(error))
		return explain_exec(id, error);
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	return explain(id, &words);
}

static void close_both(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static int start(const char *id, uint32_t mtu, const int sockets[2], const int words[2], const int failure[2])
{
	pid_t pid = fork();
	int own_words = words[0], own_failure = failure[0];

	if (pid < 0)
		return complain("%s: passt: fork: %s", id, strerror(errno));
	if (!pid)
		become_passt(sockets[1], words[1], failure[1], mtu);
	close(words[1]);
	close(failure[1]);
	return wait_for(id, pid, own_words, own_failure);
}

int passt_start(const char *id, uint32_t mtu)
{
	int sockets[2], words[2], failure[2], failed;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets))
		return complain("%s: passt: socketpair: %s", id, strerror(errno));
	if (pipe2(words, O_CLOEXEC)) {
		close_both(sockets);
		return complain("%s: passt: pipe: %s", id, strerror(errno));
	}
	if (pipe2(failure, O_CLOEXEC)) {
		close_both(sockets);
		close_both(words);
		return complain("%s: passt: pipe: %s", id, strerror(errno));
	}
	failed = start(id, mtu, sockets, words, failure);
	close(words[0]);
	close(failure[0]);
	close(sockets[1]);
	if (!failed)
		return sockets[0];
	close(sockets[0]);
	return -1;
}
