/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: ioctl open */
/* What is missing on a host is named, with what to do about it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <string.h>

#include "kvm_fixture.h"
#include "leak.h"

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);

static int missing_cap = -1;
static int api_version = KVM_API_VERSION;
static int open_errno;

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	unsigned long arg;

	va_start(args, request);
	arg = va_arg(args, unsigned long);
	va_end(args);
	if (request == KVM_CHECK_EXTENSION && (int)arg == missing_cap)
		return 0;
	if (request == KVM_GET_API_VERSION && api_version != KVM_API_VERSION)
		return api_version;
	return __real_ioctl(fd, request, arg);
}

int __wrap_open(const char *path, int flags, ...)
{
	if (open_errno) {
		errno = open_errno;
		return -1;
	}
	return __real_open(path, flags, 0);
}

static void refuse(const char *path, int err, const char *word)
{
	struct vdb_kvm *kvm = NULL;
	int fds = leak_fds();
	int rc = vdb_kvm_open(path, &kvm);

	ck_assert_msg(rc == err, "%d instead of %d: %s", rc, err, vdb_errmsg());
	ck_assert_msg(strstr(vdb_errmsg(), word), "'%s' is not in: %s", word, vdb_errmsg());
	ck_assert_ptr_null(kvm);
	ck_assert_int_eq(leak_fds(), fds);
}

START_TEST(f30_a_host_without_kvm)
{
	refuse("/nonexistent/kvm", -ENOENT, "kvm_intel");
	refuse("/nonexistent/kvm", -ENOENT, "/nonexistent/kvm");
}
END_TEST

START_TEST(no_permission)
{
	open_errno = EACCES;
	refuse(NULL, -EACCES, "group");
	open_errno = EPERM;
	refuse(NULL, -EACCES, "/dev/kvm");
	open_errno = EMFILE;
	refuse(NULL, -EMFILE, "Too many open files");
}
END_TEST

START_TEST(what_is_not_kvm)
{
	refuse("/dev/null", -ENOTSUP, "not a KVM device");
	api_version = 11;
	refuse(NULL, -ENOTSUP, "version 11");
}
END_TEST

START_TEST(f30_what_libvdb_cannot_do_without)
{
	static const struct {
		int cap;
		const char *word;
	} caps[] = {
	        {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
	        {KVM_CAP_IOEVENTFD, "doorbells (KVM_CAP_IOEVENTFD)"},
	        {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
	        {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	};

	for (size_t i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		missing_cap = caps[i].cap;
		refuse(NULL, -ENOTSUP, caps[i].word);
	}
}
END_TEST

static const struct vdb_doorbell_ring ring = {.ring_gpa = 0x10000, .sq_entries = 8, .cq_entries = 8};

/* What a VM on a host without `cap` says to a doorbell of `kind`. */
static int doorbell_without(int cap, uint32_t kind)
{
	struct vdb_doorbell_config config = {
	        .size = sizeof(config), .kind = kind, .addr = VDB_GPA_ANY, .rings = &ring, .ring_count = 1};
	struct vdb_doorbell *bell = NULL;
	static struct kvm_fixture f;
	int rc;

	missing_cap = cap;
	kvm_fixture_make(&f, NULL, 0);
	rc = vdb_doorbell_create(f.vm, &config, &bell);
	vdb_doorbell_destroy(bell);
	kvm_fixture_end(&f);
	return rc;
}

START_TEST(f30_without_read_only_memory_there_are_other_doorbells)
{
	ck_assert_int_eq(doorbell_without(KVM_CAP_READONLY_MEM, VDB_DOORBELL_PAGE), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "KVM_CAP_READONLY_MEM"));
	must(doorbell_without(KVM_CAP_READONLY_MEM, VDB_DOORBELL_MMIO));
	must(doorbell_without(KVM_CAP_READONLY_MEM, VDB_DOORBELL_PIO));
	must(doorbell_without(KVM_CAP_IOEVENTFD_ANY_LENGTH, VDB_DOORBELL_MMIO));
}
END_TEST

START_TEST(f30_an_irqchip_that_the_host_lacks)
{
	struct vdb_vm_config config = {.size = sizeof(config)};
	struct kvm_fixture f;
	struct vdb_vm *vm;

	missing_cap = KVM_CAP_IRQCHIP;
	config.irqchip = VDB_IRQCHIP_NONE;
	kvm_fixture_make(&f, &config, 0);
	config.irqchip = VDB_IRQCHIP_KERNEL;
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "KVM_CAP_IRQCHIP"));
	config.irqchip = 3;
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
	kvm_fixture_end(&f);
}
END_TEST

START_TEST(query_tells_what_there_is)
{
	struct vdb_kvm_info info = {.size = sizeof(info)};
	struct vdb_kvm *kvm;

	must(vdb_kvm_open(NULL, &kvm));
	must(vdb_kvm_query(kvm, &info));
	ck_assert_uint_eq(info.size, sizeof(info));
	ck_assert_uint_eq(info.api_version, KVM_API_VERSION);
	ck_assert_uint_ge(info.max_vcpus, 1);
	ck_assert_uint_ge(info.max_memslots, 32);
	info.size = 0;
	ck_assert_int_eq(vdb_kvm_query(kvm, &info), -EINVAL);
	vdb_kvm_close(kvm);
}
END_TEST

/* "VMs made from it live on." */
START_TEST(a_vm_outlives_the_handle_it_was_made_from)
{
	struct kvm_fixture f;
	struct vdb_vcpu *vcpu;

	kvm_fixture_make(&f, NULL, 1);
	vdb_kvm_close(f.kvm);
	f.kvm = NULL;
	must(vdb_vcpu_create(f.vm, 1, &vcpu));
	kvm_fixture_end(&f);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        f30_a_host_without_kvm,
	        no_permission,
	        what_is_not_kvm,
	        f30_what_libvdb_cannot_do_without,
	        f30_without_read_only_memory_there_are_other_doorbells,
	        f30_an_irqchip_that_the_host_lacks,
	        query_tells_what_there_is,
	        a_vm_outlives_the_handle_it_was_made_from,
	        NULL,
	};

	return kvm_tests_run("open", NULL, NULL, tests);
}
