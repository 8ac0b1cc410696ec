/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Straight into a mode that a guest can use: 64 bits, in two ways, or 32 bits. A guest that starts in
 * CPL 3 needs no code of its own in CPL 0, which some hosts only emulate. Every port is its own, by the
 * TSS's I/O bitmap and by IOPL: some hosts lose IOPL at the first iretq, and QEMU's emulated AMD-V does
 * not look at the bitmap of a TSS that was never loaded by ltr.
 */
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
#define TABLES_END 0xa000u

#define TSS_BYTES 104u
#define TSS_IOMAP_BASE 102u /* offset of the 16-bit word */
#define IO_BITMAP 8192u     /* one bit a port; a byte of ones ends it */
#define TSS_LIMIT (TSS_BYTES + IO_BITMAP)

_Static_assert(TSS + TSS_LIMIT < TABLES_END, "the last byte of the bitmap lies in its last page");

#define PTE_KERNEL 0x03u /* present, writable */
#define PTE_USER 0x07u   /* and for CPL 3 */
#define PTE_2M 0x80u

#define SEL_KERNEL_CS 0x08u
#define SEL_KERNEL_DS 0x10u
#define SEL_USER_DS 0x1bu
#define SEL_USER_CS 0x23u
#define SEL_TSS 0x28u

/* As Linux's boot protocols want them; PVH does not care. */
#define SEL_LINUX_CS 0x10u
#define SEL_LINUX_DS 0x18u
#define SEL_LINUX_TSS 0x20u

#define SEG_CODE 11u     /* execute, read, accessed */
#define SEG_DATA 3u      /* read, write, accessed */
#define SEG_TSS_BUSY 11u /* 64-bit (or 32-bit) TSS, in use */

#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_DATA 0x00cf93000000ffffull
#define GDT_USER (3ull << 45) /* DPL */

#define CR0_32 0x11u    /* ET PE */
#define CR0 0x80050033u /* PG AM WP NE ET MP PE */
#define CR4 0x620u      /* OSXMMEXCPT OSFXSR PAE */
#define EFER 0x500u     /* LMA LME */
#define RFLAGS 2u       /* the bit that is always set */
#define RFLAGS_IOPL 0x3000u

/* Page after page: 64 KiB of scratch memory for each VM would stay with the process. */
struct draft {
	struct vdb_vm *vm;
	vdb_gpa_t gpa; /* of the tables */
	int err;
	unsigned char page[VDB_PAGE_SIZE];
};

static void put64(struct draft *draft, size_t offset, uint64_t value)
{
	memcpy(draft->page + offset, &value, sizeof(value));
}

/* The page is done; the next one begins empty. */
static void write_page(struct draft *draft, unsigned offset)
{
	if (!draft->err)
		draft->err = vdb_mem_write(draft->vm->mem, draft->gpa + offset, draft->page, VDB_PAGE_SIZE);
	memset(draft->page, 0, sizeof(draft->page));
}

static void write_page_tables(struct draft *draft, unsigned access)
{
	put64(draft, 0, (draft->gpa + PDPT) | access);
	write_page(draft, PML4);
	for (unsigned g = 0; g < 4; g++)
		put64(draft, g * 8, (draft->gpa + PD + g * VDB_PAGE_SIZE) | access);
	write_page(draft, PDPT);
	for (unsigned i = 0; i < 2048; i++) {
		put64(draft, i % 512 * 8, (uint64_t)i << 21 | PTE_2M | access);
		if (i % 512 == 511)
			write_page(draft, PD + i / 512 * VDB_PAGE_SIZE);
	}
}

static void put_tss_segment(struct draft *draft, unsigned selector, unsigned limit)
{
	vdb_gpa_t tss = draft->gpa + TSS;

	put64(draft, selector,
	      (tss & 0xff000000u) << 32 | 0x00008b0000000000ull | (tss & 0xffffffu) << 16 | limit);
	put64(draft, selector + 8, tss >> 32);
}

