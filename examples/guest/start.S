/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a bare-metal guest starts, and the little that it does in kernel mode.
 *
 * Two ways in, at fixed places of the image:
 *   image + 0   CPL 0 (VDB_X86_KERNEL), for guests that wait by interrupt: loads the
 *               static tables below, enables the local APIC, drops to CPL 3.
 *   image + 16  CPL 3, for guests that poll: no kernel code at all.
 * Both call guest_main(rdi, rsi, rdx) in CPL 3.
 *
 * `hlt` is privileged: in CPL 3 it faults, and that is how the guest asks to wait
 * (runtime.h). Everything here is kept short: some hosts emulate CPL 0.
 */
#define KERNEL_CODE 0x08
#define USER_CODE (0x10 | 3)
#define USER_DATA (0x18 | 3)
#define TASK 0x20
#define PORTS_BYTES 8192

	.code64
	.section .head, "ax"
	.globl guest_image
guest_image:
	jmp	start_kernel
	.balign	16
	jmp	start_user

	.text
	.globl start_kernel		/* pvh.S comes here */
start_kernel:
	lgdt	gdt_pointer
	lidt	idt_pointer
	mov	$TASK, %eax
	ltr	%ax
	mov	$0xfee000f0, %eax	/* spurious vector register: APIC on */
	movl	$0x1ff, (%rax)
	pushq	$USER_DATA
	pushq	$user_stack_end
	pushq	$0x202			/* interrupts on */
	pushq	$USER_CODE
	pushq	$start_user
	iretq

start_user:
	mov	$user_stack_end, %esp
	xor	%ebp, %ebp
	call	guest_main
	ud2				/* guest_main() does not return */

	/*
	 * An interrupt: count it, acknowledge it. If it came between sti and hlt, there is nothing
	 * to sleep for any more. The shadow of sti forbids that, but QEMU's emulated AMD-V forgets
	 * the shadow when an exit falls into it.
	 */
	.globl irq_entry
irq_entry:
	push	%rax
	incq	guest_irqs
	cmpq	$sleep, 8(%rsp)
	jne	1f
	incq	8(%rsp)
1:
	mov	$0xfee000b0, %eax	/* end of interrupt */
	movl	$0, (%rax)
	pop	%rax
	iretq

	/*
	 * #GP by `hlt` in CPL 3: sleep unless guest_irqs has moved on from rdi. An interrupt
	 * between the comparison and the hlt is held back by the shadow of sti, or takes the hlt away.
	 */
	.globl gp_entry
gp_entry:
	xchg	%rax, (%rsp)		/* the error code gives its place to rax */
	mov	8(%rsp), %rax
	cmpb	$0xf4, (%rax)
	jne	broken
	cmp	%rdi, guest_irqs
	jne	1f
	sti
sleep:	hlt
	cli
1:	incq	8(%rsp)
	pop	%rax
	iretq

	/* A real fault: without an IDT it becomes a triple fault, which the host reports. */
broken:	lidt	no_idt_pointer
	ud2

	.data
	.balign	16
gdt:	.quad	0
	.quad	0x00af9b000000ffff	/* KERNEL_CODE */
	.quad	0x00affb000000ffff	/* USER_CODE */
	.quad	0x00cff3000000ffff	/* USER_DATA */
	.word	task_end - task - 1, task_base_0	/* TASK; bases from the linker script */
	.byte	task_base_16, 0x89, 0, task_base_24
	.quad	0
gdt_end:

	/* Two gates: 13 (#GP) and 64 (the interrupt). What else happens becomes a #GP. */
	.balign	16
idt:	.fill	13 * 2, 8, 0
	.word	gp_entry_0, KERNEL_CODE, 0x8e00, gp_entry_16
	.quad	0
	.fill	(64 - 14) * 2, 8, 0
	.word	irq_entry_0, KERNEL_CODE, 0x8e00, irq_entry_16
	.quad	0
idt_end:

	.balign	16
	.globl task
task:	.long	0
	.quad	kernel_stack_end	/* rsp0 */
	.fill	90, 1, 0
	.word	task_ports - task
task_ports:
	.fill	PORTS_BYTES, 1, 0	/* every port is allowed in CPL 3 */
	.byte	0xff
task_end:

	.globl gdt_pointer
gdt_pointer:
	.word	gdt_end - gdt - 1
	.quad	gdt
idt_pointer:
	.word	idt_end - idt - 1
	.quad	idt
no_idt_pointer:
	.word	0
	.quad	0

	.bss
	.balign	16
	.globl guest_irqs
guest_irqs:
	.skip	16
	.skip	4096
	.globl kernel_stack_end
kernel_stack_end:
	.skip	16384
user_stack_end:

	.section .note.GNU-stack, "", @progbits
