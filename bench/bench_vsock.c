/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest and a program of the host over vsock. A case is BY-RING-WORK-SIZE, and what follows:
 *
 *     BY     vdb: the library; vhost: the kernel, where there is /dev/vhost-vsock. (QEMU has nothing of its
 *            own: its guests have the latter.)
 *     RING   split, packed
 *     WORK   send: from the guest to the program, which drops it; receive: the reverse; ping: round trips
 *     SIZE   bytes of a packet: 64, 4k, 64k
 *     -asleep, -calls   the loop does not poll; the system calls are counted (which takes time)
 *
 * Or socket-WORK-SIZE, the limit: a thread is in the guest's place, and between the two is nothing but a pair
 * of Unix sockets. The program is on the loop's CPU, the guest or the thread on its own; with -shared the
 * thread is on the loop's, too, which has the loop's part then: who puts guest memory into a socket.
 */
#include <stdio.h>
#include <string.h>

#include "name.h"
#include "vsock.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

static const struct {
	const char *name, *what;
	void (*run)(const struct bench_options *o, const struct vsock_job *job, struct vsock_result *result);
	uint32_t by;
	bool packed;
} ways[] = {{"vdb-split", "vdb, split", vsock_vdb, VSOCK_VDB, false},
            {"vdb-packed", "vdb, packed", vsock_vdb, VSOCK_VDB, true},
            {"vhost-split", "vhost, split", vsock_vdb, VSOCK_VHOST, false},
            {"socket", "a socket, no guest", vsock_socket, VSOCK_SOCKET, false}};

static const struct {
	const char *name, *what;
	uint32_t work;
} works[] = {{"send", "guest to host", VSOCK_SEND},
             {"receive", "host to guest", VSOCK_RECEIVE},
             {"ping", "guest to host and back", VSOCK_PING}};

static const struct {
	const char *name;
	uint32_t size;
} sizes[] = {{"64k", 65536}, {"64", 64}, {"4k", 4096}};

/* What a case's name says. */
struct named {
	struct vsock_job job;
	void (*run)(const struct bench_options *o, const struct vsock_job *job, struct vsock_result *result);
	char what[160];
};

static const char *way_name(size_t i)
{
	return ways[i].name;
}

static const char *work_name(size_t i)
{
	return works[i].name;
}

static const char *size_name(size_t i)
{
	return sizes[i].name;
}

static bool understand(const char *name, struct named *n)
{
	bool asleep, socket;
	const char *at = name;
	size_t way, work, size;

	if (!name_find(&at, way_name, ROWS(ways), &way) || !name_find(&at, work_name, ROWS(works), &work) ||
	    !name_find(&at, size_name, ROWS(sizes), &size))
		return false;
	socket = ways[way].by == VSOCK_SOCKET;
	n->run = ways[way].run;
	n->job = (struct vsock_job){.work = works[work].work,
	                            .by = ways[way].by,
	                            .size = sizes[size].size,
	                            .packed = ways[way].packed,
	                            .shared = socket && name_step(&at, "shared")};
	asleep = ways[way].by == VSOCK_VDB && name_step(&at, "asleep");
	n->job.poll_ns = asleep ? 0 : VSOCK_POLL_NS;
	n->job.count_calls = ways[way].by == VSOCK_VDB && name_step(&at, "calls");
	snprintf(n->what, sizeof(n->what), "%s, %u bytes: %s%s", works[work].what, n->job.size,
	         ways[way].what,
	         asleep          ? ", loop asleep"
	         : n->job.shared ? ", both on one CPU"
	                         : "");
	return !*at;
}

/* ---- Running one ---- */

static void report(const struct bench_options *o, const struct named *n, const char *name,
                   const struct vsock_result *r)
{
	const struct bench_case c = {.name = name};
	double seconds = bench_ticks_to_ns((double)r->ran) / 1e9;

	if (!r->completed || seconds <= 0)
		bench_die(BENCH_FAILED, "%s: nothing went through", name);
	if (n->job.count_calls) {
		bench_row(o, &c, "calls", (double)r->calls * n->job.size / (double)r->all, "", n->what);
		return;
	}
	if (n->job.work == VSOCK_PING) {
		bench_row(o, &c, "p50", bench_ticks_to_ns((double)r->p50), "ns", n->what);
		bench_row(o, &c, "p99", bench_ticks_to_ns((double)r->p99), "ns", "  p99");
		return;
	}
	bench_row(o, &c, "bytes", (double)r->bytes / seconds / 1e6, "MB/s", n->what);
	bench_row(o, &c, "rate", (double)r->completed / seconds, "1/s", "  packets");
	if (n->job.by != VSOCK_SOCKET)
		bench_row(o, &c, "rung", (double)r->rung * n->job.size / (double)r->all, "",
		          "  doorbells rung, per packet");
}

static void run_named(const struct bench_options *o, const char *name)
{
	struct vsock_result result = {0};
	struct named n = {0};

	if (!understand(name, &n))
		return;
	n.run(o, &n.job, &result);
	report(o, &n, name, &result);
}

static void usage(void)
{
	printf("usage: bench_vsock [OPTION...] CASE...\n");
	bench_usage();
	printf("CASE: BY-RING-WORK-SIZE[-asleep][-calls], or socket-WORK-SIZE[-shared]\n"
	       "BY: vdb, vhost\nRING: split, packed; vhost: split\nWORK: send, receive, ping\n"
	       "SIZE: 64, 4k, 64k\n");
}

int main(int argc, char **argv)
{
	struct bench_options o;
	bool good = bench_options(argc, argv, "vsock", &o) && *o.cases;
	struct named n = {0};

	for (char **name = o.cases; good && *name; name++)
		good = understand(*name, &n);
	if (!good) {
		usage();
		return 2;
	}
	for (char **name = o.cases; *name; name++)
		run_named(&o, *name);
	return 0;
}
