/* SPDX-License-Identifier: Apache-2.0 */
/* The eventfds of doorbells and interrupts: what bounds their number is RLIMIT_NOFILE. */
#ifndef VDB_KVM_EVENT_FD_H
#define VDB_KVM_EVENT_FD_H

/* A new eventfd, or -errno; `what` goes into the message, with the limit if that is the reason. */
int vdb__event_fd(const char *what);

#endif
