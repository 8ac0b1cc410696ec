/* SPDX-License-Identifier: Apache-2.0 */
/* What all files of tinyvmm share: its commands, their exit statuses and how it complains. */
#ifndef TINYVMM_H
#define TINYVMM_H

/* Exit statuses. `run` tells by them how the guest has ended. */
enum {
	TINYVMM_OK = 0,    /* run: the guest has powered off, or written 0 to debug-exit */
	TINYVMM_WRONG = 1, /* it ran, or tried to, and something was wrong */
	TINYVMM_USAGE = 2, /* refused before anything started */
	/* run only: */
	TINYVMM_RESET = 3,    /* the guest wants to be rebooted */
	TINYVMM_PANIC = 4,    /* its kernel has panicked */
	TINYVMM_TIMEOUT = 5,  /* --timeout is over */
	TINYVMM_CRASH = 6,    /* triple fault */
	TINYVMM_KILLED = 7,   /* by a signal or Ctrl-A x, before it powered off */
	TINYVMM_EXITED = 64,  /* plus what it wrote to debug-exit, 1..63 */
	TINYVMM_EXIT_MAX = 63 /* more counts as so much */
};

/* A command: its file has the only definition. argv[0] is its name. Returns an exit status. */
struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

extern const struct command command_run, command_demo;

/* "tinyvmm: " and a line on stderr. Returns -1, for `return complain(...)`. Any thread. */
__attribute__((format(printf, 1, 2))) int complain(const char *format, ...);

#endif
