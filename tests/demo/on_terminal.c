/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: on_terminal [EXPECT SEND]... -- COMMAND [ARGUMENT...]
 *
 * Runs COMMAND on a terminal of its own. For each pair: waits until the output has EXPECT, behind
 * that of the pair before, then types SEND; SEND may be `signal N` instead. `stopped` as EXPECT waits
 * until COMMAND has been stopped. Copies the output to stdout. Exits like COMMAND (128 + N if signal N
 * killed it); with 99 if the terminal is not as it was before when COMMAND has ended or has
 * stopped, with 98 if COMMAND ended before all was sent.
 */
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

static char seen[1 << 20];
static size_t seen_len, seen_from; /* expected so far */

/* Waits a little for more output. 0: there was none. */
static int more(int master)
{
	struct pollfd fd = {.fd = master, .events = POLLIN};
	ssize_t n;

	if (poll(&fd, 1, 10) <= 0)
		return 0;
	n = read(master, seen + seen_len, sizeof(seen) - 1 - seen_len);
	if (n <= 0)
		return 0;
	fwrite(seen + seen_len, 1, (size_t)n, stdout);
	fflush(stdout);
	seen_len += (size_t)n;
	seen[seen_len] = '\0';
	return 1;
}

static int ended(pid_t child)
{
	siginfo_t info = {0};

	return !waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid == child;
}

static int expect(int master, pid_t child, const char *text)
{
	char *at;

	while (!(at = strstr(seen + seen_from, text)))
		if (!more(master) && ended(child))
			return 98;
	seen_from = (size_t)(at - seen) + strlen(text);
	return 0;
}

static int same(int master, const struct termios *before)
{
	struct termios now;

	if (tcgetattr(master, &now))
		return 1; /* closed: nobody is left whom it could hurt */
	return now.c_iflag == before->c_iflag && now.c_oflag == before->c_oflag &&
	       now.c_lflag == before->c_lflag && now.c_cflag == before->c_cflag;
}

static void send_it(int master, pid_t child, const char *what)
{
	if (!strncmp(what, "signal ", 7))
		kill(child, atoi(what + 7));
	else if (write(master, what, strlen(what)) < 0)
		perror("on_terminal: write");
}

static int stopped(int master, pid_t child, const struct termios *before)
{
	int status;

	if (waitpid(child, &status, WUNTRACED) != child || !WIFSTOPPED(status))
		return 98;
	return same(master, before) ? 0 : 99;
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	struct termios before;
	int master, slave, status, i;
	pid_t child;

	if (openpty(&master, &slave, NULL, NULL, NULL) || tcgetattr(slave, &before))
		return perror("on_terminal: openpty"), 97;
	for (i = 1; i < argc && strcmp(argv[i], "--"); i += 2)
		;
	if (i + 1 >= argc)
		return fputs("on_terminal: no command\n", stderr), 97;
	child = fork();
	if (!child) {
		close(master);
		login_tty(slave);
		execvp(argv[i + 1], argv + i + 1);
		_exit(127);
	}
	/* The slave stays open here: its settings outlive the command. */
	for (i = 1; strcmp(argv[i], "--"); i += 2) {
		if (!strcmp(argv[i], "stopped"))
			status = stopped(master, child, &before);
		else
			status = expect(master, child, argv[i]);
		if (status)
			return kill(child, SIGKILL), status;
		send_it(master, child, argv[i + 1]);
	}
	/* A terminal that is not read may hold the writer up. */
	while (more(master) || !ended(child))
		;
	waitpid(child, &status, 0);
	if (!same(slave, &before))
		return fputs("on_terminal: the terminal was left changed\n", stderr), 99;
	return exit_status(status);
}
