/* SPDX-License-Identifier: Apache-2.0 */
#include "base/calls.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static const struct vdb_sandbox_call calls[] = {
        /* Threads: how they wait, and how they end. */
        VDB__CALL(VDB__EACH, futex),
        VDB__CALL(VDB__EACH, restart_syscall),
        VDB__CALL(VDB__EACH, sched_yield),
        VDB__CALL(VDB__EACH, clock_gettime), /* where the vDSO cannot tell */
        VDB__CALL(VDB__EACH, gettimeofday),
        VDB__CALL(VDB__EACH, clock_nanosleep),
        VDB__CALL(VDB__EACH, nanosleep),
        VDB__CALL(VDB__EACH, gettid),
        VDB__CALL(VDB__EACH, getpid),
        VDB__CALL(VDB__EACH, getcpu),
        VDB__CALL(VDB__EACH, membarrier),
        VDB__CALL(VDB__EACH, exit),
        VDB__CALL(VDB__EACH, exit_group),
        VDB__CALL(VDB__EACH, set_robust_list),
        VDB__CALL(VDB__EACH, rseq),
        VDB__CALL(VDB__EACH, rt_sigprocmask),
        VDB__CALL(VDB__EACH, rt_sigreturn),
        VDB__CALL(VDB__EACH, rt_sigtimedwait),
        VDB__CALL(VDB__EACH, rt_sigpending),
        VDB__CALL(VDB__EACH, sigaltstack),
        VDB__CALL(VDB__EACH, rt_sigaction), /* abort() */
        VDB__CALL_IF(VDB__EACH, prctl, 1, PR_SET_NAME),

        /* To start one that has a filter, too. */
        {.nr = SYS_clone, .arg = 1, .mask = THREAD_FLAGS, .value = THREAD_FLAGS},
        VDB__CALL(VDB__CONTROL, sched_setaffinity),
        VDB__CALL(VDB__CONTROL, sched_getaffinity),
        VDB__CALL_IF(VDB__CONTROL, seccomp, 1, SECCOMP_SET_MODE_FILTER),

        /* Memory, but never code. */
        VDB__CALL(VDB__EACH, brk),
        VDB__CALL_WITHOUT(VDB__EACH, mmap, 3, PROT_EXEC),
        VDB__CALL_WITHOUT(VDB__EACH, mprotect, 3, PROT_EXEC),
        VDB__CALL(VDB__EACH, mremap),
        VDB__CALL(VDB__EACH, munmap),
        VDB__CALL(VDB__EACH, madvise),
        VDB__CALL(VDB__EACH, getrandom),
        VDB__CALL(VDB__CONTROL, sysinfo),
        VDB__CALL(VDB__CONTROL, uname),
        VDB__CALL(VDB__CONTROL, prlimit64),

        /* What is open already. */
        VDB__CALL(VDB__EACH, read),
        VDB__CALL(VDB__EACH, write),
        VDB__CALL(VDB__EACH, readv),
        VDB__CALL(VDB__EACH, writev),
        VDB__CALL(VDB__EACH, close),
        VDB__CALL(VDB__EACH, poll),
        VDB__CALL(VDB__EACH, ppoll),
        VDB__CALL(VDB__EACH, eventfd2),
        VDB__CALL(VDB__EACH, fstat),
        VDB__CALL_IF(VDB__EACH, fcntl, 2, F_DUPFD_CLOEXEC),
        VDB__CALL_IF(VDB__EACH, fcntl, 2, F_GETFL),
        VDB__CALL_IF(VDB__EACH, fcntl, 2, F_SETFL),
        VDB__CALL_IF(VDB__EACH, fcntl, 2, F_GETFD),
        VDB__CALL_IF(VDB__CONTROL, fcntl, 2, F_SETFD),
        VDB__CALL(VDB__CONTROL, lseek),
        VDB__CALL(VDB__CONTROL, ftruncate),
        VDB__CALL(VDB__CONTROL, memfd_create),
        /* fstat() of a newer libc: also by a path, which Landlock does not hide, but tells little. */
        VDB__CALL(VDB__EACH, newfstatat),

#ifdef VDB__SANITIZED
        /* Their run time maps shadow memory, looks at /proc/self, and at exit traces the process for leaks.
         */
        VDB__CALL(VDB__EACH, mmap),
        VDB__CALL(VDB__EACH, mprotect),
        VDB__CALL(VDB__EACH, prctl),
        VDB__CALL(VDB__EACH, sched_getaffinity),
        VDB__CALL(VDB__EACH, openat),
        VDB__CALL(VDB__EACH, open),
        VDB__CALL(VDB__EACH, readlink),
        VDB__CALL(VDB__EACH, getdents),
        VDB__CALL(VDB__EACH, getdents64),
        VDB__CALL(VDB__EACH, lseek),
        VDB__CALL(VDB__EACH, prlimit64),
        VDB__CALL(VDB__EACH, getppid),
        VDB__CALL(VDB__EACH, clone),
        VDB__CALL(VDB__EACH, ptrace),
        VDB__CALL(VDB__EACH, process_vm_readv),
        VDB__CALL(VDB__EACH, pipe2),
        VDB__CALL(VDB__EACH, pipe),
        VDB__CALL(VDB__EACH, wait4),
        VDB__CALL(VDB__EACH, kill),
        VDB__CALL(VDB__EACH, tkill),
        VDB__CALL(VDB__EACH, personality),
        VDB__CALL(VDB__EACH, dup2),
#endif
};
const struct vdb__calls vdb__base_calls = VDB__CALLS(calls);

static const struct vdb_sandbox_call path_calls[] = {
        VDB__CALL(VDB__CONTROL, openat),    VDB__CALL(VDB__CONTROL, open),
        VDB__CALL(VDB__CONTROL, access),    VDB__CALL(VDB__CONTROL, stat),
        VDB__CALL(VDB__CONTROL, lstat),     VDB__CALL(VDB__CONTROL, readlink),
        VDB__CALL(VDB__CONTROL, unlink),    VDB__CALL(VDB__CONTROL, unlinkat),
        VDB__CALL(VDB__CONTROL, faccessat), VDB__CALL(VDB__CONTROL, statx),
};
const struct vdb__calls vdb__path_calls = VDB__CALLS(path_calls);
