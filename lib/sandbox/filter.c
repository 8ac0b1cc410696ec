/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters of system calls, one for each kind of thread. libseccomp makes them when the sandbox is made; to
 * enter is one system call, which takes no lock and no memory.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"
#include "sandbox/sandbox.h"

static int allow(void *arg, const struct vdb_sandbox_call *call)
{
	struct scmp_arg_cmp compare = {.arg = call->arg - 1,
	                               .op = SCMP_CMP_MASKED_EQ,
	                               .datum_a = call->mask,
	                               .datum_b = call->value};

	return seccomp_rule_add_exact_array(arg, SCMP_ACT_ALLOW, (int)call->nr, call->arg ? 1 : 0, &compare);
}

static int fill(const struct vdb_sandbox *sandbox, uint32_t kind, scmp_filter_ctx ctx)
{
	/* Of a foreign architecture: never by chance. */
	int err = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	/* A tree, not a list; old libraries make a list. */
	(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!err)
		err = vdb__sandbox_calls(sandbox, kind, allow, ctx);
	/* Its flags are in memory, where no filter sees them: libc falls back to clone(). */
	return err ? err : seccomp_rule_add_exact(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

/* The program, of which libseccomp makes a file. */
static int read_program(scmp_filter_ctx ctx, struct sock_fprog **out)
{
	int fd = memfd_create("vdb-filter", MFD_CLOEXEC), err;
	struct sock_fprog *program;
	off_t bytes;

	if (fd < 0)
		return -errno;
	err = seccomp_export_bpf(ctx, fd);
	bytes = err ? 0 : lseek(fd, 0, SEEK_END);
	program = bytes > 0 ? malloc(sizeof(*program) + (size_t)bytes) : NULL;
	if (!err && !program)
		err = -ENOMEM;
	if (!err) {
		program->len = (unsigned short)((size_t)bytes / sizeof(struct sock_filter));
		program->filter = (struct sock_filter *)(program + 1);
		if (pread(fd, program->filter, (size_t)bytes, 0) != bytes)
			err = -EIO;
	}
	close(fd);
	if (err)
		free(program);
	else
		*out = program;
	return err;
}

static int make(struct vdb_sandbox *sandbox, uint32_t kind)
{
	uint32_t action =
	        sandbox->config.refuse == VDB_REFUSE_KILL ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM);
	scmp_filter_ctx ctx = seccomp_init(action);
	int err;

	if (!ctx)
		return -ENOMEM;
	err = fill(sandbox, kind, ctx);
	if (!err)
		err = read_program(ctx, &sandbox->filters[kind]);
	seccomp_release(ctx);
	return err;
}

int vdb__filters_create(struct vdb_sandbox *sandbox)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;
	int err = 0;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
		return vdb__sandbox_lacks(sandbox, VDB_SANDBOX_SECCOMP,
		                          "this kernel has no filters of system calls (seccomp, 4.14): %s",
		                          strerrordesc_np(errno));
	for (uint32_t kind = 0; kind < VDB__KINDS && !err; kind++)
		err = make(sandbox, kind);
	if (err)
		return vdb__fail_sys(-err, "sandbox: make a filter of system calls");
	sandbox->parts |= VDB_SANDBOX_SECCOMP;
	return 0;
}

void vdb__filters_destroy(struct vdb_sandbox *sandbox)
{
	for (uint32_t kind = 0; kind < VDB__KINDS; kind++)
		free(sandbox->filters[kind]);
}

/* LOG: the audit log has what is refused. SPEC_ALLOW: kernels before 5.16 would otherwise slow the thread
 * down, and its guest with it, to keep the thread from speculation that it is not kept from without a filter.
 */
int vdb__filters_enter(const struct vdb_sandbox *sandbox, uint32_t kind)
{
	unsigned long flags = SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	const struct sock_fprog *program = sandbox->filters[kind];

	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program) ||
	    (errno == EINVAL && !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program)))
		return 0;
	return vdb__fail_sys(errno, "sandbox: filter of system calls");
}
