/* SPDX-License-Identifier: Apache-2.0 */
/* What all files of tinyvmm share: its commands and how it complains. */
#ifndef TINYVMM_H
#define TINYVMM_H

/* Exit statuses. */
enum {
	TINYVMM_OK = 0,
	TINYVMM_WRONG = 1, /* it ran, or tried to, and something was wrong */
	TINYVMM_USAGE = 2, /* refused before anything started */
};

/* A command: its file has the only definition. argv[0] is its name. Returns an exit status. */
struct command {
	const char *name;
	const char *summary;
	int (*run)(int argc, char **argv);
};

extern const struct command command_demo;

/* "tinyvmm: " and a line on stderr. Returns -1, for `return complain(...)`. */
__attribute__((format(printf, 1, 2))) int complain(const char *format, ...);

#endif
