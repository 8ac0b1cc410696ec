/* SPDX-License-Identifier: Apache-2.0 */
#include "mmio_machine.h"

#include <string.h>

#include "../kvm/guest/echo_abi.h"
#include "arena.h"
#include "engine.h"

void mmio_machine_open(struct mmio_machine *m, uint32_t queues)
{
	mmio_machine_open_capped(m, queues, 2, NULL);
}

struct vdb_tenant_stats mmio_machine_account(const struct mmio_machine *m)
{
	struct vdb_tenant_stats stats = {.size = sizeof(stats)};

	must(vdb_tenant_stats(m->tenant, &stats));
	return stats;
}

void mmio_machine_open_capped(struct mmio_machine *m, uint32_t queues, uint32_t vcpus,
                              const struct vdb_caps *caps)
{
	struct vdb_loop_config loop = test_loop_config();
	const struct vdb_virtio_mmio_config config = {
	        .size = sizeof(config), .gsi = MACHINE_GSI, .base = MACHINE_MMIO};

	memset(m, 0, sizeof(*m));
	kvm_fixture_make(&m->f, NULL, vcpus);
	must(vdb_loop_create(&loop, &m->loop));
	must(vdb_loop_start(m->loop, -1, NULL));
	arena_begin_case(m->loop);
	virtio_echo_open(&m->echo);
	must(vdb_tenant_create(m->loop, &m->tenant));
	must(vdb_tenant_caps(m->tenant, caps));
	m->echo.tenant = m->tenant;
	m->device = virtio_echo_device(&m->echo, m->f.mem, m->loop, queues);
	must(vdb_virtio_mmio_create(m->f.vm, m->device, &config, &m->mmio));
}

void mmio_machine_close(struct mmio_machine *m)
{
	uint32_t gone = 0;

	vdb_virtio_mmio_destroy(m->mmio);
	vdb_virtio_destroy(m->device, count_done, &gone);
	wait_for32(&gone, 1);
	ck_assert_uint_eq(m->echo.destroyed, 1);
	arena_end_case(m->loop);
	vdb_tenant_destroy(m->tenant);
	must(vdb_loop_join(m->loop));
	must(vdb_loop_destroy(m->loop));
	virtio_echo_close(&m->echo);
	kvm_fixture_end(&m->f);
}

struct echo_params *mmio_machine_params(struct mmio_machine *m)
{
	return (struct echo_params *)(void *)(m->f.ram + ECHO_PARAMS);
}

void mmio_machine_run(struct mmio_machine *m)
{
	kvm_fixture_run(&m->f, 0);
	ck_assert_uint_eq(m->f.reports, 1);
	ck_assert_msg(m->f.report[0] == ECHO_OK,
	              "the guest reports %#x after %llu requests, %llu words touched", m->f.report[0],
	              (unsigned long long)mmio_machine_params(m)->done,
	              (unsigned long long)mmio_machine_params(m)->touched);
}
