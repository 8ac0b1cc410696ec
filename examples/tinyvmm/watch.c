/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "json_report.h"
#include "run.h"
#include "tinyvmm.h"

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH};

int watch_prepare(struct run *run)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return run->signals < 0 ? complain("signalfd: %s", strerror(errno)) : 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* ---- What signals ask for ---- */

/* What is to happen when, in milliseconds; 0 = never. */
struct deadlines {
	uint64_t timeout;
	uint64_t grace;
};

/* The first one is polite, the second is not. */
static void power_off(struct run *run, struct deadlines *deadlines)
{
	if (deadlines->grace)
		ending_set(&run->ending, TINYVMM_KILLED, "ended by a signal");
	else if (vdb_platform_power_button(run->platform))
		complain("power button: %s", vdb_errmsg());
	deadlines->grace = now_ms() + 1000u * run->options.grace;
}

static void resize_console(struct run *run)
{
	struct device *console = devices_console(run);
	uint16_t columns, rows;

	if (console && !terminal_size(&columns, &rows) && vdb_console_resize(console->virtio, columns, rows))
		complain("%s: %s", console->name, vdb_errmsg());
}

static void resize_disk(struct run *run, uint32_t number)
{
	struct disk *disk = &run->options.disks[number];
	int64_t bytes = vdb_backend_file_resize(disk->backend);

	if (bytes < 0 || vdb_blk_resized(devices_disk(run, number)->virtio))
		complain("%s: %s", disk->id, vdb_errmsg());
	else
		complain("%s: has %lld bytes now", disk->id, (long long)bytes);
}

static void resize_disks(struct run *run)
{
	for (uint32_t i = 0; i < run->options.disk_count; i++)
		if (*run->options.disks[i].path)
			resize_disk(run, i);
}

/* The default action of a signal that is blocked, so that the terminal is the shell's
 * meanwhile; SIGCONT follows. */
static void suspend(void)
{
	terminal_leave();
	kill(getpid(), SIGSTOP);
}

static void take_signal(struct run *run, int number, struct deadlines *deadlines)
{
	switch (number) {
	case SIGTSTP:
		suspend();
		break;
	case SIGCONT: /* after a SIGSTOP, too, which nobody can see coming */
		terminal_leave();
		terminal_enter();
		resize_console(run);
		break;
	case SIGWINCH:
		resize_console(run);
		break;
	case SIGUSR1:
		if (run->options.json)
			(void)json_write_stats(run);
		break;
	case SIGUSR2:
		resize_disks(run);
		limits_reload(run);
		balloon_reload(run);
		break;
	case SIGQUIT:
		ending_set(&run->ending, TINYVMM_KILLED, "ended by a signal");
		break;
	default:
		power_off(run, deadlines);
		break;
	}
}

/* ---- Waiting ---- */

static void take_deadlines(struct run *run, const struct deadlines *deadlines)
{
	uint64_t now = now_ms();

	if (deadlines->timeout && now >= deadlines->timeout)
		ending_set(&run->ending, TINYVMM_TIMEOUT, "--timeout %u: time is over", run->options.timeout);
	if (deadlines->grace && now >= deadlines->grace)
		ending_set(&run->ending, TINYVMM_KILLED,
		           "the guest did not power off in %u s after it was told to", run->options.grace);
}

/* For poll(): milliseconds, -1 = for ever. */
static int until(const struct deadlines *deadlines)
{
	uint64_t now = now_ms(), first = deadlines->timeout;

	if (deadlines->grace && (!first || deadlines->grace < first))
		first = deadlines->grace;
	return !first ? -1 : first <= now ? 0 : (int)(first - now);
}

void watch(struct run *run)
{
	struct pollfd fds[] = {{.fd = run->ending.bell, .events = POLLIN},
	                       {.fd = run->signals, .events = POLLIN}};
	struct deadlines deadlines = {
	        .timeout = run->options.timeout ? now_ms() + 1000ull * run->options.timeout : 0};
	struct signalfd_siginfo info;

	resize_console(run);
	for (;;) {
		if (poll(fds, 2, until(&deadlines)) < 0 && errno != EINTR)
			ending_set(&run->ending, TINYVMM_WRONG, "poll: %s", strerror(errno));
		if (fds[0].revents)
			return;
		if (fds[1].revents && read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
			take_signal(run, (int)info.ssi_signo, &deadlines);
		take_deadlines(run, &deadlines);
	}
}
