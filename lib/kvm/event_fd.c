/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/event_fd.h"

#include <sys/eventfd.h>
#include <sys/resource.h>

#include "base/error.h"

int vdb__event_fd(const char *what)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), err = errno;
	struct rlimit limit = {0};

	if (fd >= 0)
		return fd;
	if (err != EMFILE)
		return vdb__fail_sys(err, "%s: eventfd", what);
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	return vdb__fail(EMFILE,
	                 "%s: all %llu open files that RLIMIT_NOFILE allows are in use; raise it (ulimit -n)",
	                 what, (unsigned long long)limit.rlim_cur);
}
