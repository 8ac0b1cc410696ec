/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the guest's doorbell to the handler, in time; and what ringing costs the guest.
 *
 * The guest reads its TSC right before it publishes and rings. The handler, an embedder's backend
 * start() on the loop's thread, reads the host's. `asleep`: the loop sleeps in the kernel when the
 * bell rings. `polled`: the loop looks at the ring, and so no bell is rung at all. Each has a
 * `raw` one beside it, the least that any VMM could take with the same guest and the same CPUs: a
 * thread in a blocking read() of the bare ioeventfd, or one that spins on the word in memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define POLL_NS 5000000u /* longer than the gap between two requests */
#define GAP_ASLEEP_US 100u
#define GAP_POLLED_US 20u

/* What the host noted: a latency for each bell. */
struct notes {
	struct bench_vm *vm;
	uint64_t *ticks;
	uint64_t count, room;
	bool asleep;
};

static void note(struct notes *notes, uint64_t now, uint64_t stamp)
{
	if (notes->count < notes->room)
		notes->ticks[notes->count++] = now - (stamp - (uint64_t)notes->vm->tsc_ahead);
}

static void notes_init(struct notes *notes, struct bench_vm *vm, uint64_t room)
{
	*notes = (struct notes){.vm = vm, .room = room, .ticks = calloc(room, sizeof(*notes->ticks))};
	if (!notes->ticks)
		bench_die(BENCH_FAILED, "no memory");
	memset(notes->ticks, 1, room * sizeof(*notes->ticks)); /* touched before it matters */
}

static uint64_t gap(bool asleep)
{
	return bench_ms_to_ticks(asleep ? GAP_ASLEEP_US : GAP_POLLED_US) / 1000;
}

static uint64_t patience(const struct bench_options *o)
{
	return o->count * GAP_ASLEEP_US * 2 / 1000;
}

static void tell(const struct bench_options *o, const struct bench_case *c, struct notes *notes)
{
	if (notes->count != o->count)
		bench_die(BENCH_FAILED, "%s/%s: %llu of %llu bells came through", o->program, c->name,
		          (unsigned long long)notes->count, (unsigned long long)o->count);
	bench_percentiles(o, c, "", notes->ticks, notes->count, c->what);
	if (notes->vm->tsc_doubt)
		bench_row(o, c, "doubt", bench_ticks_to_ns((double)notes->vm->tsc_doubt), "ns",
		          "of these, at most, may be wrong: guest's and host's TSCs differ");
	free(notes->ticks);
}

/* ---- Raw ---- */

static void raw_sleep(struct notes *notes, int fd)
{
	struct bench_mailbox *box = notes->vm->box;
	uint64_t value, now;

	while (notes->count < notes->room) {
		if (read(fd, &value, sizeof(value)) != (ssize_t)sizeof(value))
			bench_die(BENCH_FAILED, "read of the doorbell: %s", strerror(errno));
		now = bench_tsc();
		note(notes, now, box->stamp);
		__atomic_store_n(&box->taken, notes->count, __ATOMIC_RELEASE);
	}
}

static void raw_spin(struct notes *notes)
{
	struct bench_mailbox *box = notes->vm->box;
	uint64_t stamp, last = 0, now;

	while (notes->count < notes->room) {
		stamp = __atomic_load_n(&box->stamp, __ATOMIC_ACQUIRE);
		if (stamp == last)
			continue;
		now = bench_tsc();
		note(notes, now, stamp);
		last = stamp;
		__atomic_store_n(&box->taken, notes->count, __ATOMIC_RELEASE);
	}
}

static void *raw_thread(void *arg)
{
	struct notes *notes = arg;
	int fd = vdb_doorbell_fd(notes->vm->doorbell, 0);

	bench_pin(notes->vm->options->loop_cpu);
	if (!notes->asleep)
		raw_spin(notes);
	else if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK))
		bench_die(BENCH_FAILED, "F_SETFL: %s", strerror(errno));
	else
		raw_sleep(notes, fd);
	return NULL;
}

static void raw(const struct bench_options *o, const struct bench_case *c)
{
	struct bench_vm vm;
	struct notes notes;
	pthread_t thread;

	bench_vm_create(&vm, o, VDB_DOORBELL_PAGE);
	notes_init(&notes, &vm, o->count);
	notes.asleep = !c->polling;
	vm.box->mode = BENCH_BELLS;
	vm.box->count = o->count;
	vm.box->gap = gap(notes.asleep);
	vm.box->silent = !notes.asleep;
	vm.box->await = 1;
	bench_vm_start(&vm);
	if (pthread_create(&thread, NULL, raw_thread, &notes))
		bench_die(BENCH_FAILED, "no thread");
	bench_vm_run(&vm, patience(o));
	pthread_join(thread, NULL);
	tell(o, c, &notes);
	bench_vm_destroy(&vm);
}

/* ---- The library ---- */

static int start(void *ctx, struct vdb_req *req)
{
	uint64_t now = bench_tsc();

	note(ctx, now, req->offset); /* where the guest put its stamp */
	return VDB_REQ_DONE;
}

