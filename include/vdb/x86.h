/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and inspecting x86-64 vCPUs without firmware: straight into 64-bit
 * mode, for bare-metal guests and unikernels.
 */
#ifndef VDB_X86_H
#define VDB_X86_H

#include <vdb/vcpu.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_x86_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rip, rflags;
};

/* -EBUSY while the vCPU runs, but for its own event handler. Any thread otherwise. */
VDB_MUST_CHECK int vdb_x86_get_regs(struct vdb_vcpu *vcpu, struct vdb_x86_regs *regs);
VDB_MUST_CHECK int vdb_x86_set_regs(struct vdb_vcpu *vcpu, const struct vdb_x86_regs *regs);

#define VDB_X86_KERNEL (1u << 0) /* start in CPL 0; default is CPL 3 with all ports allowed */

/* Bytes of guest memory that vdb_x86_start64() fills, at `tables`. */
#define VDB_X86_TABLES_BYTES 0x10000u

struct vdb_x86_start {
	uint32_t size;
	uint32_t flags;   /* VDB_X86_* */
	vdb_gpa_t entry;  /* rip */
	vdb_gpa_t stack;  /* rsp */
	uint64_t arg[3];  /* rdi, rsi, rdx */
	vdb_gpa_t tables; /* page-aligned; page tables, GDT, TSS with I/O bitmap; 0 = 0x1000 */
};

/*
 * Writes the tables (an identity map of the low 4 GiB, 2 MiB pages, accessible
 * from CPL 3) and sets the vCPU to start at `entry` in 64-bit mode, interrupts
 * off. Several vCPUs may share the same tables. -EFAULT: tables outside memory.
 */
VDB_MUST_CHECK int vdb_x86_start64(struct vdb_vcpu *vcpu, const struct vdb_x86_start *start);

/* Sets the vCPU to start at `entry` in 32-bit protected mode without paging, flat segments, interrupts off,
 * ebx = `info`: PVH. Writes nothing to memory. */
VDB_MUST_CHECK int vdb_x86_start32(struct vdb_vcpu *vcpu, vdb_gpa_t entry, vdb_gpa_t info);

/* Sets the vCPU to start at `entry` in CPL 0 as Linux's 64-bit boot protocol wants it: flat segments 0x10 and
 * 0x18, an identity map of the low 4 GiB, rsi = `info`. Fills VDB_X86_TABLES_BYTES of memory at `tables`,
 * page-aligned. */
VDB_MUST_CHECK int vdb_x86_start_linux(struct vdb_vcpu *vcpu, vdb_gpa_t entry, vdb_gpa_t info,
                                       vdb_gpa_t tables);

/* MSRs as firmware would have left them (memory type default write-back, fast strings on), where the vCPU
 * has them. Any vCPU that does not run. */
VDB_MUST_CHECK int vdb_x86_firmware_msrs(struct vdb_vcpu *vcpu);

#ifdef __cplusplus
}
#endif
#endif
