/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Straight into 64-bit mode. A guest that starts in CPL 3 needs no code of its
 * own in CPL 0, which some hosts only emulate; the TSS's I/O bitmap gives it
 * every port.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <vdb/x86.h>

#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "kvm/vm.h"

/* Offsets in the tables. */
#define PML4 0x0000u
#define PDPT 0x1000u
#define PD 0x2000u /* four of them: 4 GiB */
#define GDT 0x6000u
#define TSS 0x7000u

#define TSS_BYTES 104u
#define TSS_IOMAP_BASE 102u /* offset of the 16-bit word */
#define IO_BITMAP 8192u     /* one bit a port; a byte of ones ends it */
#define TSS_LIMIT (TSS_BYTES + IO_BITMAP)

#define PTE_TABLE 0x07u /* present, writable, user */
#define PTE_2M 0x87u    /* and a 2 MiB page */

#define SEL_KERNEL_CS 0x08u
#define SEL_KERNEL_DS 0x10u
#define SEL_USER_DS 0x1bu
#define SEL_USER_CS 0x23u
#define SEL_TSS 0x28u

#define SEG_CODE 11u     /* execute, read, accessed */
#define SEG_DATA 3u      /* read, write, accessed */
#define SEG_TSS_BUSY 11u /* 64-bit TSS, in use */

#define CR0 0x80050033u /* PG AM WP NE ET MP PE */
#define CR4 0x620u      /* OSXMMEXCPT OSFXSR PAE */
#define EFER 0x500u     /* LMA LME */
#define RFLAGS 2u       /* the bit that is always set */

static void put64(unsigned char *tables, size_t offset, uint64_t value)
{
	memcpy(tables + offset, &value, sizeof(value));
}

static void put_pages(unsigned char *tables, vdb_gpa_t gpa)
{
	put64(tables, PML4, (gpa + PDPT) | PTE_TABLE);
	for (unsigned g = 0; g < 4; g++)
		put64(tables, PDPT + g * 8, (gpa + PD + g * 0x1000u) | PTE_TABLE);
	for (unsigned i = 0; i < 2048; i++)
		put64(tables, PD + i * 8, (uint64_t)i << 21 | PTE_2M);
}

static void put_segments(unsigned char *tables, vdb_gpa_t gpa)
{
	vdb_gpa_t tss = gpa + TSS;
	uint16_t iomap = TSS_BYTES;

	put64(tables, GDT + SEL_KERNEL_CS, 0x00af9b000000ffffull);
	put64(tables, GDT + SEL_KERNEL_DS, 0x00cf93000000ffffull);
	put64(tables, GDT + (SEL_USER_DS & ~7u), 0x00cff3000000ffffull);
	put64(tables, GDT + (SEL_USER_CS & ~7u), 0x00affb000000ffffull);
	put64(tables, GDT + SEL_TSS,
	      (tss & 0xff000000u) << 32 | 0x00008b0000000000ull | (tss & 0xffffffu) << 16 | TSS_LIMIT);
	put64(tables, GDT + SEL_TSS + 8, tss >> 32);
	memcpy(tables + TSS + TSS_IOMAP_BASE, &iomap, sizeof(iomap));
	tables[TSS + TSS_LIMIT] = 0xff;
}

static int write_tables(struct vdb_vm *vm, vdb_gpa_t gpa)
{
	unsigned char *tables = calloc(1, VDB_X86_TABLES_BYTES);
	int err;

	if (!tables)
		return vdb__fail(ENOMEM, "start64: no memory");
	put_pages(tables, gpa);
	put_segments(tables, gpa);
	err = vdb_mem_write(vm->mem, gpa, tables, VDB_X86_TABLES_BYTES);
	free(tables);
	return err;
}

static struct kvm_segment segment(unsigned selector, unsigned type)
{
	return (struct kvm_segment){
	        .limit = 0xffffffff,
	        .selector = (uint16_t)selector,
	        .type = (uint8_t)type,
	        .present = 1,
	        .dpl = (uint8_t)(selector & 3),
	        .s = 1,
	        .l = type == SEG_CODE,
	        .db = type == SEG_DATA,
	        .g = 1,
	};
}

static int set_sregs(struct vdb_vcpu *vcpu, const struct vdb_x86_start *start)
{
	bool kernel = start->flags & VDB_X86_KERNEL;
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs))
		return vdb__fail_sys(errno, "vCPU %u: KVM_GET_SREGS", vcpu->index);
	sregs.cr0 = CR0;
	sregs.cr3 = start->tables + PML4;
	sregs.cr4 = CR4;
	sregs.efer = EFER;
	sregs.cs = segment(kernel ? SEL_KERNEL_CS : SEL_USER_CS, SEG_CODE);
	sregs.ss = segment(kernel ? SEL_KERNEL_DS : SEL_USER_DS, SEG_DATA);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
	sregs.gdt.base = start->tables + GDT;
	sregs.gdt.limit = SEL_TSS + 15;
	sregs.idt.base = 0;
	sregs.idt.limit = 0;
	sregs.tr = (struct kvm_segment){
	        .base = start->tables + TSS,
	        .limit = TSS_LIMIT,
	        .selector = SEL_TSS,
	        .type = SEG_TSS_BUSY,
	        .present = 1,
	};
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs))
		return vdb__fail_sys(errno, "vCPU %u: KVM_SET_SREGS", vcpu->index);
	return 0;
}

static int set_regs(struct vdb_vcpu *vcpu, const struct vdb_x86_start *start)
{
	struct kvm_regs regs = {
	        .rip = start->entry,
	        .rsp = start->stack,
	        .rdi = start->arg[0],
	        .rsi = start->arg[1],
	        .rdx = start->arg[2],
	        .rflags = RFLAGS,
	};

	if (ioctl(vcpu->fd, KVM_SET_REGS, &regs))
		return vdb__fail_sys(errno, "vCPU %u: KVM_SET_REGS", vcpu->index);
	return 0;
}

/* Only vCPU 0 is awake after its creation, the others wait for a SIPI. */
static int set_runnable(struct vdb_vcpu *vcpu)
{
	struct kvm_mp_state state = {.mp_state = KVM_MP_STATE_RUNNABLE};

	if (ioctl(vcpu->fd, KVM_SET_MP_STATE, &state) && vcpu->vm->config.irqchip != VDB_IRQCHIP_NONE)
		return vdb__fail_sys(errno, "vCPU %u: KVM_SET_MP_STATE", vcpu->index);
	return 0;
}

static int check(const struct vdb_x86_start *start)
{
	if (start->flags & ~VDB_X86_KERNEL)
		return vdb__fail(EINVAL, "start64: unknown flags %#x", start->flags);
	if (start->tables % VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "start64: tables at %#llx are not page-aligned",
		                 (unsigned long long)start->tables);
	return 0;
}

VDB_EXPORT int vdb_x86_start64(struct vdb_vcpu *vcpu, const struct vdb_x86_start *start)
{
	struct vdb_x86_start own;
	int err = vdb__config_take(&own, sizeof(own), start, "vdb_x86_start");

	if (err)
		return err;
	if (!own.tables)
		own.tables = 0x1000;
	err = check(&own);
	if (!err)
		err = vdb__life_examine(vcpu, "start64");
	if (err)
		return err;
	err = write_tables(vcpu->vm, own.tables);
	if (!err)
		err = set_sregs(vcpu, &own);
	if (!err)
		err = set_regs(vcpu, &own);
	if (!err)
		err = set_runnable(vcpu);
	vdb__life_examined(vcpu);
	return err;
}
