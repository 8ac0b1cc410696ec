/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define PATIENCE_MS 20000

static _Noreturn void become(char *const *argv, int out)
{
	int null = open("/dev/null", O_RDWR);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(null, 0) < 0 || dup2(out, 1) < 0)
		_exit(126);
	execvp(argv[0], argv);
	_exit(127);
}

static pid_t spawn(char *const *argv, int *out)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		bench_die(BENCH_FAILED, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		bench_die(BENCH_FAILED, "fork: %s", strerror(errno));
	if (!pid)
		become(argv, fds[1]);
	close(fds[1]);
	*out = fds[0];
	return pid;
}

static _Noreturn void no_word(pid_t pid, const char *name)
{
	int status = 0;

	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && (WEXITSTATUS(status) == 127 || WEXITSTATUS(status) == BENCH_SKIPPED))
		bench_die(BENCH_SKIPPED, "%s cannot be started here", name);
	bench_die(BENCH_FAILED, "%s says nothing; status %#x", name, (unsigned)status);
}

static void await_byte(pid_t pid, int out, const char *name)
{
	struct pollfd fd = {.fd = out, .events = POLLIN};
	char byte;

	if (poll(&fd, 1, PATIENCE_MS) != 1 || read(out, &byte, 1) != 1)
		no_word(pid, name);
}

/* It is stopped: nothing changes meanwhile. */
static void look(pid_t pid, uint64_t ram, struct process_life *life)
{
	uint64_t from, to, kib, *where = &life->resident;
	char line[512];
	FILE *maps;

	snprintf(line, sizeof(line), "/proc/%d/smaps", (int)pid);
	maps = fopen(line, "re");
	if (!maps)
		bench_die(BENCH_FAILED, "%s cannot be read", line);
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2)
			where = to - from == ram ? &life->guest : &life->resident;
		else if (sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1)
			*where += kib * 1024;
	}
	fclose(maps);
}

void process_run(char *const *argv, uint64_t ram, struct process_life *life)
{
	uint64_t start = bench_ns();
	int out, status;
	pid_t pid = spawn(argv, &out);

	await_byte(pid, out, argv[0]);
	*life = (struct process_life){.first_ns = bench_ns() - start};
	kill(pid, SIGSTOP);
	if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status))
		bench_die(BENCH_FAILED, "%s ended too early", argv[0]);
	look(pid, ram, life);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(out);
}
