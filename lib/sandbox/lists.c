/* SPDX-License-Identifier: Apache-2.0 */
/* Who may call what: each layer's list, as far as the sandbox's use needs it, and the embedder's. */
#include <unistd.h>

#include "io/calls.h"
#include "kvm/calls.h"
#include "loop/calls.h"
#include "mem/calls.h"
#include "net/calls.h"
#include "sandbox/sandbox.h"
#include "vhost/calls.h"
#include "virtio/calls.h"

static const struct vdb__calls *const always[] = {&vdb__base_calls, &vdb__mem_calls, &vdb__kvm_calls,
                                                  &vdb__loop_calls, &vdb__io_calls,  &vdb__net_calls,
                                                  &vdb__vhost_calls};
static const struct vdb__calls *const with_sockets[] = {&vdb__virtio_socket_calls, &vdb__vhost_socket_calls};
static const struct vdb__calls *const with_paths[] = {&vdb__path_calls};

struct visit {
	uint32_t kind;
	int (*each)(void *arg, const struct vdb_sandbox_call *call);
	void *arg;
};

static int visit_list(const struct visit *visit, const struct vdb_sandbox_call *list, size_t count)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++) {
		if (visit->kind == VDB_THREAD_CONTROL || list[i].kinds & VDB_SANDBOX_THREAD(visit->kind))
			err = visit->each(visit->arg, &list[i]);
	}
	return err;
}

static int visit_lists(const struct visit *visit, const struct vdb__calls *const *lists, size_t count)
{
	int err = 0;

	for (size_t i = 0; i < count && !err; i++)
		err = visit_list(visit, lists[i]->list, lists[i]->count);
	return err;
}

/* Signals, but to this process only: kicks; abort(). */
static int visit_signals(const struct vdb_sandbox *sandbox, const struct visit *visit)
{
	const struct vdb_sandbox_call calls[] = {
	        VDB__CALL_IF(VDB__EACH, tgkill, 1, sandbox->process),
	        VDB__CALL_IF(VDB__CONTROL, kill, 1, sandbox->process),
	};

	return visit_list(visit, calls, sizeof(calls) / sizeof(calls[0]));
}

int vdb__sandbox_calls(const struct vdb_sandbox *sandbox, uint32_t kind,
                       int (*each)(void *arg, const struct vdb_sandbox_call *call), void *arg)
{
	const struct visit visit = {kind, each, arg};
	const struct vdb_sandbox_config *config = &sandbox->config;
	int err = visit_lists(&visit, always, sizeof(always) / sizeof(always[0]));

	if (!err)
		err = visit_signals(sandbox, &visit);
	if (!err && config->uses & VDB_SANDBOX_SOCKETS)
		err = visit_lists(&visit, with_sockets, sizeof(with_sockets) / sizeof(with_sockets[0]));
	if (!err && config->path_count)
		err = visit_lists(&visit, with_paths, sizeof(with_paths) / sizeof(with_paths[0]));
	return err ? err : visit_list(&visit, config->calls, config->call_count);
}
