/* SPDX-License-Identifier: Apache-2.0 */
/* What the PCI guest does beyond echo_abi.h: struct pci_params lies behind struct echo_params. */
#ifndef TESTS_PCI_ABI_H
#define TESTS_PCI_ABI_H

#include "echo_abi.h"

#define PCI_PARAMS (ECHO_PARAMS + 0x1000u)

/* echo_params.mode; for ECHO_IRQ a gsi of 0 means MSI-X. */
enum {
	PCI_SCAN = 16,     /* both ways in, and BARs' sizes */
	PCI_MOVE = 17,     /* BARs move between batches */
	PCI_MOVED = 18,    /* somebody else moves the notify BAR between places[0] and [1], under load */
	PCI_MASK = 19,     /* `rounds` batches while the vector is masked, then it is not */
	PCI_MASK_ALL = 20, /* the same by the function's mask */
};

struct pci_params {
	uint64_t ecam; /* 0: by ports */
	uint64_t places[2];
	/* The guest's: */
	uint32_t functions; /* found */
	uint32_t differ;    /* dwords that differ between ports and ECAM */
	uint64_t sizes[6];
	uint32_t slot;
	uint32_t msix;                    /* its table */
	uint64_t pending, pending_after;  /* bits */
	uint64_t irqs_before, irqs_after; /* the unmask */
	uint64_t rings;                   /* MOVED: to either place; MOVE: to where the doorbell was */
};

#endif
