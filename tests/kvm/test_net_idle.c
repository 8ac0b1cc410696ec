/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* GUEST: net_mmio */
/*
 * A VM with net and vsock, whose drivers wait for what comes, costs nothing: no thread of the process but the
 * test's is ever woken, and the loop makes no system call.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vdb/vsock.h>

#include "net_machine.h"

#define BASE 0xe0000000u
#define VSOCK (BASE + 0x1000u)
#define GSI 5u
#define CID 3u
#define LOOKS 20

GUEST_IMAGE(net_mmio);

static struct net_machine m;
static struct vdb_virtio *vsock;
static struct vdb_virtio_mmio *mmio[2];

/* ---- What is counted ---- */

struct counts {
	uint64_t turns, sleeps, enters;
	uint64_t switches; /* of all threads but this one */
};

static uint64_t switches_of(const char *task)
{
	unsigned long long value;
	char path[64], line[256];
	uint64_t sum = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", task);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "voluntary_ctxt_switches: %llu", &value) == 1 ||
		    sscanf(line, "nonvoluntary_ctxt_switches: %llu", &value) == 1)
			sum += value;
	if (file)
		fclose(file);
	return sum;
}

static struct counts look(void)
{
	struct vdb_loop_stats stats = {.size = sizeof(stats)};
	struct counts counts;
	const struct dirent *task;
	DIR *tasks = opendir("/proc/self/task");

	ck_assert_ptr_nonnull(tasks);
	must(vdb_loop_stats(m.loop, &stats));
	counts = (struct counts){.turns = stats.turns, .sleeps = stats.sleeps, .enters = stats.enters};
	while ((task = readdir(tasks)))
		if (*task->d_name != '.' && strtol(task->d_name, NULL, 10) != gettid())
			counts.switches += switches_of(task->d_name);
	closedir(tasks);
	return counts;
}

static void rest(void)
{
	const struct timespec time = {.tv_nsec = 20000000};

	nanosleep(&time, NULL);
}

static bool same(struct counts a, struct counts b)
{
	return a.turns == b.turns && a.sleeps == b.sleeps && a.enters == b.enters && a.switches == b.switches;
}

/* What was begun has come to its end. */
static struct counts settle(void)
{
	struct counts before, after = look();
	int still = 0;

	while (still < 5) {
		before = after;
		rest();
		after = look();
		still = same(before, after) ? still + 1 : 0;
	}
	return after;
}

/* ---- The machine ---- */

static int refuse(void *arg, uint32_t port)
{
	(void)arg;
	(void)port;
	return -1;
}

static void plug(void)
{
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = m.f.mem, .loop = m.loop};
	const struct vdb_vsock_config config = {.size = sizeof(config), .cid = CID, .connect = refuse};
	struct vdb_virtio_mmio_config place = {.size = sizeof(place), .gsi = GSI, .base = BASE};

	net_machine_plug(&m);
	must(vdb_virtio_mmio_create(m.f.vm, m.device, &place, &mmio[0]));
	must(vdb_vsock_create(&at, &config, &vsock));
	place.gsi++;
	place.base = VSOCK;
	must(vdb_virtio_mmio_create(m.f.vm, vsock, &place, &mmio[1]));
}

static void setup(void)
{
	net_machine_open(&m);
	plug();
}

static void teardown(void)
{
	uint32_t gone = 0;

	must(vdb_vm_stop(m.f.vm, NULL, NULL));
	vdb_virtio_mmio_destroy(mmio[1]);
	vdb_virtio_mmio_destroy(mmio[0]);
	vdb_virtio_destroy(vsock, count_done, &gone);
	wait_for32(&gone, 1);
	net_machine_close(&m);
}

START_TEST(an_idle_vm_wakes_nobody)
{
	struct counts before, after;

	net_machine_ask_idle(&m, VSOCK);
	LOAD_IMAGE(&m.f, net_mmio, true, BASE);
	must(vdb_vcpu_start(m.f.vcpu[0], -1, NULL));
	wait_for32(&m.f.reports, 1);
	ck_assert_uint_eq(m.f.report[0], NET_IDLE);
	before = settle();
	for (int i = 0; i < LOOKS; i++)
		rest();
	after = look();
	ck_assert_uint_eq(after.turns, before.turns);
	ck_assert_uint_eq(after.sleeps, before.sleeps);
	ck_assert_uint_eq(after.enters, before.enters);
	ck_assert_uint_eq(after.switches, before.switches);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_idle");

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, an_idle_vm_wakes_nobody);
	return test_run_within("net_idle", tc, 100);
}
