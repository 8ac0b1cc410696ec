/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox for the process that runs virtual machines: what the library's threads never ask of the kernel is
 * taken away from them, so that a guest that broke out finds little. Between configure and start:
 *
 *     vdb_sandbox_create(&config, &sandbox);            what for, and which files
 *     vdb_sandbox_isolate(sandbox);                     while there is one thread, if the host allows
 *     vdb_sandbox_inherit(sandbox);                     library threads started from here on enter it
 *     ... loops, VMs, devices ...
 *     vdb_sandbox_enter(sandbox, VDB_THREAD_CONTROL);   and so does this one, before guests run
 *
 * Threads of your own that run loops or vCPUs call vdb_sandbox_enter() as their first act. There is no way
 * out. Filters do not see what goes through an io_uring: loops see to that (VDB_LOOP_HAS_RESTRICTIONS).
 */
#ifndef VDB_SANDBOX_H
#define VDB_SANDBOX_H

#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_sandbox;

/* What a thread is for. Each has a filter of system calls of its own. */
enum {
	VDB_THREAD_CONTROL = 0, /* all that the others may, and to make and destroy what they work on */
	VDB_THREAD_LOOP = 1,    /* vdb_loop_run(), and its I/O threads */
	VDB_THREAD_VCPU = 2,    /* vdb_vcpu_run() */
};

/* The parts. */
#define VDB_SANDBOX_SECCOMP (1u << 0)      /* system calls, by thread; needs a build with libseccomp */
#define VDB_SANDBOX_LANDLOCK (1u << 1)     /* files; and no TCP, no abstract Unix sockets of others */
#define VDB_SANDBOX_CAPABILITIES (1u << 2) /* none are left */
#define VDB_SANDBOX_NAMESPACES (1u << 3)   /* vdb_sandbox_isolate() */
#define VDB_SANDBOX_ALL (0xfu)

/* What happens to a thread that makes a call which its filter does not list. */
enum {
	VDB_REFUSE_ERRNO =
	        0, /* the call fails with EPERM, as a call may, and the kernel's audit log says which */
	VDB_REFUSE_KILL = 1, /* the process ends by SIGSYS, all its VMs with it */
};

/* What may be done with a path, from then on; what has been opened before stays open. */
#define VDB_SANDBOX_READ (1u << 0)   /* a file, or a folder and what is below */
#define VDB_SANDBOX_WRITE (1u << 1)  /* files that are there, likewise */
#define VDB_SANDBOX_CREATE (1u << 2) /* in a folder: make and remove files and sockets */

struct vdb_sandbox_path {
	const char *path; /* must be there */
	uint32_t access;  /* VDB_SANDBOX_READ, _WRITE, _CREATE */
	uint32_t reserved;
};

#define VDB_SANDBOX_THREAD(kind) (1u << (kind))

/* A system call that the embedder's own code makes. */
struct vdb_sandbox_call {
	uint32_t kinds;    /* VDB_SANDBOX_THREAD() of those that may; the control thread always may */
	uint32_t nr;       /* SYS_* */
	uint32_t arg;      /* 0: whatever its arguments are; n: if the n-th, from 1 on, is as follows */
	uint32_t reserved; /* 0 */
	uint64_t mask;     /* (argument & mask) == value */
	uint64_t value;
};

/* What the library does at run time, besides serving what is there. */
#define VDB_SANDBOX_SOCKETS                                                            \
	(1u << 0) /* Unix sockets: vdb/vsock.h with a path, vhost-user that reconnects \
	           */

struct vdb_sandbox_config {
	uint32_t size;
	uint32_t parts;    /* VDB_SANDBOX_* parts to be used; 0 = all */
	uint32_t required; /* of these: -EOPNOTSUPP where one is not to be had. Others are done without */
	uint32_t refuse;   /* VDB_REFUSE_* */
	uint32_t uses;     /* VDB_SANDBOX_SOCKETS or 0 */
	uint32_t path_count;
	const struct vdb_sandbox_path *paths; /* none: the control thread opens nothing at all */
	const struct vdb_sandbox_call *calls;
	uint32_t call_count;
	uint32_t reserved;
};

/*
 * Finds out what this kernel has, and prepares it: entering takes little. Call it in the process that enters,
 * not before a fork(). config may be NULL. -EOPNOTSUPP: a required part is missing; -ENOENT and the like: of
 * a path; -EINVAL.
 */
VDB_MUST_CHECK int vdb_sandbox_create(const struct vdb_sandbox_config *config, struct vdb_sandbox **out);

/* Closes what create has opened; threads that have entered stay inside. Not before the last has entered that
 * will. NULL is fine. */
void vdb_sandbox_destroy(struct vdb_sandbox *sandbox);

/*
 * User, mount, network, IPC and UTS namespaces of the process's own, if NAMESPACES is a part; and when a
 * control thread enters, a root folder with nothing in it but `paths`. For a process that has one thread, and
 * has opened what it needs privileges for, network interfaces above all: tap queues and sockets that are open
 * stay what they are. -EOPNOTSUPP: the host does not allow it (nothing has changed, and vdb_sandbox_why()
 * says why); -EBUSY: there is more than one thread.
 */
VDB_MUST_CHECK int vdb_sandbox_isolate(struct vdb_sandbox *sandbox);

/* Threads that the library starts for this one from now on (vdb_loop_start(), vdb_vcpu_start(), workers,
 * vhost) enter as their first act, those that they start likewise; a start fails if that fails. NULL: no
 * longer. */
void vdb_sandbox_inherit(struct vdb_sandbox *sandbox);

/*
 * For the calling thread, for good: no new privileges, and all parts that are there. It inherits, too, as
 * above: such threads have this one's filter besides their own, which costs a little at each system call, and
 * nothing if they are started first. -EALREADY: it has entered; -EINVAL.
 */
VDB_MUST_CHECK int vdb_sandbox_enter(struct vdb_sandbox *sandbox, uint32_t kind);

/* The parts that are in force, or will be once a thread enters. */
uint32_t vdb_sandbox_parts(const struct vdb_sandbox *sandbox);

/* Why a part is not in force; "" if it is, or was not asked for. Valid as long as the sandbox. */
const char *vdb_sandbox_why(const struct vdb_sandbox *sandbox, uint32_t part);

#ifdef __cplusplus
}
#endif
#endif
