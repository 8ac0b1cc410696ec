/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER 16384
#define ANSWER_MS 20000
#define OPTIONS 64

static _Noreturn void qemu_die(struct qemu *q, int status, const char *what)
{
	kill(q->pid, SIGKILL);
	waitpid(q->pid, NULL, 0);
	bench_die(status, "QEMU: %s", what);
}

/* ---- Starting ---- */

static void pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds))
		bench_die(BENCH_FAILED, "socketpair: %s", strerror(errno));
}

/* In the child: those two sockets stay open, and nothing outlives us. */
static _Noreturn void become(char **argv, int monitor, int text, pid_t parent)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || dup2(monitor, 3) != 3 || dup2(text, 4) != 4)
		_exit(126);
	execvp(argv[0], argv);
	_exit(127);
}

static void spawn(struct qemu *q, char **argv)
{
	int monitor[2], text[2];
	pid_t parent = getpid();

	pair(monitor);
	pair(text);
	/* dup2() to 3 and 4 in the child must not hit what it is yet to copy. */
	for (int fd = 0; monitor[1] <= 4 || text[1] <= 4; fd++) {
		monitor[1] = monitor[1] <= 4 ? dup(monitor[1]) : monitor[1];
		text[1] = text[1] <= 4 ? dup(text[1]) : text[1];
		if (fd > 8)
			bench_die(BENCH_FAILED, "dup: %s", strerror(errno));
	}
	q->pid = fork();
	if (q->pid < 0)
		bench_die(BENCH_FAILED, "fork: %s", strerror(errno));
	if (!q->pid)
		become(argv, monitor[1], text[1], parent);
	close(monitor[1]);
	close(text[1]);
	q->monitor = monitor[0];
	q->text = text[0];
}

static void need_qemu(void)
{
	if (system("command -v qemu-system-x86_64 >/dev/null 2>&1"))
		bench_die(BENCH_SKIPPED, "no qemu-system-x86_64 here");
	if (access("/dev/kvm", R_OK | W_OK))
		bench_die(BENCH_SKIPPED, "/dev/kvm: %s", strerror(errno));
}

static void execute(struct qemu *q, const char *command, const char *sign, char *answer);

void qemu_start(struct qemu *q, const char *kernel, const char *cmdline, const char *const *options)
{
	const char *argv[OPTIONS] = {
	        "qemu-system-x86_64",
	        "-name",
	        "bench,debug-threads=on",
	        "-M",
	        "microvm,accel=kvm,pit=off,pic=off,rtc=off,isa-serial=off",
	        "-cpu",
	        "host",
	        "-m",
	        "64",
	        "-smp",
	        "1",
	        "-nodefaults",
	        "-no-user-config",
	        "-nographic",
	        "-no-reboot",
	        "-S",
	        "-global",
	        "virtio-mmio.force-legacy=false",
	        "-chardev",
	        "socket,id=monitor,fd=3",
	        "-mon",
	        "chardev=monitor,mode=control",
	        "-chardev",
	        "socket,id=text,fd=4",
	        "-device",
	        "isa-debugcon,iobase=0xe9,chardev=text",
	        "-device",
	        "isa-debug-exit,iobase=0xf4,iosize=1",
	        "-kernel",
	        kernel,
	        "-append",
	        cmdline,
	};
	char answer[ANSWER];
	size_t n = 0;

	need_qemu();
	while (argv[n])
		n++;
	for (; *options && n + 1 < OPTIONS; options++)
		argv[n++] = *options;
	*q = (struct qemu){0};
	spawn(q, (char **)(uintptr_t)argv);
	execute(q, "", "\"QMP\"", answer);
	execute(q, "{\"execute\":\"qmp_capabilities\"}\n", "\"return\"", answer);
}

/* ---- Its monitor ---- */

