/* SPDX-License-Identifier: Apache-2.0 */
/* Gates for those who wait for more than a gate: a vCPU waits for a kick, too. */
#ifndef VDB_BASE_GATE_H
#define VDB_BASE_GATE_H

#include <stdbool.h>
#include <vdb/gate.h>

#include "base/list.h"

/* Embedded by the waiter, usually on its stack. */
struct vdb__gate_watch {
	/*
	 * The gate has opened. On the opener's thread, with the gate locked: take the
	 * waiter's own lock, signal, return; call no gate function. Hence nobody may
	 * call a gate function while holding the lock that notify takes.
	 */
	void (*notify)(struct vdb__gate_watch *watch);
	struct vdb__list link;
};

/* True: attached, notify will come at most once. False: open already, not attached. Any thread. */
bool vdb__gate_attach(struct vdb_gate *gate, struct vdb__gate_watch *watch);

/* notify is not running and does not come after this. Harmless after the gate opened,
 * and on a watch that was refused. Any thread but from notify. */
void vdb__gate_detach(struct vdb_gate *gate, struct vdb__gate_watch *watch);

#endif
