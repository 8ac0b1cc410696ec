/* SPDX-License-Identifier: Apache-2.0 */
#include "wait.h"

#include <stdlib.h>
#include <vdb/error.h>
#include <vdb/gate.h>

#include "tinyvmm.h"

struct vdb_gate *wait_begin(void)
{
	struct vdb_gate *gate;

	if (vdb_gate_create(&gate)) {
		complain("%s", vdb_errmsg());
		exit(TINYVMM_WRONG);
	}
	return vdb_gate_ref(gate); /* one for wait_done(), one for wait_end() */
}

void wait_done(void *gate)
{
	vdb_gate_open(gate, 0);
	vdb_gate_unref(gate);
}

void wait_end(struct vdb_gate *gate)
{
	int64_t result;

	if (vdb_gate_wait(gate, -1, &result))
		complain("%s", vdb_errmsg());
	vdb_gate_unref(gate);
}

int wait_refused(struct vdb_gate *gate)
{
	vdb_gate_unref(gate);
	vdb_gate_unref(gate);
	return complain("%s", vdb_errmsg());
}
