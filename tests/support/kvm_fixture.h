/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM with memory and vCPUs in a few lines, for tests with real guests.
 *
 * Guests are small pieces of machine code, copied to GUEST_CODE, that run in
 * CPL 3 with the low 4 GiB mapped one to one and all ports allowed. They talk by
 *   out %eax, $PORT_REPORT   a value for the test
 *   ud2                      the end: a triple fault, an event, the vCPU's run returns
 * or by writing to memory that the test looks at.
 *
 * KVM objects belong into checked fixtures or the test's body: a VM made before
 * the fork is dead in the child.
 */
#ifndef VDB_TEST_KVM_FIXTURE_H
#define VDB_TEST_KVM_FIXTURE_H

#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <vdb/vdb.h>

#define GUEST_MEM 0x400000u  /* bytes of memory from 0 */
#define GUEST_TABLES 0x1000u /* vdb_x86_start64()'s */
#define GUEST_CODE 0x100000u /* vCPU 0's code; the others' behind, GUEST_STRIDE each */
#define GUEST_STRIDE 0x1000u
#define GUEST_STACK 0x200000u /* top of vCPU 0's; 16 KiB each, upwards */
#define GUEST_DATA 0x300000u  /* for the tests */
#define PORT_REPORT 0x10u

#define FIXTURE_VCPUS 8u
#define FIXTURE_REPORTS 64u

struct kvm_fixture {
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;
	struct vdb_vcpu *vcpu[FIXTURE_VCPUS];
	uint32_t vcpus;
	unsigned char *ram;   /* the guest's memory as the host sees it */
	pthread_mutex_t lock; /* of what the vCPUs report */
	uint32_t report[FIXTURE_REPORTS];
	uint32_t reports;       /* atomic; how many came, the first FIXTURE_REPORTS are kept */
	struct vdb_event event; /* the last one */
	uint32_t events;        /* atomic */
	char text[256];         /* its text */
	int (*on_event)(struct kvm_fixture *f, const struct vdb_event *event); /* instead of stopping */
};

/* Exits the program with 77 and the reason if there is no usable /dev/kvm. Call it first in main(). */
void kvm_fixture_need(void);

/* Memory, a VM (config may be NULL; its event handler is the fixture's) and `vcpus` vCPUs. Every
 * failure fails the test. */
void kvm_fixture_make(struct kvm_fixture *f, const struct vdb_vm_config *config, uint32_t vcpus);

/* The same, with memory that another process may have. */
void kvm_fixture_make_shared(struct kvm_fixture *f, const struct vdb_vm_config *config, uint32_t vcpus);

/* Stops and destroys it all, and waits until it is gone. */
void kvm_fixture_end(struct kvm_fixture *f);

/* Puts code at vCPU i's place and makes it start there with rdi = arg. */
void kvm_fixture_load(struct kvm_fixture *f, uint32_t vcpu, const void *code, size_t bytes, uint64_t arg);

/* vdb_vcpu_run() on this thread, until the guest's ud2; anything else fails the test. */
void kvm_fixture_run(struct kvm_fixture *f, uint32_t vcpu);

/* main()'s end: skips without KVM, else runs the suite in fork mode, with a timeout of two minutes for
 * each of `tests`. The checked fixture may be NULL. */
int kvm_tests_run(const char *name, void (*setup)(void), void (*teardown)(void), const TTest *const *tests);

/* A word of the guest's memory. */
uint32_t kvm_fixture_word(const struct kvm_fixture *f, uint32_t gpa);

/* The counters of a vCPU. */
struct vdb_vcpu_stats kvm_fixture_stats(struct kvm_fixture *f, uint32_t vcpu);

/* Fails the test with the library's message unless rc >= 0. */
#define must(rc) kvm_fixture_must((int64_t)(rc), #rc, __FILE__, __LINE__)
int64_t kvm_fixture_must(int64_t rc, const char *what, const char *file, int line);

/* Waits (a minute) until *word, read atomically, is at least `value`; fails the test otherwise. */
void wait_for32(const uint32_t *word, uint32_t value);

/* A completion that counts: pass it with a uint32_t. */
void count_done(void *counter);

/*
 * A guest in assembler. GUEST(name, "...") makes name[] and name##_size; the code
 * must be position-independent. AT&T syntax, 64-bit.
 */
#define GUEST(name, text)                                                                 \
	__asm__(".pushsection .rodata\n\t.globl guest_" #name "\nguest_" #name ":\n" text \
	        "\n.globl guest_" #name "_end\nguest_" #name "_end:\n\t.popsection\n");   \
	extern const unsigned char guest_##name[], guest_##name##_end[]
#define LOAD(f, vcpu, name, arg) \
	kvm_fixture_load(f, vcpu, guest_##name, (size_t)(guest_##name##_end - guest_##name), arg)

#endif
