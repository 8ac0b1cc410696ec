/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tinyvmm demo`: the life of some VMs, from top to bottom in run().
 *
 * Threads: this one makes, watches and ends everything; loop0, loop1, ...
 * serve the rings, each of them those of some VMs; each VM has
 * a vCPU thread, which runs the guest and, at its end, exit_port() in machine.c.
 */
#include "demo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "guest/block.h"
#include "json_report.h"
#include "machine.h"
#include "report.h"
#include "tinyvmm.h"
#include "values.h"

#define STUCK_NS 60000000000ull /* without a single request completed */

uint64_t demo_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- Refusals: before anything is made ---- */

static int check_memory(const struct options *o)
{
	uint64_t needs = 0;

	for (uint32_t i = 0; i < o->vms; i++) {
		uint64_t n = machine_memory(options_depth_of(o, i));

		needs = n > needs ? n : needs;
	}
	if (!o->memory)
		return 0;
	if (o->memory % VDB_PAGE_SIZE)
		return complain("--memory %llu: must be a multiple of the page size, %u",
		                (unsigned long long)o->memory, VDB_PAGE_SIZE);
	if (o->memory < needs)
		return complain("--memory %llu: a guest of this depth needs %llu",
		                (unsigned long long)o->memory, (unsigned long long)needs);
	if (o->memory > 0xc0000000u)
		return complain("--memory %llu: at most 3 GiB, devices are above",
		                (unsigned long long)o->memory);
	return 0;
}

static int check(const struct options *o)
{
	if (check_memory(o))
		return -1;
	/* The results should not be lost to a file that cannot be written. */
	return o->json ? value_writable("--json", o->json) : 0;
}

/* ---- Setting up ---- */

/* Each VM takes some ten descriptors. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int open_journal(struct demo *demo)
{
	const struct options *o = &demo->options;

	if (!o->journal)
		return 0;
	demo->journal = open(o->journal, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (demo->journal < 0 || ftruncate(demo->journal, (off_t)o->vms * MAILBOX_BYTES))
		return complain("--journal %s: %s", o->journal, strerror(errno));
	return 0;
}

static int open_json(struct demo *demo)
{
	const struct options *o = &demo->options;

	demo->json = o->json ? value_open("--json", o->json) : -1;
	return o->json && demo->json < 0 ? -1 : 0;
}

/* Room for the events of every ring and request: a full queue would cost extra turns. */
static uint32_t events(const struct options *o)
{
	uint32_t want = 16384;

	while (want < 65536 && want < o->vms * 4 * (1 + (o->depth ? o->depth : 128)))
		want *= 2;
	return want;
}

static int start_loops(struct demo *demo)
{
	struct vdb_loop_config config = demo->options.poll;

	config.size = sizeof(config);
	config.engine = demo->options.engine;
	config.cq_entries = events(&demo->options);
	config.pool_threads = -1;
	return loops_start(&demo->options.loops, &config, &demo->loops);
}

static int make_machines(struct demo *demo)
{
	demo->machines = calloc(demo->options.vms, sizeof(*demo->machines));
	if (!demo->machines)
		return complain("no memory for %u VMs", demo->options.vms);
	while (demo->created < demo->options.vms) {
		uint32_t i = demo->created++;

		if (machine_create(&demo->machines[i], demo, i))
			return -1;
	}
	return 0;
}

static int set_up(struct demo *demo)
{
	const struct options *o = &demo->options;

	raise_file_limit();
	demo->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (demo->bell < 0)
		return complain("eventfd: %s", strerror(errno));
	if (vdb_kvm_open(NULL, &demo->kvm))
		return complain("%s", vdb_errmsg());
	if (image_open(&demo->image, o->image, (uint64_t)o->vms * o->slice * DEMO_BLOCK_BYTES, o->direct))
		return -1;
	if (open_json(demo) || open_journal(demo) || sandbox_begin(&demo->sandbox, &o->sandbox))
		return -1;
	return start_loops(demo) || make_machines(demo) ? -1 : 0;
}

/* ---- Running ---- */

void demo_machine_ended(struct demo *demo)
{
	const uint64_t one = 1;

	if (__atomic_fetch_add(&demo->ended, 1, __ATOMIC_ACQ_REL) == 0)
		for (uint32_t i = 0; i < demo->options.vms; i++)
			demo->machines[i].at_first_finish = machine_completed(&demo->machines[i]);
	/* Full only if nobody has looked at it 2^64 times. */
	if (write(demo->bell, &one, sizeof(one)) != (ssize_t)sizeof(one))
		complain("eventfd: %s", strerror(errno));
}

static int start_machines(struct demo *demo)
{
	/* Guests that poll would like all of every CPU. Threads inherit this from here on;
	 * the loops, on which all of them wait, have started before and go first. */
	(void)setpriority(PRIO_PROCESS, 0, 10);
	for (uint32_t i = 0; i < demo->options.vms; i++)
		if (machine_start(&demo->machines[i]))
			return -1;
	if (sandbox_enter(&demo->sandbox))
		return -1;
	/* All threads are there: off they go together. */
	for (uint32_t i = 0; i < demo->options.vms; i++)
		if (machine_go(&demo->machines[i]))
			return -1;
	return 0;
}

static uint64_t completed(const struct demo *demo)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < demo->options.vms; i++)
		n += machine_completed(&demo->machines[i]);
	return n;
}

static int ended(const struct demo *demo)
{
	return __atomic_load_n(&demo->ended, __ATOMIC_ACQUIRE);
}

static void show_progress(const struct demo *demo, uint64_t done, uint64_t since)
{
	double all = (double)demo->options.requests * demo->options.vms;
	double seconds = (double)(demo_now() - since + 1) / 1e9;

	fprintf(stderr, "%s%3.0f%%  %llu of %.0f requests, %.0f a second, %d of %u VMs done%s",
	        isatty(STDERR_FILENO) ? "\r" : "", (double)done * 100 / all, (unsigned long long)done, all,
	        (double)done / seconds, ended(demo), demo->options.vms, isatty(STDERR_FILENO) ? "   " : "\n");
}

/* Until all guests have ended, or nothing has happened for a long time. */
static int watch(struct demo *demo)
{
	const uint64_t since = demo_now();
	uint64_t changed = since, before = 0;
	struct pollfd bell = {.fd = demo->bell, .events = POLLIN};

	while (ended(demo) < (int)demo->options.vms) {
		uint64_t done, count;

		if (poll(&bell, 1, 1000) > 0 && read(demo->bell, &count, sizeof(count)) > 0)
			continue;
		done = completed(demo);
		show_progress(demo, done, since);
		if (done != before)
			changed = demo_now();
		else if (demo_now() - changed > STUCK_NS)
			return complain("no request was completed in %llu s; giving up",
			                STUCK_NS / 1000000000u);
		before = done;
	}
	show_progress(demo, completed(demo), since);
	if (isatty(STDERR_FILENO))
		fputc('\n', stderr);
	return 0;
}

/* Runs all guests to their end. The guests measure in turns of the TSC: how long is one? */
static int run_machines(struct demo *demo)
{
	uint64_t ns = demo_now(), turns = __rdtsc();
	int failed = start_machines(demo);

	if (!failed)
		failed = watch(demo);
	demo->tsc_per_ns = (double)(__rdtsc() - turns) / (double)(demo_now() - ns);
	for (uint32_t i = 0; i < demo->options.vms; i++)
		machine_stop(&demo->machines[i]);
	return loops_total(demo->loops, &demo->loop_stats) || failed;
}

/* ---- The end ---- */

/* The image, read by this thread with plain pread(): is it there what the guests wrote? */
static void verify_image(struct demo *demo)
{
	for (uint32_t i = 0; i < demo->options.vms; i++) {
		struct machine *m = &demo->machines[i];

		m->wrong_blocks = image_wrong_blocks(&demo->image, i, demo_mix(i + 1),
		                                     (uint64_t)i * demo->options.slice, demo->options.slice,
		                                     m->box.flushed);
	}
}

static int report(const struct demo *demo)
{
	struct report report;
	int failed = report_make(&report, demo);

	if (!failed) {
		report_print(&report);
		failed = demo->options.json ? json_write(&report, demo->json, demo->options.json) : 0;
		failed = failed || report.total.errors;
	}
	report_free(&report);
	return failed;
}

static void tear_down(struct demo *demo)
{
	for (uint32_t i = 0; i < demo->created; i++)
		machine_destroy(&demo->machines[i]);
	free(demo->machines);
	loops_end(demo->loops);
	image_close(&demo->image);
	vdb_kvm_close(demo->kvm);
	if (demo->journal >= 0)
		close(demo->journal);
	if (demo->json >= 0)
		close(demo->json);
	sandbox_end(&demo->sandbox);
	if (demo->bell >= 0)
		close(demo->bell);
}

static int run(int argc, char **argv)
{
	struct demo demo = {.journal = -1, .json = -1, .bell = -1, .image = {.fd = -1}};
	int status = TINYVMM_USAGE;

	if (options_parse(&demo.options, argc, argv))
		return TINYVMM_USAGE;
	if (demo.options.help) {
		options_help();
		return TINYVMM_OK;
	}
	if (check(&demo.options))
		return TINYVMM_USAGE;
	if (!set_up(&demo)) {
		status = run_machines(&demo) ? TINYVMM_WRONG : TINYVMM_OK;
		verify_image(&demo);
		if (report(&demo))
			status = TINYVMM_WRONG;
	}
	tear_down(&demo);
	return status;
}

const struct command command_demo = {
        .name = "demo",
        .summary = "guests ring doorbells; one loop, or some, do their disk I/O, and all is verified",
        .run = run,
};
