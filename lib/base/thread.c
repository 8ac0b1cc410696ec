/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

_Thread_local const void *vdb__thread_loop;

/* glibc reads a file to count the CPUs: not on the way of a thread that can be started. */
static int no_cpu(const char *name, int cpu)
{
	const char *why =
	        cpu < sysconf(_SC_NPROCESSORS_CONF) ? "is not available to this process" : "does not exist";

	return vdb__fail(EINVAL, "thread %s: host CPU %d %s", name, cpu, why);
}

static int pin(pthread_attr_t *attr, const char *name, int cpu)
{
	cpu_set_t set;
	int err;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	if (cpu >= CPU_SETSIZE)
		return no_cpu(name, cpu);
	CPU_SET((size_t)cpu, &set);
	err = pthread_attr_setaffinity_np(attr, sizeof(set), &set);
	return err ? vdb__fail_sys(err, "thread %s: pin to host CPU %d", name, cpu) : 0;
}

/* The new thread inherits the mask: no signal ever arrives there. */
static int create_masked(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	sigset_t all, old;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(thread, attr, fn, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

int vdb__thread_start(pthread_t *thread, const char *name, int cpu, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	char kept[16];
	int err;

	(void)snprintf(kept, sizeof(kept), "%s", name);
	if (pthread_attr_init(&attr))
		return vdb__fail(ENOMEM, "thread %s: no memory", kept);
	err = pin(&attr, kept, cpu);
	if (!err) {
		err = -create_masked(thread, &attr, fn, arg);
		if (err == -EINVAL && cpu >= 0)
			(void)no_cpu(kept, cpu);
		else if (err)
			vdb__fail_sys(-err, "thread %s: cannot be started", kept);
	}
	pthread_attr_destroy(&attr);
	if (!err)
		(void)pthread_setname_np(*thread, kept);
	return err;
}
