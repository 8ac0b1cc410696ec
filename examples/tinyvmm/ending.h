/* SPDX-License-Identifier: Apache-2.0 */
/* How a VM has ended. Many may have a reason, on threads of their own: the first one counts. */
#ifndef TINYVMM_ENDING_H
#define TINYVMM_ENDING_H

#include <pthread.h>
#include <vdb/vm.h>

struct ending {
	pthread_mutex_t lock;
	int bell;       /* eventfd, readable when it has ended */
	int status;     /* exit status; -1: it runs */
	char text[200]; /* a sentence for people */
};

/* 0, or -1 after a complaint. */
int ending_create(struct ending *ending);
void ending_destroy(struct ending *ending);

/* It ends now, with this status. Any thread. */
__attribute__((format(printf, 3, 4))) void ending_set(struct ending *ending, int status, const char *format,
                                                      ...);

/* Sets what `event` means for the VM as a whole. What the vCPU does next: VDB_EVENT_*. */
int ending_event(struct ending *ending, const struct vdb_event *event);

#endif
