/* SPDX-License-Identifier: Apache-2.0 */
/* A whole VMM: its guest rings a doorbell, runs on, and gets an answer from the loop's thread.
 *     cc hello.c $(pkg-config --cflags --libs vdb) -o hello && ./hello */
#include <stdio.h>
#include <vdb/vdb.h>

__asm__(".section .rodata; guest:                               \n" /* rdi: its doorbell page (vdb/abi.h) */
        "   mov 12(%rdi), %eax; mov (%rdi, %rax), %rbx          \n" /* the ring, which the page names */
        "1: mov 64(%rbx), %eax; test %eax, %eax; jz 1b          \n" /* device.generation: it is there */
        "   movl $0x10000, 8(%rbx); mov %eax, 4(%rbx)           \n" /* driver.version, ready */
        "   mov %eax, (%rdi)                                    \n" /* ring: any store to the page */
        "2: cmpl $1, 68(%rbx); jne 2b                           \n" /* device.state: VDB_RING_READY */
        "   movb $128, 512(%rbx); lea text(%rip), %rax          \n" /* a request: op VDB_OP_USER, */
        "   mov %rax, 520(%rbx); movl $guest_end-text, 516(%rbx)\n" /* addr and len */
        "   movl $1, 128(%rbx); mov %eax, (%rdi)                \n" /* sq_tail: there it is; ring */
        "3: cmpl $1, 320(%rbx); jne 3b                          \n" /* cq_tail: it is complete */
        "   mov 552(%rbx), %eax; out %eax, $0xf0                \n" /* its result */
        "4: pause; jmp 4b; text: .ascii \"what is six times nine, in base thirteen\"; guest_end: .previous");
extern const char guest[], guest_end[];
enum { CODE = 0x20000, RING = 0x30000, MEMORY = 0x200000 };

static int failed(void)
{
	return fprintf(stderr, "hello: %s\n", vdb_errmsg()) > 0;
}

static int question(void *ctx, struct vdb_req *req) /* the device, on the loop's thread */
{
	if (req->niov > 0) /* the guest says how much */
		printf("%s, %.*s?\n", (char *)ctx, (int)req->iov->iov_len, (char *)req->iov->iov_base);
	vdb_req_complete(req, 42);
	return VDB_REQ_PENDING;
}

static void answer(void *vm, struct vdb_bus_access *access) /* the port, on the vCPU's thread */
{
	printf("guest was told: %d\n", access->data[0]);
	(void)(vdb_vm_stop(vm, NULL, NULL) && failed());
}

int main(void)
{
	struct vdb_region_config ram = {.size = sizeof(ram), .len = MEMORY};
	struct vdb_bus_ops port = {.size = sizeof(port), .write = answer};
	struct vdb_doorbell_ring ring = {.ring_gpa = RING, .sq_entries = 1, .cq_entries = 1};
	struct vdb_doorbell_config bell = {sizeof(bell), .addr = VDB_GPA_ANY, .rings = &ring,
	                                   .ring_count = 1};
	struct vdb_ring_config same = {.size = sizeof(same), .sq_entries = 1, .gpa = RING};
	struct vdb_backend_ops device = {.size = sizeof(device), .name = "oracle", .start = question};
	struct vdb_backend_info info = {.size = sizeof(info), .ops = 1u << 31};
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu;
	struct vdb_doorbell *doorbell;
	struct vdb_queue *queue;
	struct vdb_backend *backend;
	struct vdb_loop *loop;
	struct vdb_lane *lane;

	if (vdb_kvm_open(NULL, &kvm) || vdb_mem_create(&mem) || vdb_mem_add(mem, &ram) ||
	    vdb_mem_write(mem, CODE, guest, (uint64_t)(guest_end - guest)) ||
	    vdb_vm_create(kvm, mem, NULL, &vm) || vdb_doorbell_create(vm, &bell, &doorbell) ||
	    vdb_bus_add(vdb_vm_pio(vm), "answer", 0xf0, 4, &port, vm) || vdb_vcpu_create(vm, 0, &vcpu) ||
	    vdb_ring_create(mem, &same, &queue) || vdb_backend_create(&device, "Oracle", &info, &backend) ||
	    vdb_loop_create(NULL, &loop) || vdb_loop_start(loop, -1, NULL))
		return failed();

	struct vdb_lane_config joint = {.size = sizeof(joint), .kick_fd = vdb_doorbell_fd(doorbell, 0)};
	struct vdb_x86_start start = {sizeof(start), .entry = CODE, .arg = {vdb_doorbell_page(doorbell)}};
	if (vdb_lane_create(loop, queue, backend, &joint, &lane) || vdb_x86_start64(vcpu, &start) ||
	    vdb_vcpu_run(vcpu) || vdb_loop_join(loop) || vdb_loop_destroy(loop))
		return failed();
	vdb_lane_destroy(lane, NULL, NULL);
	vdb_backend_destroy(backend);
	vdb_doorbell_destroy(doorbell);
	vdb_kvm_close(kvm);
	return (vdb_vm_destroy(vm, NULL, NULL) || vdb_mem_destroy(mem)) && failed();
}
