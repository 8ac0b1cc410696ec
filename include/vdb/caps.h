/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one VM may have of its host besides its share of the loop: caps on a tenant, which is a VM on one
 * loop. Rates of bytes and operations are vdb/limit.h's. A guest that reaches a cap waits, or does without;
 * others do not notice, and nothing of what it was promised is lost. vdb_tenant_stats() (vdb/loop.h) tells
 * who reaches which.
 */
#ifndef VDB_CAPS_H
#define VDB_CAPS_H

#include <vdb/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VDB_CAPS_MAX_IRQS 1000000000u
#define VDB_LOG_LINE 512u  /* bytes of a line, its end included: what is longer is cut */
#define VDB_LOG_PLACES 16u /* see vdb_tenant_log() */

/* 0 = no cap, unless said otherwise. */
struct vdb_caps {
	uint32_t size;
	/* Requests that have been taken off the rings of all its lanes and are not complete. Those behind
	 * them stay in their rings. Each lane may have one whatever the others have: a queue whose requests
	 * wait for the outside (a console's input) keeps no other from its work. */
	uint32_t inflight;
	/* Bytes of guest memory that the loop registers, and so pins (VDB_LOOP_REGISTER_MEMORY), in pieces of
	 * at most 1 GiB. I/O to what is beyond goes the ordinary way. Memory of several tenants counts for
	 * the one that brought it. */
	uint64_t pinned;
	/* Sockets on the host: connections of its vsock devices, besides each device's own max_connections.
	 * The guest is refused; host programs wait to be accepted. Nothing else that a guest does opens
	 * anything; two fds for each queue that it uses are not counted. */
	uint32_t fds;
	/* Interrupts a second that its lanes raise, and so many as flow in 10 ms at once; at most
	 * VDB_CAPS_MAX_IRQS. One that comes too early is raised as soon as it may, once for all that has been
	 * completed until then: none is lost. Completions are published at once all the same. When a queue
	 * stops the last one is raised at once, and counts. */
	uint32_t irqs_per_s;
	/* Lines that its guest may make each place of the program write: so many in so many milliseconds. 0 =
	 * 10, 5000. */
	uint32_t log_lines;
	uint32_t log_ms;
	uint32_t reserved; /* 0 */
	/* Where these lines go: one at a time, without its end of line, VDB_LOG_LINE bytes at most. 0 = it
	 * has been written; anything else: it is lost, and counted. Any thread, several at once; it must not
	 * wait: see vdb_log_fd(). NULL: lines are only counted. */
	int (*log)(void *arg, const char *line);
	void *log_arg;
};

/* Before the tenant's first lane, and a vsock device's vdb_vsock_create(), else -EBUSY. Of a VM on several
 * loops each tenant has caps of its own. NULL: none, as at first. -EINVAL, -E2BIG. Any thread. */
VDB_MUST_CHECK int vdb_tenant_caps(struct vdb_tenant *tenant, const struct vdb_caps *caps);

/*
 * Says something that the guest has caused, as a line in printf's manner: that it broke a queue, say. `place`
 * tells the call sites apart, 0..VDB_LOG_PLACES-1 as the program likes: each has its own share of the cap, so
 * that a guest cannot hide one thing behind another; larger ones share the last. The first line after some
 * were dropped says how many there were. Any thread; it never waits, and formats nothing that is dropped.
 */
__attribute__((format(printf, 3, 4))) void vdb_tenant_log(struct vdb_tenant *tenant, uint32_t place,
                                                          const char *format, ...);

/* A vdb_caps.log for a file, pipe, socket or terminal: log_arg is (void *)(intptr_t)fd. One write a line;
 * none, and so the line is lost, when the fd cannot take it now. A pipe should be its own: other writers may
 * fill it between the look and the write. Who lets its readers go away ignores SIGPIPE. Any thread. */
int vdb_log_fd(void *fd, const char *line);

#ifdef __cplusplus
}
#endif
#endif
