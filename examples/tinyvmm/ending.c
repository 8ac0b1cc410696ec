/* SPDX-License-Identifier: Apache-2.0 */
#include "ending.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tinyvmm.h"

#define PVPANIC_PANICKED 1u

int ending_create(struct ending *ending)
{
	*ending = (struct ending){.lock = PTHREAD_MUTEX_INITIALIZER,
	                          .bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	                          .status = -1};
	return ending->bell < 0 ? complain("eventfd: %s", strerror(errno)) : 0;
}

void ending_destroy(struct ending *ending)
{
	if (ending->bell >= 0)
		close(ending->bell);
	pthread_mutex_destroy(&ending->lock);
}

void ending_set(struct ending *ending, int status, const char *format, ...)
{
	const uint64_t one = 1;
	va_list args;

	pthread_mutex_lock(&ending->lock);
	if (ending->status < 0) {
		va_start(args, format);
		vsnprintf(ending->text, sizeof(ending->text), format, args);
		va_end(args);
		ending->status = status;
	}
	pthread_mutex_unlock(&ending->lock);
	if (write(ending->bell, &one, sizeof(one)) != (ssize_t)sizeof(one))
		complain("eventfd: %s", strerror(errno));
}

static void exited(struct ending *ending, uint64_t value)
{
	unsigned status = value > TINYVMM_EXIT_MAX ? TINYVMM_EXIT_MAX : (unsigned)value;

	ending_set(ending, value ? (int)(TINYVMM_EXITED + status) : TINYVMM_OK,
	           "the guest has ended with %llu", (unsigned long long)value);
}

int ending_event(struct ending *ending, const struct vdb_event *event)
{
	switch (event->kind) {
	case VDB_EVENT_POWEROFF:
		ending_set(ending, TINYVMM_OK, "the guest has powered off");
		break;
	case VDB_EVENT_RESET:
		ending_set(ending, TINYVMM_RESET, "the guest wants to be rebooted");
		break;
	case VDB_EVENT_PANIC:
		if (!(event->data[0] & PVPANIC_PANICKED))
			return VDB_EVENT_CONTINUE; /* a crash kernel goes on from here */
		ending_set(ending, TINYVMM_PANIC, "the guest's kernel has panicked");
		break;
	case VDB_EVENT_EXIT:
		exited(ending, event->data[0]);
		break;
	case VDB_EVENT_SHUTDOWN:
		ending_set(ending, TINYVMM_CRASH, "vcpu%u: triple fault (rip %#llx)", event->vcpu,
		           (unsigned long long)event->rip);
		break;
	default:
		ending_set(ending, TINYVMM_WRONG, "vcpu%u: %s (rip %#llx)", event->vcpu, event->text,
		           (unsigned long long)event->rip);
		break;
	}
	return VDB_EVENT_STOP;
}
