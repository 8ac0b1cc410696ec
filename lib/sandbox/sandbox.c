/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox's life, and how a thread enters it: the parts in the order in which each still may be entered. */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"

/* ---- What is missing ---- */

static const char *const names[VDB__PARTS] = {"SECCOMP", "LANDLOCK", "CAPABILITIES", "NAMESPACES"};

static unsigned index_of(uint32_t part)
{
	return (unsigned)__builtin_ctz(part);
}

int vdb__sandbox_lacks(struct vdb_sandbox *sandbox, uint32_t part, const char *format, ...)
{
	char *why = sandbox->why[index_of(part)];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, sizeof(sandbox->why[0]), format, args);
	va_end(args);
	if (sandbox->config.required & part)
		return vdb__fail(EOPNOTSUPP, "sandbox: VDB_SANDBOX_%s is required: %s", names[index_of(part)],
		                 why);
	return 0;
}

VDB_EXPORT uint32_t vdb_sandbox_parts(const struct vdb_sandbox *sandbox)
{
	return sandbox->parts;
}

VDB_EXPORT const char *vdb_sandbox_why(const struct vdb_sandbox *sandbox, uint32_t part)
{
	if (!part || part & (part - 1) || part & ~VDB_SANDBOX_ALL || sandbox->parts & part)
		return "";
	return sandbox->why[index_of(part)];
}

/* ---- Entering ---- */

/* Threads that it starts have all of this but the filter from it. */
static int enter_whole(struct vdb_sandbox *sandbox, uint32_t kind)
{
	int err = 0;

	if (sandbox->isolated && !sandbox->moved && kind == VDB_THREAD_CONTROL)
		err = vdb__root_move(sandbox);
	if (!err && sandbox->parts & VDB_SANDBOX_CAPABILITIES)
		err = vdb__capabilities_drop();
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		err = vdb__fail_sys(errno, "sandbox: no new privileges");
	if (!err && sandbox->parts & VDB_SANDBOX_LANDLOCK)
		err = vdb__landlock_enter(sandbox);
	return err;
}

static int enter(struct vdb_sandbox *sandbox, uint32_t kind, bool inside)
{
	int err = inside ? 0 : enter_whole(sandbox, kind);

	if (!err && sandbox->parts & VDB_SANDBOX_SECCOMP)
		err = vdb__filters_enter(sandbox, kind);
	if (!err)
		vdb__thread_bounds.inside = true;
	return err;
}

static int enter_thread(struct vdb__thread_sandbox *thread, uint32_t kind, bool inside)
{
	/* A control thread's filter is what its starter has, who is inside. */
	if (inside && kind == VDB_THREAD_CONTROL)
		return 0;
	return enter((struct vdb_sandbox *)(void *)thread, kind, inside);
}

VDB_EXPORT void vdb_sandbox_inherit(struct vdb_sandbox *sandbox)
{
	if (!vdb__thread_bounds.inside)
		vdb__thread_bounds.sandbox = sandbox ? &sandbox->thread : NULL;
}

VDB_EXPORT int vdb_sandbox_enter(struct vdb_sandbox *sandbox, uint32_t kind)
{
	if (kind >= VDB__KINDS)
		return vdb__fail(EINVAL, "sandbox: %u is none of VDB_THREAD_*", kind);
	if (vdb__thread_bounds.inside)
		return vdb__fail(EALREADY, "sandbox: this thread has entered one; there is no way out");
	if (getpid() != sandbox->process)
		return vdb__fail(EINVAL, "sandbox: it was made in another process; make it after fork()");
	vdb_sandbox_inherit(sandbox);
	return enter(sandbox, kind, false);
}

/* ---- Create ---- */

static int check_call(const struct vdb_sandbox_call *call, uint32_t i)
{
	if (call->arg > 6 || call->reserved || call->kinds >> VDB__KINDS)
		return vdb__fail(
		        EINVAL,
		        "sandbox: call %u: arg must be 0..6, kinds of VDB_SANDBOX_THREAD(), reserved 0", i);
	return 0;
}

static int check_path(const struct vdb_sandbox_path *path, uint32_t i)
{
	const uint32_t known = VDB_SANDBOX_READ | VDB_SANDBOX_WRITE | VDB_SANDBOX_CREATE;

	if (!path->path || !*path->path || !path->access || path->access & ~known || path->reserved)
		return vdb__fail(EINVAL,
		                 "sandbox: path %u: needs a path, and access of VDB_SANDBOX_READ, _WRITE, "
		                 "_CREATE",
		                 i);
	return 0;
}