static void write_segments(struct draft *draft)
{
	uint16_t iomap = TSS_BYTES;

	put64(draft, SEL_KERNEL_CS, GDT_CODE64);
	put64(draft, SEL_KERNEL_DS, GDT_DATA);
	put64(draft, SEL_USER_DS & ~7u, GDT_DATA | GDT_USER);
	put64(draft, SEL_USER_CS & ~7u, GDT_CODE64 | GDT_USER);
	put_tss_segment(draft, SEL_TSS, TSS_LIMIT);
	write_page(draft, GDT);
	memcpy(draft->page + TSS_IOMAP_BASE, &iomap, sizeof(iomap));
	write_page(draft, TSS);
	write_page(draft, TSS + VDB_PAGE_SIZE);
	draft->page[TSS_LIMIT % VDB_PAGE_SIZE] = 0xff;
	write_page(draft, TSS + TSS_LIMIT / VDB_PAGE_SIZE * VDB_PAGE_SIZE);
}

static void write_linux_segments(struct draft *draft)
{
	put64(draft, SEL_LINUX_CS, GDT_CODE64);
	put64(draft, SEL_LINUX_DS, GDT_DATA);
	put_tss_segment(draft, SEL_LINUX_TSS, TSS_BYTES - 1);
	write_page(draft, GDT);
	for (unsigned offset = TSS; offset < TABLES_END; offset += VDB_PAGE_SIZE)
		write_page(draft, offset);
}

static int write_tables(struct vdb_vm *vm, vdb_gpa_t gpa, bool linux_guest)
{
	struct draft draft = {.vm = vm, .gpa = gpa};

	write_page_tables(&draft, linux_guest ? PTE_KERNEL : PTE_USER);
	if (linux_guest)
		write_linux_segments(&draft);
	else
		write_segments(&draft);
	for (unsigned offset = TABLES_END; offset < VDB_X86_TABLES_BYTES; offset += VDB_PAGE_SIZE)
		write_page(&draft, offset);
	return draft.err;
}

/* A flat one; `code` is 0, 32 or 64 bits. */
static struct kvm_segment segment(unsigned selector, unsigned code)
{
	return (struct kvm_segment){
	        .limit = 0xffffffff,
	        .selector = (uint16_t)selector,
	        .type = code ? SEG_CODE : SEG_DATA,
	        .present = 1,
	        .dpl = (uint8_t)(selector & 3),
	        .s = 1,
	        .l = code == 64,
	        .db = code != 64,
	        .g = 1,
	};
}

static struct kvm_segment task(unsigned selector, vdb_gpa_t base, unsigned limit)
{
	return (struct kvm_segment){
	        .base = base,
	        .limit = limit,
	        .selector = (uint16_t)selector,
	        .type = SEG_TSS_BUSY,
	        .present = 1,
	};
}

static void set_segments(struct kvm_sregs *sregs, struct kvm_segment cs, struct kvm_segment data)
{
	sregs->cs = cs;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
}

static void set_long_mode(struct kvm_sregs *sregs, vdb_gpa_t tables, uint16_t gdt_limit)
{
	sregs->cr0 = CR0;
	sregs->cr3 = tables + PML4;
	sregs->cr4 = CR4;
	sregs->efer = EFER;
	sregs->gdt = (struct kvm_dtable){.base = tables + GDT, .limit = gdt_limit};
	sregs->idt = (struct kvm_dtable){0};
}

static void set_sregs64(struct kvm_sregs *sregs, const struct vdb_x86_start *start)
{
	bool kernel = start->flags & VDB_X86_KERNEL;

	set_long_mode(sregs, start->tables, SEL_TSS + 15);
	set_segments(sregs, segment(kernel ? SEL_KERNEL_CS : SEL_USER_CS, 64),
	             segment(kernel ? SEL_KERNEL_DS : SEL_USER_DS, 0));
	sregs->tr = task(SEL_TSS, start->tables + TSS, TSS_LIMIT);
}

static void set_sregs_linux(struct kvm_sregs *sregs, vdb_gpa_t tables)
{
	set_long_mode(sregs, tables, SEL_LINUX_TSS + 15);
	set_segments(sregs, segment(SEL_LINUX_CS, 64), segment(SEL_LINUX_DS, 0));
	sregs->tr = task(SEL_LINUX_TSS, tables + TSS, TSS_BYTES - 1);
}

