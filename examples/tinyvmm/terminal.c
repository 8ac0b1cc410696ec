/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tinyvmm.h"

#define CTRL_A 1

/* Of the process, since a signal handler has nothing else to go by. */
static struct {
	struct termios before;
	volatile sig_atomic_t raw;
	bool watched; /* exit and crashes */
} terminal;

static const int crashes[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
#define CRASHES (sizeof(crashes) / sizeof(crashes[0]))

static struct sigaction crash_before[CRASHES];

/* The handler from before, a sanitizer's perhaps, goes on: the faulting instruction is
 * run once more; what somebody sent is sent again. */
static void crashed(int number, siginfo_t *info, void *context)
{
	(void)context;
	terminal_leave();
	for (size_t i = 0; i < CRASHES; i++)
		if (crashes[i] == number)
			sigaction(number, &crash_before[i], NULL);
	if (info->si_code <= 0)
		raise(number);
}

static void watch_exits(void)
{
	struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	if (terminal.watched)
		return;
	terminal.watched = true;
	sigemptyset(&action.sa_mask);
	atexit(terminal_leave);
	for (size_t i = 0; i < CRASHES; i++)
		sigaction(crashes[i], &action, &crash_before[i]);
}

void terminal_enter(void)
{
	struct termios raw;
	sigset_t output, mask;

	if (!isatty(STDIN_FILENO) || terminal.raw || tcgetattr(STDIN_FILENO, &terminal.before))
		return;
	watch_exits();
	raw = terminal.before;
	cfmakeraw(&raw);
	/* Unblocked, SIGTTOU stops who is in the background; blocked, it would take the
	 * terminal away from whoever is in the foreground. */
	sigemptyset(&output);
	sigaddset(&output, SIGTTOU);
	pthread_sigmask(SIG_UNBLOCK, &output, &mask);
	terminal.raw = !tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (terminal.raw)
		complain("Ctrl-A x quits, Ctrl-A h helps");
}

void terminal_leave(void)
{
	if (terminal.raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal.before);
	terminal.raw = 0;
}

bool terminal_is_raw(void)
{
	return terminal.raw;
}

int terminal_size(uint16_t *columns, uint16_t *rows)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_col || !size.ws_row)
		return -1;
	*columns = size.ws_col;
	*rows = size.ws_row;
	return 0;
}

static void help(void)
{
	static const char text[] = "\r\nCtrl-A x  quit: ends the virtual machine at once\r\n"
	                           "Ctrl-A a  send Ctrl-A to the guest\r\n"
	                           "Ctrl-A h  this help\r\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)written; /* to whom should one complain? */
}

/* One byte after Ctrl-A. True: it is for the guest, as *byte. */
static bool command(struct escape *escape, char *byte)
{
	switch (*byte) {
	case 'a':
	case CTRL_A:
		*byte = CTRL_A;
		return true;
	case 'x':
		escape->quit(escape->arg);
		return false;
	case 'h':
	case '?':
		help();
		return false;
	default:
		return false;
	}
}

size_t terminal_filter(void *arg, char *data, size_t len)
{
	struct escape *escape = arg;
	size_t left = 0;

	for (size_t i = 0; i < len; i++) {
		char byte = data[i];

		if (!escape->pending && byte == CTRL_A) {
			escape->pending = true;
			continue;
		}
		if (!escape->pending || command(escape, &byte))
			data[left++] = byte;
		escape->pending = false;
	}
	return left;
}