static int take_config(struct vdb_sandbox_config *own, const struct vdb_sandbox_config *config)
{
	int err = vdb__config_take(own, sizeof(*own), config, "vdb_sandbox_config");

	if (err)
		return err;
	if (!own->parts)
		own->parts = VDB_SANDBOX_ALL;
	if (own->parts & ~VDB_SANDBOX_ALL || own->required & ~own->parts)
		return vdb__fail(
		        EINVAL, "sandbox: parts %#x, required %#x: of VDB_SANDBOX_ALL, and required of parts",
		        own->parts, own->required);
	if (own->refuse > VDB_REFUSE_KILL || own->uses & ~VDB_SANDBOX_SOCKETS || own->reserved)
		return vdb__fail(EINVAL, "sandbox: refuse %u, uses %#x, reserved %u: not known", own->refuse,
		                 own->uses, own->reserved);
	if ((own->path_count && !own->paths) || (own->call_count && !own->calls))
		return vdb__fail(EINVAL, "sandbox: a count without what is counted");
	for (uint32_t i = 0; i < own->path_count && !err; i++)
		err = check_path(&own->paths[i], i);
	for (uint32_t i = 0; i < own->call_count && !err; i++)
		err = check_call(&own->calls[i], i);
	return err;
}

static char *absolute(const char *cwd, const char *path)
{
	char *text = NULL;

	if (strstr(path, ".."))
		return realpath(path, NULL);
	if (*path == '/')
		return strdup(path);
	return asprintf(&text, "%s/%s", cwd, path) < 0 ? NULL : text;
}

static int take_paths(struct vdb_sandbox *sandbox)
{
	const struct vdb_sandbox_path *paths = sandbox->config.paths;

	sandbox->cwd = getcwd(NULL, 0);
	sandbox->paths = calloc(sandbox->config.path_count + 1, sizeof(*sandbox->paths));
	if (!sandbox->cwd || !sandbox->paths)
		return vdb__fail_sys(errno, "sandbox: the working folder");
	for (uint32_t i = 0; i < sandbox->config.path_count; i++) {
		if (access(paths[i].path, F_OK))
			return vdb__fail_sys(errno, "sandbox: path %s", paths[i].path);
		sandbox->paths[i] = paths[i];
		sandbox->paths[i].path = absolute(sandbox->cwd, paths[i].path);
		if (!sandbox->paths[i].path)
			return vdb__fail_sys(errno, "sandbox: path %s", paths[i].path);
	}
	return 0;
}

static int make_parts(struct vdb_sandbox *sandbox)
{
	uint32_t wanted = sandbox->config.parts;
	int err = 0;

	if (wanted & VDB_SANDBOX_SECCOMP)
		err = vdb__filters_create(sandbox);
	if (!err && wanted & VDB_SANDBOX_LANDLOCK)
		err = vdb__landlock_create(sandbox);
	sandbox->parts |= wanted & VDB_SANDBOX_CAPABILITIES;
	if (wanted & VDB_SANDBOX_NAMESPACES)
		(void)snprintf(sandbox->why[index_of(VDB_SANDBOX_NAMESPACES)], sizeof(sandbox->why[0]),
		               "vdb_sandbox_isolate() has not been called");
	return err;
}

VDB_EXPORT int vdb_sandbox_create(const struct vdb_sandbox_config *config, struct vdb_sandbox **out)
{
	struct vdb_sandbox *sandbox = calloc(1, sizeof(*sandbox));
	int err;

	if (!sandbox)
		return vdb__fail(ENOMEM, "sandbox: no memory");
	sandbox->thread.enter = enter_thread;
	sandbox->process = getpid();
	sandbox->ruleset = -1;
	err = take_config(&sandbox->config, config);
	if (!err)
		err = take_paths(sandbox);
	if (!err)
		err = make_parts(sandbox);
	/* They are the caller's, who may be done with them. */
	sandbox->config.paths = NULL;
	sandbox->config.calls = NULL;
	if (err)
		vdb_sandbox_destroy(sandbox);
	else
		*out = sandbox;
	return err;
}

VDB_EXPORT void vdb_sandbox_destroy(struct vdb_sandbox *sandbox)
{
	if (!sandbox)
		return;
	if (vdb__thread_bounds.sandbox == &sandbox->thread)
		vdb__thread_bounds.sandbox = NULL;
	vdb__filters_destroy(sandbox);
	if (sandbox->ruleset >= 0)
		close(sandbox->ruleset);
	for (uint32_t i = 0; sandbox->paths && i < sandbox->config.path_count; i++)
		free((void *)(uintptr_t)sandbox->paths[i].path);
	free(sandbox->paths);
	free(sandbox->cwd);
	free(sandbox);
}
