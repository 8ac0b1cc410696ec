/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdlib.h>
#include <vdb/worker.h>

#include "base/error.h"
#include "base/export.h"
#include "base/list.h"
#include "base/thread.h"

struct job {
	struct vdb__list link;
	void (*fn)(void *arg);
	void *arg;
};

struct vdb_worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct vdb__list jobs;
	bool stopping;
};

/* The next job; NULL when stopping and nothing is left, jobs of jobs included. */
static struct job *next_job(struct vdb_worker *worker)
{
	struct vdb__list *l;

	pthread_mutex_lock(&worker->lock);
	while (!(l = vdb__list_pop(&worker->jobs)) && !worker->stopping)
		pthread_cond_wait(&worker->wake, &worker->lock);
	pthread_mutex_unlock(&worker->lock);
	return l ? vdb__container(l, struct job, link) : NULL;
}

static void *work(void *arg)
{
	struct vdb_worker *worker = arg;
	struct job *job;

	while ((job = next_job(worker))) {
		job->fn(job->arg);
		free(job);
	}
	return NULL;
}

static void free_worker(struct vdb_worker *worker)
{
	pthread_cond_destroy(&worker->wake);
	pthread_mutex_destroy(&worker->lock);
	free(worker);
}

VDB_EXPORT int vdb_worker_create(const char *name, struct vdb_worker **out)
{
	const struct vdb__thread_config config = {
	        .name = name ? name : "vdb-worker", .cpu = -1, .kind = VDB_THREAD_CONTROL};
	struct vdb_worker *worker = calloc(1, sizeof(*worker));
	int err;

	if (!worker)
		return vdb__fail(ENOMEM, "worker: no memory");
	/* Default attributes: glibc and musl allocate nothing here and cannot fail. */
	pthread_mutex_init(&worker->lock, NULL);
	pthread_cond_init(&worker->wake, NULL);
	vdb__list_init(&worker->jobs);
	err = vdb__thread_start(&worker->thread, &config, work, worker);
	if (err) {
		free_worker(worker);
		return err;
	}
	*out = worker;
	return 0;
}

VDB_EXPORT int vdb_worker_submit(struct vdb_worker *worker, void (*fn)(void *arg), void *arg)
{
	struct job *job = malloc(sizeof(*job));

	if (!job)
		return vdb__fail(ENOMEM, "worker: no memory for a job");
	job->fn = fn;
	job->arg = arg;
	pthread_mutex_lock(&worker->lock);
	vdb__list_append(&worker->jobs, &job->link);
	pthread_cond_signal(&worker->wake);
	pthread_mutex_unlock(&worker->lock);
	return 0;
}

VDB_EXPORT int vdb_worker_destroy(struct vdb_worker *worker)
{
	if (!worker)
		return 0;
	if (vdb__on_loop_thread() || pthread_equal(pthread_self(), worker->thread))
		return vdb__fail(EDEADLK, "worker: cannot be ended from its own thread or a loop's");
	pthread_mutex_lock(&worker->lock);
	worker->stopping = true;
	pthread_cond_signal(&worker->wake);
	pthread_mutex_unlock(&worker->lock);
	pthread_join(worker->thread, NULL);
	free_worker(worker);
	return 0;
}
