/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that a guest causes: so many from each place in so long, the rest is counted. Any thread, without a
 * lock: of each place one word says when its window began and how many lines have been in it.
 */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/export.h"
#include "loop/state.h"

#define LINES 10u
#define WINDOW_MS 5000u
#define COUNT_BITS 24u
#define COUNT_MASK ((1u << COUNT_BITS) - 1)

/* What the word becomes by one line at `now`; itself: that is one too many. */
static uint64_t next(const struct vdb_caps *caps, uint64_t word, uint64_t now)
{
	uint32_t lines = caps->log_lines ? caps->log_lines : LINES,
	         ms = caps->log_ms ? caps->log_ms : WINDOW_MS;
	uint64_t since = word >> COUNT_BITS, count = word & COUNT_MASK;

	if (!word || now - since >= ms)
		return now << COUNT_BITS | 1;
	return count < lines && count < COUNT_MASK ? word + 1 : word;
}

static bool passes(struct vdb__account *account, uint32_t place)
{
	uint64_t *window = &account->log_window[place], now = vdb__now() / 1000000u, old, new;

	do {
		old = vdb__load(window);
		new = next(&account->caps, old, now);
	} while (new != old && !vdb__cas(window, old, new));
	return new != old;
}

static void say_missed(struct vdb__account *account, uint32_t place, char *line, size_t len)
{
	uint32_t missed = vdb__exchange(&account->log_missed[place], 0u);
	size_t at = strlen(line);

	if (missed)
		(void)snprintf(line + at, len - at, " (%u more lines of this kind were dropped)", missed);
}

VDB_EXPORT void vdb_tenant_log(struct vdb_tenant *tenant, uint32_t place, const char *format, ...)
{
	struct vdb__account *account = &tenant->account;
	char line[VDB_LOG_LINE];
	va_list args;

	if (place >= VDB_LOG_PLACES)
		place = VDB_LOG_PLACES - 1;
	if (!account->caps.log || !passes(account, place)) {
		(void)vdb__fetch_add(&account->log_missed[place], 1u);
		(void)vdb__fetch_add(&account->log_dropped, 1u);
		return;
	}
	va_start(args, format);
	(void)vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	say_missed(account, place, line, sizeof(line));
	if (account->caps.log(account->caps.log_arg, line))
		(void)vdb__fetch_add(&account->log_dropped, 1u);
	else
		(void)vdb__fetch_add(&account->log_lines, 1u);
}

VDB_EXPORT int vdb_log_fd(void *fd, const char *line)
{
	struct pollfd to = {.fd = (int)(intptr_t)fd, .events = POLLOUT};
	char whole[VDB_LOG_LINE + 1];
	size_t len = strnlen(line, VDB_LOG_LINE - 1);
	ssize_t n;

	memcpy(whole, line, len);
	whole[len++] = '\n';
	if (poll(&to, 1, 0) != 1 || !(to.revents & POLLOUT))
		return vdb__fail(EAGAIN, "log: fd %d takes no line now", to.fd);
	n = write(to.fd, whole, len);
	if (n < 0)
		return vdb__fail_sys(errno, "log: fd %d", to.fd);
	return (size_t)n == len ? 0 : vdb__fail(EAGAIN, "log: fd %d took a part of a line", to.fd);
}
