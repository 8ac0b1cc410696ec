/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VMM that does what bench_life has QEMU do: boots an ELF file with one virtio disk, of which the guest
 * reads a block. Its first word on stdout says that it has.
 */
#include <stdio.h>
#include <unistd.h>

#include "vmm.h"

#define CAPACITY (64u << 20)

int main(int argc, char **argv)
{
	const struct bench_options o = {.vcpu_cpu = 0, .loop_cpu = 1, .ms = 1};
	const struct vdb_loop_config loop_config = {.size = sizeof(loop_config)};
	struct vdb_virtio_config at = {.size = sizeof(at)};
	struct vdb_blk_config blk = {.size = sizeof(blk), .at = &at};
	const struct vdb_virtio_mmio_config mmio_config = {
	        .size = sizeof(mmio_config), .gsi = VMM_GSI, .base = VMM_DISK};
	struct vdb_virtio_mmio *mmio;
	struct vdb_virtio *disk;
	struct disk_result result;
	struct vdb_loop *loop;
	struct vmm m;

	if (argc != 2)
		bench_die(BENCH_FAILED, "usage: %s CMDLINE", argv[0]);
	vmm_create(&m);
	m.echo = STDOUT_FILENO;
	bench_must(vdb_loop_create(&loop_config, &loop));
	bench_must(vdb_loop_start(loop, o.loop_cpu, "loop"));
	bench_must(vdb_backend_null(CAPACITY, &blk.backend));
	at.mem = m.mem;
	at.loop = loop;
	bench_must(vdb_blk_create(&blk, &disk));
	bench_must(vdb_virtio_mmio_create(m.vm, disk, &mmio_config, &mmio));
	vmm_run(&m, &o, argv[1], &result);
	/* Whoever started it looks at what it has, and kills it. */
	pause();
	return 0;
}
