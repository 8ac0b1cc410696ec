/* SPDX-License-Identifier: Apache-2.0 */
#include "pci_machine.h"

#include <string.h>

#include "../kvm/guest/pci_abi.h"
#include "arena.h"
#include "engine.h"

void pci_machine_plug(struct pci_machine *m, uint32_t notify, uint32_t flags)
{
	const struct vdb_virtio_pci_config config = {
	        .size = sizeof(config), .slot = PCI_MACHINE_SLOT, .notify = notify, .flags = flags};

	vdb_virtio_pci_destroy(m->vpci);
	m->vpci = NULL;
	must(vdb_virtio_pci_create(m->pci, m->device, &config, &m->vpci));
}

void pci_machine_open(struct pci_machine *m, uint32_t queues)
{
	struct vdb_loop_config loop = test_loop_config();
	struct vdb_pci_config config = {.size = sizeof(config)};

	memset(m, 0, sizeof(*m));
	kvm_fixture_make(&m->f, NULL, 1);
	must(vdb_loop_create(&loop, &m->loop));
	must(vdb_loop_start(m->loop, -1, NULL));
	arena_begin_case(m->loop);
	virtio_echo_open(&m->echo);
	m->device = virtio_echo_device(&m->echo, m->f.mem, m->loop, queues);
	config.loop = m->loop;
	must(vdb_pci_create(m->f.vm, &config, &m->pci));
	pci_machine_plug(m, VDB_NOTIFY_AUTO, 0);
}

void pci_machine_close(struct pci_machine *m)
{
	uint32_t gone = 0;

	vdb_virtio_pci_destroy(m->vpci);
	must(vdb_pci_destroy(m->pci));
	vdb_virtio_destroy(m->device, count_done, &gone);
	wait_for32(&gone, 1);
	ck_assert_uint_eq(m->echo.destroyed, 1);
	arena_end_case(m->loop);
	must(vdb_loop_join(m->loop));
	must(vdb_loop_destroy(m->loop));
	virtio_echo_close(&m->echo);
	kvm_fixture_end(&m->f);
}

struct echo_params *pci_machine_echo(struct pci_machine *m)
{
	return (struct echo_params *)(void *)(m->f.ram + ECHO_PARAMS);
}

struct pci_params *pci_machine_params(struct pci_machine *m)
{
	return (struct pci_params *)(void *)(m->f.ram + PCI_PARAMS);
}

void pci_machine_run(struct pci_machine *m)
{
	kvm_fixture_run(&m->f, 0);
	ck_assert_uint_eq(m->f.reports, 1);
	ck_assert_msg(m->f.report[0] == ECHO_OK,
	              "the guest reports %#x after %llu requests, %llu words touched", m->f.report[0],
	              (unsigned long long)pci_machine_echo(m)->done,
	              (unsigned long long)pci_machine_echo(m)->touched);
}
