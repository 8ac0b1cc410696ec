/* SPDX-License-Identifier: Apache-2.0 */
#include "sandbox.h"

#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vdb/error.h>

#include "tinyvmm.h"
#include "values.h"

enum sandbox_mode {
	SANDBOX_AUTO, /* what this host has, and a line for what it has not */
	SANDBOX_ON,   /* all of it */
	SANDBOX_OFF,
};

static const struct choice modes[] = {{"auto", SANDBOX_AUTO}, {"on", SANDBOX_ON}, {"off", SANDBOX_OFF}, {0}};
static const struct choice refusals[] = {{"errno", VDB_REFUSE_ERRNO}, {"kill", VDB_REFUSE_KILL}, {0}};

struct sandbox_option sandbox_default(void)
{
#ifdef VDB__TEST_HOOKS
	/* A call that its list has not must not go unseen in tests. */
	return (struct sandbox_option){.refuse = VDB_REFUSE_KILL};
#else
	return (struct sandbox_option){.refuse = VDB_REFUSE_ERRNO};
#endif
}

int sandbox_parse(struct sandbox_option *option, const char *text)
{
	char copy[64], *save = NULL, *part;

	if (strlen(text) >= sizeof(copy))
		return complain("--sandbox %.40s...: too long", text);
	memcpy(copy, text, strlen(text) + 1);
	part = strtok_r(copy, ",", &save);
	if (value_choice("--sandbox", part ? part : "", modes, &option->mode))
		return -1;
	while ((part = strtok_r(NULL, ",", &save))) {
		if (strncmp(part, "refuse=", 7) != 0)
			return complain("--sandbox: no key `%s`; refuse=errno or refuse=kill may follow",
			                part);
		if (value_choice("--sandbox refuse", part + 7, refusals, &option->refuse))
			return -1;
	}
	return 0;
}

/* ---- What is needed from then on ---- */

void sandbox_folder(struct sandbox *sandbox, const char *file, uint32_t rights)
{
	uint32_t i = sandbox->path_count;
	char copy[sizeof(sandbox->folders[0])];

	(void)snprintf(copy, sizeof(copy), "%s", file);
	/* One that is not there, whoever needs it will miss, and say so better. */
	if (i == SANDBOX_PATHS || access(dirname(copy), F_OK))
		return;
	(void)snprintf(copy, sizeof(copy), "%s", file);
	(void)snprintf(sandbox->folders[i], sizeof(sandbox->folders[i]), "%s", dirname(copy));
	sandbox->paths[i] = (struct vdb_sandbox_path){.path = sandbox->folders[i], .access = rights};
	sandbox->path_count++;
}

static void add_call(struct sandbox *sandbox, struct vdb_sandbox_call call)
{
	if (sandbox->call_count < SANDBOX_CALLS)
		sandbox->calls[sandbox->call_count++] = call;
}

/* Of an int. */
static void add_call_if(struct sandbox *sandbox, uint32_t nr, uint32_t arg, uint32_t value)
{
	add_call(sandbox,
	         (struct vdb_sandbox_call){.nr = nr, .arg = arg, .mask = 0xffffffffu, .value = value});
}

void sandbox_child(struct sandbox *sandbox, int pid)
{
	add_call_if(sandbox, SYS_kill, 1, (uint32_t)pid);
	add_call_if(sandbox, SYS_wait4, 1, (uint32_t)pid);
}

/* The terminal, and how busy the CPUs are. */
static void add_own_calls(struct sandbox *sandbox)
{
	static const uint32_t requests[] = {TCGETS, TCSETS, TCSETSW, TCSETSF, TIOCGWINSZ};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		add_call_if(sandbox, SYS_ioctl, 2, requests[i]);
}

/* ---- In ---- */

static void say_what_is_missing(const struct sandbox *sandbox)
{
	for (uint32_t part = 1; part & VDB_SANDBOX_ALL; part <<= 1) {
		const char *why = vdb_sandbox_why(sandbox->vdb, part);

		if (*why)
			complain("sandbox: %s; --sandbox off says nothing of it", why);
	}
}

int sandbox_begin(struct sandbox *sandbox, const struct sandbox_option *option)
{
	struct vdb_sandbox_config config = {
	        .size = sizeof(config),
	        .required = option->mode == SANDBOX_ON ? VDB_SANDBOX_ALL : 0,
	        .refuse = option->refuse,
	        .uses = sandbox->sockets ? VDB_SANDBOX_SOCKETS : 0,
	        .path_count = sandbox->path_count,
	        .paths = sandbox->paths,
	        .calls = sandbox->calls,
	};

	if (option->mode == SANDBOX_OFF)
		return 0;
	add_own_calls(sandbox);
	config.call_count = sandbox->call_count;
	if (vdb_sandbox_create(&config, &sandbox->vdb))
		return complain("--sandbox: %s", vdb_errmsg());
	if (vdb_sandbox_isolate(sandbox->vdb) && option->mode == SANDBOX_ON)
		return complain("--sandbox on: %s", vdb_errmsg());
	vdb_sandbox_inherit(sandbox->vdb);
	say_what_is_missing(sandbox);
	return 0;
}

int sandbox_enter(struct sandbox *sandbox)
{
	if (sandbox->vdb && vdb_sandbox_enter(sandbox->vdb, VDB_THREAD_CONTROL))
		return complain("--sandbox: %s", vdb_errmsg());
	return 0;
}

void sandbox_end(struct sandbox *sandbox)
{
	vdb_sandbox_destroy(sandbox->vdb);
	sandbox->vdb = NULL;
}
