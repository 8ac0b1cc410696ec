/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/error.h"

_Thread_local const void *vdb__thread_loop;
_Thread_local struct vdb__thread_bounds vdb__thread_bounds;

/* glibc reads a file to count the CPUs: not on the way of a thread that can be started. */
static int no_cpu(const char *name, int cpu)
{
	const char *why =
	        cpu < sysconf(_SC_NPROCESSORS_CONF) ? "is not available to this process" : "does not exist";

	return vdb__fail(EINVAL, "thread %s: host CPU %d %s", name, cpu, why);
}

static int pin(pthread_attr_t *attr, const char *name, const struct vdb__thread_config *config)
{
	cpu_set_t one;
	const cpu_set_t *set = config->cpus;
	int err;

	if (config->cpu >= CPU_SETSIZE)
		return no_cpu(name, config->cpu);
	if (config->cpu >= 0) {
		CPU_ZERO(&one);
		CPU_SET((size_t)config->cpu, &one);
		set = &one;
	}
	err = set ? pthread_attr_setaffinity_np(attr, sizeof(*set), set) : 0;
	return err ? vdb__fail_sys(err, "thread %s: pin to host CPUs", name) : 0;
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

/* ---- Into a sandbox ---- */

/* The starter's, who waits until the thread is inside. */
struct entry {
	struct vdb__thread_bounds bounds;
	uint32_t kind;
	const char *name;
	void *(*fn)(void *);
	void *arg;
	sem_t over;
	int err;
	char why[512];
};

/* It names itself: to name another one means to open a file. */
static int enter(const struct entry *entry)
{
	struct vdb__thread_sandbox *sandbox = entry->bounds.sandbox;

	vdb__thread_bounds = entry->bounds;
	(void)prctl(PR_SET_NAME, entry->name, 0, 0, 0);
	return sandbox->enter(sandbox, entry->kind, entry->bounds.inside);
}

static void *enter_first(void *arg)
{
	struct entry *entry = arg;
	void *(*fn)(void *) = entry->fn;
	void *fn_arg = entry->arg;
	int err = enter(entry);

	if (err)
		(void)snprintf(entry->why, sizeof(entry->why), "%s", vdb_errmsg());
	entry->err = err;
	sem_post(&entry->over); /* from here on it is gone */
	return err ? NULL : fn(fn_arg);
}

static int create_inside(pthread_t *thread, const pthread_attr_t *attr, struct entry *entry)
{
	int err;

	sem_init(&entry->over, 0, 0);
	err = create_masked(thread, attr, enter_first, entry);
	if (!err) {
		while (sem_wait(&entry->over))
			;
		err = -entry->err;
		if (err)
			(void)pthread_join(*thread, NULL);
	}
	sem_destroy(&entry->over);
	return err;
}

/* ---- Start ---- */

static int start_inside(pthread_t *thread, const pthread_attr_t *attr, const char *name, struct entry *entry)
{
	int err = create_inside(thread, attr, entry);

	return entry->err ? vdb__fail(-entry->err, "thread %s: its sandbox: %s", name, entry->why) : -err;
}

static int start_plain(pthread_t *thread, const pthread_attr_t *attr, const char *name, void *(*fn)(void *),
                       void *arg)
{
	int err = create_masked(thread, attr, fn, arg);

	if (!err)
		(void)pthread_setname_np(*thread, name);
	return -err;
}

int vdb__thread_start(pthread_t *thread, const struct vdb__thread_config *config, void *(*fn)(void *),
                      void *arg)
{
	struct entry entry = {.bounds = vdb__thread_bounds, .kind = config->kind, .fn = fn, .arg = arg};
	pthread_attr_t attr;
	char kept[16];
	int err;

	(void)snprintf(kept, sizeof(kept), "%s", config->name);
	entry.name = kept;
	if (pthread_attr_init(&attr))
		return vdb__fail(ENOMEM, "thread %s: no memory", kept);
	err = pin(&attr, kept, config);
	if (!err) {
		err = entry.bounds.sandbox ? start_inside(thread, &attr, kept, &entry)
		                           : start_plain(thread, &attr, kept, fn, arg);
		if (err == -EINVAL && !entry.err && config->cpu >= 0)
			(void)no_cpu(kept, config->cpu);
		else if (err && !entry.err)
			vdb__fail_sys(-err, "thread %s: cannot be started", kept);
	}
	pthread_attr_destroy(&attr);
	return err;
}
