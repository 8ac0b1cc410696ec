/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: tsan */
/* WRAP: ioctl */
/* A VM is destroyed while another thread looks at a vCPU's state: who closes it, and when. */
#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>

#include "base/thread.h"
#include "kvm_fixture.h"

static struct kvm_fixture f;
static uint32_t inside, go, saved, destroyed;
static pthread_t closer;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

/* Reading the registers takes as long as the test wants. */
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	unsigned long arg;
	va_list list;

	va_start(list, request);
	arg = va_arg(list, unsigned long);
	va_end(list);
	if (request == KVM_GET_REGS && vdb__on_loop_thread()) {
		count_done(&inside);
		wait_for32(&go, 1);
	}
	return __real_ioctl(fd, request, arg);
}

static void *look_on_a_loop(void *arg)
{
	struct vdb_x86_regs regs;

	(void)arg;
	vdb__thread_loop = &f;
	must(vdb_x86_get_regs(f.vcpu[0], &regs));
	count_done(&saved);
	vdb__thread_loop = NULL;
	return NULL;
}

static void on_destroyed(void *arg)
{
	(void)arg;
	closer = pthread_self();
	count_done(&destroyed);
}

static void *destroy(void *arg)
{
	(void)arg;
	must(vdb_vm_destroy(f.vm, on_destroyed, NULL));
	return NULL;
}

static void nap(void)
{
	const struct timespec ms20 = {.tv_nsec = 20000000};

	nanosleep(&ms20, NULL);
}

/* Begins to look; what follows begins to destroy, and must not end before the look. */
static pthread_t begin(void)
{
	pthread_t looker;

	ck_assert_int_eq(pthread_create(&looker, NULL, look_on_a_loop, NULL), 0);
	wait_for32(&inside, 1);
	return looker;
}

static void end(pthread_t looker)
{
	nap();
	ck_assert_uint_eq(__atomic_load_n(&destroyed, __ATOMIC_ACQUIRE), 0);
	count_done(&go);
	wait_for32(&saved, 1);
	pthread_join(looker, NULL);
	wait_for32(&destroyed, 1);
	ck_assert(!pthread_equal(closer, looker));
	f.vm = NULL;
	kvm_fixture_end(&f);
}

START_TEST(the_destroyer_waits_and_closes)
{
	pthread_t looker, destroyer;

	kvm_fixture_make(&f, NULL, 1);
	looker = begin();
	ck_assert_int_eq(pthread_create(&destroyer, NULL, destroy, NULL), 0);
	end(looker);
	ck_assert(pthread_equal(closer, destroyer));
	pthread_join(destroyer, NULL);
}
END_TEST

START_TEST(a_loops_thread_does_not_destroy_instead)
{
	pthread_t looker, destroyer;

	kvm_fixture_make(&f, NULL, 1);
	looker = begin();
	vdb__thread_loop = &f;
	ck_assert_int_eq(vdb_vm_destroy(f.vm, NULL, NULL), -EDEADLK);
	vdb__thread_loop = NULL;
	ck_assert_int_eq(pthread_create(&destroyer, NULL, destroy, NULL), 0);
	end(looker);
	pthread_join(destroyer, NULL);
}
END_TEST

START_TEST(the_worker_waits_and_closes)
{
	struct vdb_vm_config config = {.size = sizeof(config)};
	pthread_t looker;

	must(vdb_worker_create(NULL, &config.worker));
	kvm_fixture_make(&f, &config, 1);
	looker = begin();
	vdb__thread_loop = &f;
	(void)destroy(NULL);
	vdb__thread_loop = NULL;
	end(looker);
	ck_assert(!pthread_equal(closer, pthread_self()));
	must(vdb_worker_destroy(config.worker));
}
END_TEST

GUEST(spin, "1: lock incl (%rdi)\n jmp 1b");

/* vCPU 0 is looked at, vCPU 1 is the last to leave. */
START_TEST(the_last_vcpu_waits_and_closes)
{
	pthread_t looker;

	kvm_fixture_make(&f, NULL, 2);
	LOAD(&f, 1, spin, GUEST_DATA);
	must(vdb_vcpu_start(f.vcpu[1], -1, NULL));
	while (!kvm_fixture_word(&f, GUEST_DATA))
		nap();
	looker = begin();
	(void)destroy(NULL);
	end(looker);
	ck_assert(!pthread_equal(closer, pthread_self()));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        the_destroyer_waits_and_closes,
	        a_loops_thread_does_not_destroy_instead,
	        the_worker_waits_and_closes,
	        the_last_vcpu_waits_and_closes,
	        NULL,
	};

	return kvm_tests_run("visit", NULL, NULL, tests);
}