static void set_sregs32(struct kvm_sregs *sregs)
{
	sregs->cr0 = CR0_32;
	sregs->cr3 = 0;
	sregs->cr4 = 0;
	sregs->efer = 0;
	sregs->gdt = sregs->idt = (struct kvm_dtable){0};
	set_segments(sregs, segment(SEL_LINUX_CS, 32), segment(SEL_LINUX_DS, 0));
	sregs->tr = task(SEL_LINUX_TSS, 0, TSS_BYTES - 1);
}

static int get_sregs(struct vdb_vcpu *vcpu, struct kvm_sregs *sregs)
{
	if (ioctl(vcpu->fd, KVM_GET_SREGS, sregs))
		return vdb__fail_sys(errno, "vCPU %u: KVM_GET_SREGS", vcpu->index);
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

static int set_all(struct vdb_vcpu *vcpu, const struct kvm_sregs *sregs, const struct kvm_regs *regs)
{
	if (ioctl(vcpu->fd, KVM_SET_SREGS, sregs))
		return vdb__fail_sys(errno, "vCPU %u: KVM_SET_SREGS", vcpu->index);
	if (ioctl(vcpu->fd, KVM_SET_REGS, regs))
		return vdb__fail_sys(errno, "vCPU %u: KVM_SET_REGS", vcpu->index);
	return set_runnable(vcpu);
}

static int check_tables(vdb_gpa_t tables)
{
	if (tables % VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "start: tables at %#llx are not page-aligned",
		                 (unsigned long long)tables);
	return 0;
}

static int check(const struct vdb_x86_start *start)
{
	if (start->flags & ~VDB_X86_KERNEL)
		return vdb__fail(EINVAL, "start64: unknown flags %#x", start->flags);
	return check_tables(start->tables);
}

VDB_EXPORT int vdb_x86_start64(struct vdb_vcpu *vcpu, const struct vdb_x86_start *start)
{
	struct vdb_x86_start own;
	struct kvm_sregs sregs;
	struct kvm_regs regs;
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
	regs = (struct kvm_regs){
	        .rip = own.entry,
	        .rsp = own.stack,
	        .rdi = own.arg[0],
	        .rsi = own.arg[1],
	        .rdx = own.arg[2],
	        .rflags = own.flags & VDB_X86_KERNEL ? RFLAGS : RFLAGS | RFLAGS_IOPL,
	};
	err = write_tables(vcpu->vm, own.tables, false);
	if (!err)
		err = get_sregs(vcpu, &sregs);
	if (!err) {
		set_sregs64(&sregs, &own);
		err = set_all(vcpu, &sregs, &regs);
	}
	vdb__life_examined(vcpu);
	return err;
}

VDB_EXPORT int vdb_x86_start_linux(struct vdb_vcpu *vcpu, vdb_gpa_t entry, vdb_gpa_t info, vdb_gpa_t tables)
{
	struct kvm_regs regs = {.rip = entry, .rsi = info, .rflags = RFLAGS};
	struct kvm_sregs sregs;
	int err = check_tables(tables);

	if (!err)
		err = vdb__life_examine(vcpu, "start_linux");
	if (err)
		return err;
	err = write_tables(vcpu->vm, tables, true);
	if (!err)
		err = get_sregs(vcpu, &sregs);
	if (!err) {
		set_sregs_linux(&sregs, tables);
		err = set_all(vcpu, &sregs, &regs);
	}
	vdb__life_examined(vcpu);
	return err;
}

VDB_EXPORT int vdb_x86_start32(struct vdb_vcpu *vcpu, vdb_gpa_t entry, vdb_gpa_t info)
{
	struct kvm_regs regs = {.rip = entry, .rbx = info, .rflags = RFLAGS};
	struct kvm_sregs sregs;
	int err;

	if (entry > UINT32_MAX || info > UINT32_MAX)
		return vdb__fail(EINVAL, "start32: %#llx or %#llx does not fit 32 bits",
		                 (unsigned long long)entry, (unsigned long long)info);
	err = vdb__life_examine(vcpu, "start32");
	if (err)
		return err;
	err = get_sregs(vcpu, &sregs);
	if (!err) {
		set_sregs32(&sregs);
		err = set_all(vcpu, &sregs, &regs);
	}
	vdb__life_examined(vcpu);
	return err;
}
