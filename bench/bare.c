/* SPDX-License-Identifier: Apache-2.0 */
#include "bare.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layout.h"

/* The guest's image, inside the program. */
extern const unsigned char bench_crowd[], bench_crowd_end[];

#define ENTRIES 256u
#define PAGE_BYTES 4096u
#define PAGE_GPA 0xd0000000u
#define TABLES_BYTES VDB_X86_TABLES_BYTES

static int must(int rc, const char *what)
{
	if (rc < 0)
		bench_die(BENCH_FAILED, "bare: %s: %s", what, strerror(errno));
	return rc;
}

static void *map(size_t bytes, int flags, int fd)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	if (at == MAP_FAILED)
		bench_die(BENCH_FAILED, "bare: mmap: %s", strerror(errno));
	return at;
}

void bare_open(struct bare_host *host)
{
	host->fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (host->fd < 0)
		bench_die(BENCH_SKIPPED, "/dev/kvm: %s", strerror(errno));
	host->run_bytes =
	        (uint32_t)must(ioctl(host->fd, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	host->cpuid = calloc(1, sizeof(*host->cpuid) + ENTRIES * sizeof(host->cpuid->entries[0]));
	if (!host->cpuid)
		bench_die(BENCH_FAILED, "no memory");
	host->cpuid->nent = ENTRIES;
	must(ioctl(host->fd, KVM_GET_SUPPORTED_CPUID, host->cpuid), "KVM_GET_SUPPORTED_CPUID");
}

void bare_leave(struct bare_host *host)
{
	free(host->cpuid);
	close(host->fd);
}

/* ---- Creation ---- */

static void make_slot(const struct bare_vm *vm, uint32_t id, uint64_t gpa, uint64_t bytes, void *host,
                      uint32_t flags)
{
	struct kvm_userspace_memory_region slot = {.slot = id,
	                                           .flags = flags,
	                                           .guest_phys_addr = gpa,
	                                           .memory_size = bytes,
	                                           .userspace_addr = (uintptr_t)host};

	must(ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &slot), "KVM_SET_USER_MEMORY_REGION");
}

static void make_bell(struct bare_vm *vm)
{
	struct kvm_ioeventfd bell = {.addr = PAGE_GPA, .len = 4};

	vm->bell = must(eventfd(0, EFD_CLOEXEC), "eventfd");
	bell.fd = vm->bell;
	must(ioctl(vm->vm, KVM_IOEVENTFD, &bell), "KVM_IOEVENTFD");
}

static void make_irq(struct bare_vm *vm)
{
	struct kvm_irqfd irq = {.gsi = 5};

	vm->irq = must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
	irq.fd = (uint32_t)vm->irq;
	must(ioctl(vm->vm, KVM_IRQFD, &irq), "KVM_IRQFD");
}

static void make_vcpu(struct bare_vm *vm)
{
	vm->vcpu = must(ioctl(vm->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	vm->run = map(vm->host->run_bytes, MAP_SHARED, vm->vcpu);
	must(ioctl(vm->vcpu, KVM_SET_CPUID2, vm->host->cpuid), "KVM_SET_CPUID2");
}

static struct kvm_segment segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){.limit = 0xffffffff,
	                            .selector = selector,
	                            .type = type,
	                            .present = 1,
	                            .l = type == 11,
	                            .db = type != 11,
	                            .s = 1,
	                            .g = 1};
}

/* As start.S wants it: 64-bit mode, CPL 0, low memory mapped one to one. */
static void set_registers(struct bare_vm *vm)
{
	struct kvm_regs regs = {
	        .rip = GUEST_IMAGE + GUEST_KERNEL, .rsp = GUEST_STACK, .rdi = GUEST_FREE, .rflags = 2};
	struct kvm_sregs sregs;

	must(ioctl(vm->vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cr0 = 0x80010033;
	sregs.cr3 = GUEST_TABLES;
	sregs.cr4 = 0x620;
	sregs.efer = 0x500;
	sregs.cs = segment(8, 11);
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = segment(16, 3);
	must(ioctl(vm->vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(vm->vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

void bare_create(struct bare_vm *vm, const struct bare_host *host, const struct bench_options *o,
                 uint8_t *ram, const uint8_t *model)
{
	*vm = (struct bare_vm){.host = host, .options = o, .ram = ram};
	vm->page = map(PAGE_BYTES, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memcpy(ram + GUEST_TABLES, model + GUEST_TABLES, TABLES_BYTES);
	memcpy(ram + GUEST_IMAGE, bench_crowd, (size_t)(bench_crowd_end - bench_crowd));
	vm->box = (struct crowd_box *)(void *)(ram + GUEST_FREE);
	vm->box->mode = CROWD_BARE;
	vm->box->page = PAGE_GPA;
	vm->vm = must(ioctl(host->fd, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	make_slot(vm, 0, 0, BARE_RAM, ram, 0);
	make_slot(vm, 1, PAGE_GPA, PAGE_BYTES, vm->page, KVM_MEM_READONLY);
	make_bell(vm);
	must(ioctl(vm->vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	make_vcpu(vm);
	make_irq(vm);
	set_registers(vm);
}

/* ---- Life ---- */

static bool is_exit(const struct kvm_run *run, uint16_t port)
{
	return run->exit_reason == KVM_EXIT_IO && run->io.port == port;
}

static void *run(void *arg)
{
	struct bare_vm *vm = arg;

	bench_pin(vm->options->vcpu_cpu);
	do {
		must(ioctl(vm->vcpu, KVM_RUN, 0), "KVM_RUN");
		if (is_exit(vm->run, CROWD_BORN_PORT))
			vm->born_ns = bench_ns();
		else if (!is_exit(vm->run, GUEST_EXIT_PORT))
			bench_die(BENCH_FAILED, "bare: exit %u", vm->run->exit_reason);
	} while (!is_exit(vm->run, GUEST_EXIT_PORT));
	vm->done_ns = bench_ns();
	return NULL;
}

/* This thread is the loop. */
static void serve(struct bare_vm *vm)
{
	uint64_t value;

	if (read(vm->bell, &value, sizeof(value)) != (ssize_t)sizeof(value))
		bench_die(BENCH_FAILED, "bare: read: %s", strerror(errno));
	__atomic_store_n(&vm->box->answer, 1, __ATOMIC_RELEASE);
}

void bare_run(struct bare_vm *vm)
{
	if (pthread_create(&vm->runner, NULL, run, vm))
		bench_die(BENCH_FAILED, "bare: no thread");
	serve(vm);
	pthread_join(vm->runner, NULL);
}

void bare_close(struct bare_vm *vm)
{
	munmap(vm->run, vm->host->run_bytes);
	close(vm->vcpu);
	close(vm->vm);
	close(vm->bell);
	close(vm->irq);
	munmap(vm->page, PAGE_BYTES);
}
