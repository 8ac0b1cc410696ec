/* SPDX-License-Identifier: Apache-2.0 */
/* A VM with the echo device on a PCI bus, and a loop on its own thread that serves it. */
#ifndef VDB_TEST_PCI_MACHINE_H
#define VDB_TEST_PCI_MACHINE_H

#include "guest_image.h"
#include "run.h"
#include "virtio_echo.h"

#define PCI_MACHINE_SLOT 3u
#define PCI_MACHINE_GSI 19u /* of that slot's pin A */
#define PCI_MACHINE_ECAM 0xe0000000u
#define BIT(feature) (1ull << (feature))

struct pci_machine {
	struct kvm_fixture f;
	struct vdb_loop *loop;
	struct virtio_echo echo;
	struct vdb_virtio *device;
	struct vdb_pci *pci;
	struct vdb_virtio_pci *vpci;
};

struct echo_params;
struct pci_params;

/* The device is in PCI_MACHINE_SLOT. */
void pci_machine_open(struct pci_machine *m, uint32_t queues);
void pci_machine_close(struct pci_machine *m);
/* The device anew. */
void pci_machine_plug(struct pci_machine *m, uint32_t notify, uint32_t flags);
struct echo_params *pci_machine_echo(struct pci_machine *m);
struct pci_params *pci_machine_params(struct pci_machine *m);
/* Runs vCPU 0 until the guest ends; fails the test if that is not well. */
void pci_machine_run(struct pci_machine *m);

#endif
