/* SPDX-License-Identifier: Apache-2.0 */
/* Where VMM and guest image meet. */
#ifndef EXAMPLES_GUEST_LAYOUT_H
#define EXAMPLES_GUEST_LAYOUT_H

#define GUEST_TABLES 0x1000u   /* page tables, GDT, TSS: vdb_x86_start64() fills them */
#define GUEST_IMAGE 0x100000u  /* as guest.ld has it */
#define GUEST_KERNEL 0u        /* entry into the image with VDB_X86_KERNEL */
#define GUEST_USER 16u         /* entry without */
#define GUEST_STACK 0x100000u  /* of start.S before it has its own */
#define GUEST_FREE 0x200000u   /* from here memory is the VMM's to lay out */
#define GUEST_VECTOR 64u       /* the interrupt that start.S handles */
#define GUEST_EXIT_PORT 0x500u /* write a status here to end */

#endif