/* Sends a command and waits until `sign` has come. */
static void execute(struct qemu *q, const char *command, const char *sign, char *answer)
{
	struct pollfd fd = {.fd = q->monitor, .events = POLLIN};
	size_t len = strlen(command), got = 0;
	ssize_t n;

	if (len && send(q->monitor, command, len, MSG_NOSIGNAL) != (ssize_t)len)
		qemu_die(q, BENCH_FAILED, "takes no commands");
	answer[0] = 0;
	while (!got || answer[got - 1] != '\n' || !strstr(answer, sign)) {
		if (got + 1 >= ANSWER || poll(&fd, 1, ANSWER_MS) != 1)
			qemu_die(q, BENCH_FAILED, "does not answer");
		n = read(q->monitor, answer + got, ANSWER - 1 - got);
		if (n <= 0)
			qemu_die(q, BENCH_FAILED, "has ended before its guest ran");
		got += (size_t)n;
		answer[got] = 0;
		if (strstr(answer, "\"error\""))
			qemu_die(q, BENCH_FAILED, answer);
	}
}

/* The thread that an answer names; 0: none. */
static pid_t thread_in(const char *answer)
{
	const char *at = strstr(answer, "\"thread-id\":");

	return at ? (pid_t)strtol(at + strlen("\"thread-id\":"), NULL, 10) : 0;
}

static void pin(struct qemu *q, pid_t thread, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	if (sched_setaffinity(thread, sizeof(set), &set))
		qemu_die(q, BENCH_SKIPPED, "no such CPU; name others: -c VCPU,LOOP");
}

void qemu_pin(struct qemu *q, const struct bench_options *o)
{
	char answer[ANSWER];

	execute(q, "{\"execute\":\"query-cpus-fast\"}\n", "\"return\"", answer);
	pin(q, thread_in(answer), o->vcpu_cpu);
	execute(q, "{\"execute\":\"query-iothreads\"}\n", "\"return\"", answer);
	q->iothread = thread_in(answer);
	if (q->iothread)
		pin(q, q->iothread, o->loop_cpu);
}

void qemu_pin_main(struct qemu *q, const struct bench_options *o)
{
	pin(q, q->pid, o->loop_cpu);
}

void qemu_go(struct qemu *q)
{
	char answer[ANSWER];

	execute(q, "{\"execute\":\"cont\"}\n", "\"return\"", answer);
}

/* ---- Its end ---- */

void qemu_hear(struct qemu *q, const char *word, uint64_t ms)
{
	struct pollfd fd = {.fd = q->text, .events = POLLIN};
	char text[256];
	size_t got = 0;
	ssize_t n;

	do {
		if (got + 1 >= sizeof(text) || poll(&fd, 1, (int)ms) != 1)
			qemu_die(q, BENCH_FAILED, "its guest does not say what it should");
		n = read(q->text, text + got, sizeof(text) - 1 - got);
		if (n <= 0)
			qemu_die(q, BENCH_FAILED, "has ended too early");
		got += (size_t)n;
		text[got] = 0;
	} while (!strstr(text, word));
}

void qemu_kill(struct qemu *q)
{
	kill(q->pid, SIGKILL);
	waitpid(q->pid, NULL, 0);
	close(q->monitor);
	close(q->text);
}

void qemu_finish(struct qemu *q, char *text, size_t room, uint64_t ms)
{
	struct pollfd fd = {.fd = q->text, .events = POLLIN};
	uint64_t deadline = bench_ns() + ms * 1000000;
	char rest[256];
	size_t got = 0;
	ssize_t n;

	for (;;) {
		uint64_t now = bench_ns();

		if (now >= deadline || poll(&fd, 1, (int)((deadline - now) / 1000000 + 1)) < 0)
			qemu_die(q, BENCH_FAILED, "its guest came to no end");
		if (!fd.revents)
			continue;
		n = got + 1 < room ? read(q->text, text + got, room - 1 - got)
		                   : read(q->text, rest, sizeof(rest));
		if (n <= 0)
			break;
		got += got + 1 < room ? (size_t)n : 0;
	}
	text[got] = 0;
	waitpid(q->pid, NULL, 0);
	close(q->monitor);
	close(q->text);
}