static struct vdb_backend *make_backend(struct notes *notes)
{
	const struct vdb_backend_ops ops = {.size = sizeof(ops), .name = "stopwatch", .start = start};
	const struct vdb_backend_info info = {.size = sizeof(info), .capacity = 4096, .ops = 1u << 31};
	struct vdb_backend *backend;

	bench_must(vdb_backend_create(&ops, notes, &info, &backend));
	return backend;
}

static void lane(const struct bench_options *o, const struct bench_case *c)
{
	double bells = (double)o->count;
	struct bench_vm vm;
	struct notes notes;

	bench_vm_create(&vm, o, VDB_DOORBELL_PAGE);
	notes_init(&notes, &vm, o->count);
	vm.box->mode = BENCH_SINGLES;
	vm.box->count = o->count;
	vm.box->gap = gap(!c->polling);
	bench_vm_start(&vm);
	bench_vm_serve(&vm, make_backend(&notes), c->polling ? POLL_NS : 0);
	bench_vm_run(&vm, patience(o));
	tell(o, c, &notes);
	bench_percentiles(o, c, "guest", vm.samples, vm.box->sampled,
	                  "  what publishing and ringing took the guest");
	bench_row(o, c, "rung", (double)vm.box->rung / bells, "", "  doorbells rung, per request");
	bench_row(o, c, "sleeps", (double)vm.loop_stats.sleeps / bells, "",
	          "  sleeps of the loop, per request");
	bench_vm_destroy(&vm);
}

/* ---- The hardware's own ---- */

#define TRIPS 64u /* in a sample: a clock is read once for so many */

struct lines {
	uint64_t there __attribute__((aligned(128)));
	uint64_t back __attribute__((aligned(128)));
};

struct echo {
	struct lines lines;
	int cpu;
	uint64_t trips;
};

static void *send_back(void *arg)
{
	struct echo *echo = arg;

	bench_pin(echo->cpu);
	for (uint64_t i = 1; i <= echo->trips; i++) {
		while (__atomic_load_n(&echo->lines.there, __ATOMIC_ACQUIRE) < i)
			;
		__atomic_store_n(&echo->lines.back, i, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* One word from core to core and another one back: half of it is what every notification takes at least. */
static void line(const struct bench_options *o, const struct bench_case *c)
{
	struct echo echo = {.cpu = o->loop_cpu, .trips = o->count * TRIPS};
	struct notes notes;
	pthread_t thread;
	uint64_t start = 0;

	notes_init(&notes, NULL, o->count);
	if (pthread_create(&thread, NULL, send_back, &echo))
		bench_die(BENCH_FAILED, "no thread");
	bench_pin(o->vcpu_cpu);
	for (uint64_t i = 1; i <= echo.trips; i++) {
		if (i % TRIPS == 1)
			start = bench_tsc();
		__atomic_store_n(&echo.lines.there, i, __ATOMIC_RELEASE);
		while (__atomic_load_n(&echo.lines.back, __ATOMIC_ACQUIRE) < i)
			;
		if (i % TRIPS == 0)
			notes.ticks[notes.count++] = (bench_tsc() - start) / TRIPS / 2;
	}
	bench_unpin();
	pthread_join(thread, NULL);
	bench_percentiles(o, c, "", notes.ticks, notes.count, c->what);
	free(notes.ticks);
}

/* ---- What a ring costs the guest ---- */

static void cost(const struct bench_options *o, const struct bench_case *c)
{
	struct bench_vm vm;

	bench_vm_create(&vm, o, c->kind);
	vm.box->mode = BENCH_BELLS;
	vm.box->count = o->count;
	bench_vm_start(&vm);
	bench_vm_run(&vm, patience(o));
	if (vm.box->sampled != o->count)
		bench_die(BENCH_FAILED, "%s/%s: %llu of %llu bells", o->program, c->name,
		          (unsigned long long)vm.box->sampled, (unsigned long long)o->count);
	bench_percentiles(o, c, "", vm.samples, vm.box->sampled, c->what);
	bench_vm_destroy(&vm);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
	        {.name = "line", .run = line, .what = "a cache line from core to core, one way"},
	        {.name = "raw-asleep",
	         .run = raw,
	         .what = "doorbell to a thread in read() of the bare ioeventfd"},
	        {.name = "asleep", .run = lane, .what = "doorbell to handler, loop asleep"},
	        {.name = "raw-polled",
	         .run = raw,
	         .polling = true,
	         .what = "store to a thread that spins on it"},
	        {.name = "polled", .run = lane, .polling = true, .what = "request to handler, loop polling"},
	        {.name = "ring-page",
	         .run = cost,
	         .kind = VDB_DOORBELL_PAGE,
	         .what = "one ring: self-describing page"},
	        {.name = "ring-mmio",
	         .run = cost,
	         .kind = VDB_DOORBELL_MMIO,
	         .what = "one ring: unbacked MMIO"},
	        {.name = "ring-pio", .run = cost, .kind = VDB_DOORBELL_PIO, .what = "one ring: port"},
	        {.name = "ring-match",
	         .run = cost,
	         .kind = BENCH_MATCH,
	         .what = "one ring: MMIO with datamatch"},
	};

	return bench_main(argc, argv, "doorbell", cases, sizeof(cases) / sizeof(cases[0]));
}
