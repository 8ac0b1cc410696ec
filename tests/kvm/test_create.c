/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: ioctl */
/* KVM_CREATE_VM is interrupted by whatever its thread has pending: that is no failure. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>

#include "kvm_fixture.h"
#include "run.h"

static unsigned interruptions, creations;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request != KVM_CREATE_VM)
		return __real_ioctl(fd, request, arg);
	creations++;
	if (interruptions) {
		interruptions--;
		errno = EINTR;
		return -1;
	}
	return __real_ioctl(fd, request, arg);
}

START_TEST(an_interrupted_creation_is_tried_again)
{
	struct kvm_fixture f;

	interruptions = 3;
	kvm_fixture_make(&f, NULL, 1);
	ck_assert_uint_eq(creations, 4);
	kvm_fixture_end(&f);
}
END_TEST

START_TEST(one_that_never_works_is_an_error)
{
	struct vdb_kvm *kvm;
	struct vdb_mem *mem;
	struct vdb_vm *vm;

	must(vdb_kvm_open(NULL, &kvm));
	must(vdb_mem_create(&mem));
	interruptions = UINT32_MAX;
	ck_assert_int_eq(vdb_vm_create(kvm, mem, NULL, &vm), -EINTR);
	must(vdb_mem_destroy(mem));
	vdb_kvm_close(kvm);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        an_interrupted_creation_is_tried_again,
	        one_that_never_works_is_an_error,
	        NULL,
	};

	return kvm_tests_run("create", NULL, NULL, tests);
}
