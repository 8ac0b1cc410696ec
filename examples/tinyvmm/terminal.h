/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal: raw while the guest has it, as it was before on every way out
 * (return, exit(), crash signals; SIGKILL alone leaves it raw).
 */
#ifndef TINYVMM_TERMINAL_H
#define TINYVMM_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* If stdin is a terminal, makes it raw from now on, and says how to get out. In the background this stops the
 * process like any other that wants the terminal, until it is brought to the foreground. */
void terminal_enter(void);

/* As it was before. Safe in a signal handler. */
void terminal_leave(void);

bool terminal_is_raw(void);

/* Its size, if stdout is one. 0, or -1. */
int terminal_size(uint16_t *columns, uint16_t *rows);

/* What the user types while the terminal is raw: Ctrl-A begins a command. */
struct escape {
	bool pending; /* Ctrl-A was the last byte */
	void (*quit)(void *arg);
	void *arg;
};

/* As vdb_chardev_config.filter; arg is a struct escape. */
size_t terminal_filter(void *arg, char *data, size_t len);

#endif
