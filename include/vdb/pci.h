/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI host bridge with one bus: config space by ECAM and by ports 0xcf8/0xcfc, windows
 * that BARs live in, four INTx lines. Devices are put on it by their own headers
 * (vdb/virtio_pci.h).
 */
#ifndef VDB_PCI_H
#define VDB_PCI_H

#include <vdb/loop.h>
#include <vdb/vm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_pci;

#define VDB_PCI_ECAM_BYTES 0x100000u /* one bus */

/* Defaults in brackets. The windows hold no memory and no other device; a BAR decodes inside of them
 * only, and only where nothing else is. */
struct vdb_pci_config {
	uint32_t size;
	uint32_t intx_gsi;  /* four GSIs from here on are INTx lines [16] */
	vdb_gpa_t ecam;     /* 1 MiB-aligned [0xe0000000] */
	vdb_gpa_t mem32;    /* [0xc0000000] */
	uint64_t mem32_len; /* power of two [0x10000000] */
	vdb_gpa_t mem64;    /* [0x8000000000] */
	uint64_t mem64_len; /* [0x100000000] */
	uint16_t io;        /* [0xc000] */
	uint16_t io_len;    /* [0x1000] */
	uint32_t reserved;
	struct vdb_loop *loop; /* watches the INTx lines' acknowledgement; NULL: there is no INTx */
};

/* -EEXIST: something is there. -EINVAL: a window is not what the config asks for, or reaches the interrupt
 * controllers at 0xfec00000. Control thread. */
VDB_MUST_CHECK int vdb_pci_create(struct vdb_vm *vm, const struct vdb_pci_config *config,
                                  struct vdb_pci **out);

/* Its devices must be gone: -EBUSY. NULL is fine. Control thread. */
VDB_MUST_CHECK int vdb_pci_destroy(struct vdb_pci *pci);

/* The config in use, defaults filled in: for ACPI tables. Set config->size first. */
VDB_MUST_CHECK int vdb_pci_query(const struct vdb_pci *pci, struct vdb_pci_config *config);

#ifdef __cplusplus
}
#endif
#endif
