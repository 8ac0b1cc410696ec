/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "run.h"

static void nap(void)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	nanosleep(&ms, NULL);
}

void kvm_fixture_need(void)
{
	struct vdb_kvm *kvm;

	if (vdb_kvm_open(NULL, &kvm)) {
		fprintf(stderr, "skipped: %s\n", vdb_errmsg());
		exit(77);
	}
	vdb_kvm_close(kvm);
}

int64_t kvm_fixture_must(int64_t rc, const char *what, const char *file, int line)
{
	if (rc < 0)
		ck_abort_msg("%s:%d: %s: %s (%s)", file, line, what, vdb_errmsg(), strerror((int)-rc));
	return rc;
}

void wait_for32(const uint32_t *word, uint32_t value)
{
	for (int i = 0; i < 60000; i++) {
		if (__atomic_load_n(word, __ATOMIC_ACQUIRE) >= value)
			return;
		nap();
	}
	ck_abort_msg("waited a minute for %u, it is %u", value, __atomic_load_n(word, __ATOMIC_ACQUIRE));
}

void count_done(void *counter)
{
	__atomic_fetch_add((uint32_t *)counter, 1, __ATOMIC_ACQ_REL);
}

static void on_report(void *ctx, struct vdb_bus_access *access)
{
	struct kvm_fixture *f = ctx;
	uint32_t value = 0, i;

	memcpy(&value, access->data, access->len <= sizeof(value) ? access->len : sizeof(value));
	/* Several vCPUs at once; who sees the count sees what it counts. */
	pthread_mutex_lock(&f->lock);
	i = f->reports;
	if (i < FIXTURE_REPORTS)
		f->report[i] = value;
	__atomic_store_n(&f->reports, i + 1, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&f->lock);
}

static int on_event(void *arg, const struct vdb_event *event)
{
	struct kvm_fixture *f = arg;

	pthread_mutex_lock(&f->lock);
	f->event = *event;
	snprintf(f->text, sizeof(f->text), "%s", event->text);
	f->event.text = f->text;
	pthread_mutex_unlock(&f->lock);
	__atomic_fetch_add(&f->events, 1, __ATOMIC_ACQ_REL);
	return f->on_event ? f->on_event(f, event) : VDB_EVENT_STOP;
}

static void make_memory(struct kvm_fixture *f)
{
	struct vdb_region_config region = {
	        .size = sizeof(region),
	        .len = GUEST_MEM,
	        .backing = VDB_MEM_HOST,
	};

	f->ram = mmap(NULL, GUEST_MEM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(f->ram, MAP_FAILED);
	region.host = f->ram;
	must(vdb_mem_create(&f->mem));
	must(vdb_mem_add(f->mem, &region));
}

static void share_memory(struct kvm_fixture *f)
{
	struct vdb_region_config region = {
	        .size = sizeof(region),
	        .len = GUEST_MEM,
	        .backing = VDB_MEM_FD,
	        .fd = memfd_create("guest", MFD_CLOEXEC),
	};

	ck_assert_int_ge(region.fd, 0);
	ck_assert_int_eq(ftruncate(region.fd, GUEST_MEM), 0);
	f->ram = mmap(NULL, GUEST_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0);
	ck_assert_ptr_ne(f->ram, MAP_FAILED);
	must(vdb_mem_create(&f->mem));
	must(vdb_mem_add(f->mem, &region));
	close(region.fd);
}

static void make(struct kvm_fixture *f, const struct vdb_vm_config *config, uint32_t vcpus,
                 void (*memory)(struct kvm_fixture *))
{
	struct vdb_vm_config own = {.size = sizeof(own)};
	const struct vdb_bus_ops ops = {.size = sizeof(ops), .write = on_report};

	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	if (config)
		own = *config;
	own.event = on_event;
	own.event_arg = f;
	memory(f);
	must(vdb_kvm_open(NULL, &f->kvm));
	must(vdb_vm_create(f->kvm, f->mem, &own, &f->vm));
	must(vdb_bus_add(vdb_vm_pio(f->vm), "report", PORT_REPORT, 4, &ops, f));
	for (f->vcpus = 0; f->vcpus < vcpus; f->vcpus++)
		must(vdb_vcpu_create(f->vm, f->vcpus, &f->vcpu[f->vcpus]));
}

void kvm_fixture_make(struct kvm_fixture *f, const struct vdb_vm_config *config, uint32_t vcpus)
{
	make(f, config, vcpus, make_memory);
}

void kvm_fixture_make_shared(struct kvm_fixture *f, const struct vdb_vm_config *config, uint32_t vcpus)
{
	make(f, config, vcpus, share_memory);
}

void kvm_fixture_end(struct kvm_fixture *f)
{
	uint32_t gone = 0;

	must(vdb_vm_destroy(f->vm, count_done, &gone));
	wait_for32(&gone, 1);
	must(vdb_mem_destroy(f->mem));
	munmap(f->ram, GUEST_MEM);
	vdb_kvm_close(f->kvm);
}

void kvm_fixture_load(struct kvm_fixture *f, uint32_t vcpu, const void *code, size_t bytes, uint64_t arg)
{
	struct vdb_x86_start start = {
	        .size = sizeof(start),
	        .entry = GUEST_CODE + vcpu * GUEST_STRIDE,
	        .stack = GUEST_STACK + vcpu * 0x4000u,
	        .arg = {arg},
	        .tables = GUEST_TABLES,
	};

	ck_assert_uint_le(bytes, GUEST_STRIDE);
	memcpy(f->ram + start.entry, code, bytes);
	must(vdb_x86_start64(f->vcpu[vcpu], &start));
}

void kvm_fixture_run(struct kvm_fixture *f, uint32_t vcpu)
{
	must(vdb_vcpu_run(f->vcpu[vcpu]));
	ck_assert_msg(f->event.kind == VDB_EVENT_SHUTDOWN, "the guest ended by: %s", f->text);
}

struct vdb_vcpu_stats kvm_fixture_stats(struct kvm_fixture *f, uint32_t vcpu)
{
	struct vdb_vcpu_stats stats = {.size = sizeof(stats)};

	must(vdb_vcpu_stats(f->vcpu[vcpu], &stats));
	return stats;
}

uint32_t kvm_fixture_word(const struct kvm_fixture *f, uint32_t gpa)
{
	return __atomic_load_n((const uint32_t *)(const void *)(f->ram + gpa), __ATOMIC_ACQUIRE);
}

int kvm_tests_run(const char *name, void (*setup)(void), void (*teardown)(void), const TTest *const *tests)
{
	TCase *tc = tcase_create(name);

	kvm_fixture_need();
	tcase_add_checked_fixture(tc, setup, teardown);
	for (; *tests; tests++)
		tcase_add_test(tc, *tests);
	return test_run_within(name, tc, 120);
}
