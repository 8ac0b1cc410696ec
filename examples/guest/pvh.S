/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in of a guest that is an ELF file with a PVH note: 32-bit, no paging, ebx =
 * struct hvm_start_info. Into 64-bit mode, then as start.S does it; guest_main()'s first word
 * is that address.
 */
#define KERNEL_CODE 0x08
#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define PAGE 0x007		/* present, writable, for CPL 3 */
#define LARGE_PAGE 0x087

	.section .note.Xen, "a", @note
	.balign	4
	.long	4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	pvh_entry

	.text
	.code32
	.globl pvh_entry
pvh_entry:
	mov	$kernel_stack_end, %esp
	lgdt	gdt_pointer
	mov	%cr4, %eax
	or	$0x20, %eax		/* PAE */
	mov	%eax, %cr4
	mov	$pvh_pml4, %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx	/* EFER: long mode */
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	%cr0, %eax
	or	$0x80000000, %eax	/* paging */
	mov	%eax, %cr0
	ljmp	$KERNEL_CODE, $1f
	.code64
1:	mov	%ebx, %edi
	xor	%esi, %esi
	xor	%edx, %edx
	jmp	start_kernel

	/* The low 4 GiB, one to one. */
	.data
	.balign	4096
	.globl	pvh_pml4		/* a guest may map more */
pvh_pml4:
	.quad	pvh_pdpt + PAGE
	.fill	511, 8, 0
pvh_pdpt:
	.quad	pvh_pd + PAGE, pvh_pd + 0x1000 + PAGE, pvh_pd + 0x2000 + PAGE, pvh_pd + 0x3000 + PAGE
	.fill	508, 8, 0
pvh_pd:
	.set	page, 0
	.rept	2048
	.quad	page + LARGE_PAGE
	.set	page, page + 0x200000
	.endr

	.section .note.GNU-stack, "", @progbits
