/* SPDX-License-Identifier: Apache-2.0 */
/* A VM with vsock behind mmio registers, served by a loop of the library's, or by the kernel's vhost. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <vdb/vhost_vsock.h>

#include "calls.h"
#include "guest/vsock_job.h"
#include "said.h"
#include "vmm.h"
#include "vsock.h"

#define QUEUE 128u
#define CID 77u
#define TEXT 512
#define LINE 256

struct vsock_vm {
	struct vmm m;
	struct vdb_loop *loop;
	struct vdb_virtio *device;
	struct vdb_virtio_mmio *mmio;
	int fd; /* for the guest's connection */
};

static void make_loop(struct vsock_vm *vm, const struct bench_options *o, const struct vsock_job *job)
{
	const struct vdb_loop_config config = {.size = sizeof(config), .poll_ns = job->poll_ns};

	bench_must(vdb_loop_create(&config, &vm->loop));
	bench_must(vdb_loop_start(vm->loop, o->loop_cpu, "loop"));
}

/* It becomes the device's. */
static int connect_to(void *arg, uint32_t port)
{
	struct vsock_vm *vm = arg;
	int fd = vm->fd;

	if (port != VSOCK_JOB_PORT || fd < 0)
		return -ECONNREFUSED;
	vm->fd = -1;
	return fd;
}

static void make_device(struct vsock_vm *vm, const struct vsock_job *job)
{
	const struct vdb_virtio_mmio_config config = {
	        .size = sizeof(config), .gsi = VMM_GSI, .base = VMM_DISK};
	const struct vdb_virtio_config at = {
	        .size = sizeof(at), .mem = vm->m.mem, .loop = vm->loop, .queue_size = QUEUE};
	const struct vdb_vsock_config vsock = {
	        .size = sizeof(vsock), .cid = CID, .connect = connect_to, .connect_arg = vm};

	if (job->by == VSOCK_VHOST)
		bench_must(vdb_vhost_vsock_create(&at, CID, &vm->device));
	else
		bench_must(vdb_vsock_create(&at, &vsock, &vm->device));
	bench_must(vdb_virtio_mmio_create(vm->m.vm, vm->device, &config, &vm->mmio));
}

static void start(struct vsock_vm *vm, const struct bench_options *o, const struct vsock_job *job)
{
	static const char *const works[] = {
	        [VSOCK_SEND] = "send", [VSOCK_RECEIVE] = "receive", [VSOCK_PING] = "ping"};
	uint64_t run = bench_ms_to_ticks(o->ms);
	char line[LINE];

	snprintf(line, sizeof(line), "event%s op=%s size=%u warm=%llu run=%llu", job->packed ? " packed" : "",
	         works[job->work], job->size, (unsigned long long)(run / VSOCK_WARM_UP),
	         (unsigned long long)run);
	vmm_start(&vm->m, o, said_guest("bench_vsock_guest.elf"), line);
}

static void destroy(struct vsock_vm *vm)
{
	struct vdb_gate *gone = bench_gate();

	vdb_virtio_mmio_destroy(vm->mmio);
	vdb_virtio_destroy(vm->device, bench_gate_open, vdb_gate_ref(gone));
	bench_gate_wait(gone);
	bench_must(vdb_loop_join(vm->loop));
	bench_must(vdb_loop_destroy(vm->loop));
	vmm_destroy(&vm->m);
}

static void understand(const char *text, const struct vsock_job *job, struct vsock_result *result)
{
	const char *done = said_done(text);

	result->completed = said_number(done, " completed=");
	result->bytes = said_number(done, " bytes=");
	result->ran = said_number(done, " ran=");
	result->all = said_number(done, " all=") * job->size;
	result->rung = said_number(done, " rung=");
	result->p50 = said_number(done, " p50=");
	result->p99 = said_number(done, " p99=");
	if (said_number(done, " wrong="))
		bench_die(BENCH_FAILED, "it went wrong: %s", text);
}

void vsock_vdb(const struct bench_options *o, const struct vsock_job *job, struct vsock_result *result)
{
	struct calls calls = {.fd = -1};
	struct vsock_peer *peer;
	struct vsock_vm vm;

	if (job->by == VSOCK_VHOST && access("/dev/vhost-vsock", R_OK | W_OK))
		bench_die(BENCH_SKIPPED, "no /dev/vhost-vsock here");
	peer = vsock_peer_start(o, job, &vm.fd);
	vmm_create(&vm.m);
	make_loop(&vm, o, job);
	make_device(&vm, job);
	if (job->count_calls)
		calls_open(&calls, calls_thread("loop"));
	start(&vm, o, job);
	understand(vmm_await(&vm.m, o), job, result);
	result->calls = calls_close(&calls);
	vsock_peer_end(peer, result->all);
	destroy(&vm);
}
