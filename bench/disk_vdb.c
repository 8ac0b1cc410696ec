/* SPDX-License-Identifier: Apache-2.0 */
/* The library's disk: virtio-blk behind mmio registers, or a native ring behind a doorbell page, on a loop of
 * its own. */
#include <errno.h>
#include <stdio.h>

#include "calls.h"
#include "vmm.h"

#define ENTRIES 128u /* of the native ring: as deep as a job may be */
#define RING 0x300000u

struct disk {
	struct vmm m;
	struct vdb_loop *loop;
	struct vdb_backend *backend;
	struct vdb_virtio *device;
	struct vdb_virtio_mmio *mmio;
	struct vdb_doorbell *doorbell;
	struct vdb_lane *lane;
};

static void make_loop(struct disk *d, const struct bench_options *o, const struct disk_job *job)
{
	const struct vdb_loop_config config = {.size = sizeof(config),
	                                       .poll_ns = job->asleep ? 0 : DISK_POLL_NS,
	                                       .flags = job->fixed ? VDB_LOOP_REGISTER_MEMORY : 0};

	bench_must(vdb_loop_create(&config, &d->loop));
	bench_must(vdb_loop_start(d->loop, o->loop_cpu, "loop"));
}

static void make_backend(struct disk *d, const struct disk_job *job)
{
	const struct vdb_file_config file = {
	        .size = sizeof(file), .path = job->path, .flags = job->direct ? VDB_FILE_DIRECT : 0};
	int err =
	        job->path ? vdb_backend_file(&file, &d->backend) : vdb_backend_null(job->bytes, &d->backend);

	if (err == -EINVAL && job->direct)
		bench_die(BENCH_SKIPPED, "%s; name a -f FILE on a disk", vdb_errmsg());
	bench_must(err);
}

static void plug_virtio(struct disk *d, char *where, size_t room)
{
	const struct vdb_virtio_config at = {.size = sizeof(at), .mem = d->m.mem, .loop = d->loop};
	const struct vdb_blk_config blk = {.size = sizeof(blk), .at = &at, .backend = d->backend};
	const struct vdb_virtio_mmio_config mmio = {.size = sizeof(mmio), .gsi = VMM_GSI, .base = VMM_DISK};

	bench_must(vdb_blk_create(&blk, &d->device));
	bench_must(vdb_virtio_mmio_create(d->m.vm, d->device, &mmio, &d->mmio));
	snprintf(where, room, "virtio_mmio.device=4K@%#x:%u", VMM_DISK, VMM_GSI);
}

static void plug_ring(struct disk *d, char *where, size_t room)
{
	const struct vdb_doorbell_ring bell_ring = {
	        .ring_gpa = RING, .sq_entries = ENTRIES, .cq_entries = ENTRIES, .features = VDB_F_EVENT_IDX};
	const struct vdb_doorbell_config bell = {.size = sizeof(bell),
	                                         .kind = VDB_DOORBELL_PAGE,
	                                         .addr = VDB_GPA_ANY,
	                                         .rings = &bell_ring,
	                                         .ring_count = 1};
	const struct vdb_ring_config ring = {
	        .size = sizeof(ring), .sq_entries = ENTRIES, .gpa = RING, .features = VDB_F_EVENT_IDX};
	struct vdb_lane_config lane = {.size = sizeof(lane)};
	struct vdb_queue *queue;

	bench_must(vdb_doorbell_create(d->m.vm, &bell, &d->doorbell));
	bench_must(vdb_ring_create(d->m.mem, &ring, &queue));
	lane.kick_fd = vdb_doorbell_fd(d->doorbell, 0);
	bench_must(vdb_lane_create(d->loop, queue, d->backend, &lane, &d->lane));
	snprintf(where, room, "doorbell=%#llx", (unsigned long long)vdb_doorbell_page(d->doorbell));
}

static void unplug(struct disk *d)
{
	struct vdb_gate *gone = bench_gate();

	if (d->lane) {
		vdb_lane_destroy(d->lane, bench_gate_open, vdb_gate_ref(gone));
	} else {
		vdb_virtio_mmio_destroy(d->mmio);
		vdb_virtio_destroy(d->device, bench_gate_open, vdb_gate_ref(gone));
	}
	bench_gate_wait(gone);
	vdb_doorbell_destroy(d->doorbell);
	vdb_backend_destroy(d->backend);
	bench_must(vdb_loop_join(d->loop));
	bench_must(vdb_loop_destroy(d->loop));
}

void disk_vdb(const struct bench_options *o, const struct disk_job *job, struct disk_result *result)
{
	struct disk d = {0};
	struct calls calls = {.fd = -1};
	char where[64], cmdline[DISK_CMDLINE];

	vmm_create(&d.m);
	make_loop(&d, o, job);
	make_backend(&d, job);
	if (job->ring & DISK_NATIVE)
		plug_ring(&d, where, sizeof(where));
	else
		plug_virtio(&d, where, sizeof(where));
	disk_cmdline(o, job, where, cmdline);
	if (job->count_calls)
		calls_open(&calls, calls_thread("loop"));
	vmm_run(&d.m, o, cmdline, result);
	result->calls = calls_close(&calls);
	unplug(&d);
	vmm_destroy(&d.m);
}
