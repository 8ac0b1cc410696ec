/* SPDX-License-Identifier: Apache-2.0 */
/* LABELS: slow */
/* TIMEOUT: 300 */
/* A kick gets a vCPU out of the guest whatever it does, and leaves no trace in its thread. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kvm_fixture.h"

#define RACES 100000u

static struct kvm_fixture f;

static void setup(void)
{
	kvm_fixture_make(&f, NULL, 1);
}

static void teardown(void)
{
	kvm_fixture_end(&f);
}

GUEST(spin, "1: incl (%rdi)\n jmp 1b");

static uint64_t interrupts(void)
{
	return kvm_fixture_stats(&f, 0).exits_intr;
}

static void start_spinning(void)
{
	LOAD(&f, 0, spin, GUEST_DATA);
	must(vdb_vcpu_start(f.vcpu[0], -1, NULL));
	while (!kvm_fixture_word(&f, GUEST_DATA))
		sched_yield();
}

/* A kick that is lost leaves us here until the test's timeout. */
static void kick_and_see(void)
{
	uint64_t before = interrupts();

	vdb_vcpu_kick(f.vcpu[0]);
	for (unsigned i = 0; interrupts() == before; i++) {
		if (i > 2000)
			sched_yield();
	}
}

START_TEST(kick_gets_a_spinning_guest_out)
{
	uint32_t word;

	start_spinning();
	kick_and_see();
	/* It goes on by itself. */
	word = kvm_fixture_word(&f, GUEST_DATA);
	while (kvm_fixture_word(&f, GUEST_DATA) == word)
		sched_yield();
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).kicks, 1);
	ck_assert_uint_eq(f.events, 0);
}
END_TEST

/* Each kick comes the moment the vCPU has taken the one before: about its next entry. */
START_TEST(no_kick_is_lost_in_races_against_entry)
{
	start_spinning();
	for (unsigned i = 0; i < RACES; i++)
		kick_and_see();
	ck_assert_uint_ge(interrupts(), RACES);
	ck_assert_uint_eq(f.events, 0);
}
END_TEST

static uint32_t stop_kicking;

static void *keep_kicking(void *arg)
{
	while (!__atomic_load_n(&stop_kicking, __ATOMIC_ACQUIRE))
		vdb_vcpu_kick(arg);
	return NULL;
}

GUEST(shortly, "mov $2000, %ecx\n 1: dec %ecx\n jnz 1b\n ud2");

static void run_shortly_among_kicks(unsigned times)
{
	pthread_t thread;

	__atomic_store_n(&stop_kicking, 0, __ATOMIC_RELEASE);
	ck_assert_int_eq(pthread_create(&thread, NULL, keep_kicking, f.vcpu[0]), 0);
	for (unsigned i = 0; i < times; i++) {
		LOAD(&f, 0, shortly, 0);
		kvm_fixture_run(&f, 0);
	}
	__atomic_store_n(&stop_kicking, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
}

/* The default action of the kick signal would end the process. */
START_TEST(the_threads_mask_comes_back_and_nothing_is_pending)
{
	sigset_t mask, after, pending;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGRTMIN + 3);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	run_shortly_among_kicks(300);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < SIGRTMAX; sig++)
		ck_assert_int_eq(sigismember(&mask, sig), sigismember(&after, sig));
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&pending, SIGRTMIN), 0);
}
END_TEST

START_TEST(a_signal_that_was_blocked_stays_blocked_and_not_pending)
{
	sigset_t mask, after, pending;

	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	run_shortly_among_kicks(100);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert_int_eq(sigismember(&after, SIGRTMIN), 1);
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&pending, SIGRTMIN), 0);
}
END_TEST

static volatile sig_atomic_t handled;

static void on_signal(int sig)
{
	(void)sig;
	handled = handled + 1;
}

START_TEST(the_kick_signal_is_the_embedders_choice)
{
	struct vdb_vm_config config = {.size = sizeof(config), .kick_signal = SIGUSR2};
	struct sigaction action = {.sa_handler = on_signal}, now;

	kvm_fixture_end(&f);
	sigaction(SIGUSR2, &action, NULL);
	kvm_fixture_make(&f, &config, 1);
	start_spinning();
	for (unsigned i = 0; i < 100; i++)
		kick_and_see();
	/* Nobody handled it, and our handler is still there. */
	ck_assert_int_eq(handled, 0);
	sigaction(SIGUSR2, NULL, &now);
	ck_assert_ptr_eq(now.sa_handler, on_signal);
	run_shortly_among_kicks(0);
	ck_assert_int_eq(handled, 0);
}
END_TEST

static void release_guest(int sig)
{
	on_signal(sig);
	f.ram[GUEST_DATA] = 1;
}

GUEST(until_released, "1: cmpl $0, (%rdi)\n je 1b\n ud2");

/* Only the kick signal is changed inside KVM_RUN: a signal for this thread is handled although the
 * guest does nothing but wait for it. */
START_TEST(other_signals_are_handled_while_the_guest_runs)
{
	struct sigaction action = {.sa_handler = release_guest}, old;
	const struct itimerspec soon = {.it_value.tv_nsec = 5000000};
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	timer_t timer;

	event._sigev_un._tid = gettid();
	sigaction(SIGUSR1, &action, &old);
	ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	for (int i = 1; i <= 3; i++) {
		f.ram[GUEST_DATA] = 0;
		LOAD(&f, 0, until_released, GUEST_DATA);
		ck_assert_int_eq(timer_settime(timer, 0, &soon, NULL), 0);
		kvm_fixture_run(&f, 0);
		ck_assert_int_eq(handled, i);
	}
	timer_delete(timer);
	sigaction(SIGUSR1, &old, NULL);
}
END_TEST

/* Sent when immediate_exit has been taken already, or by a stranger: while it is pending,
 * no KVM_RUN gets into the guest. */
START_TEST(a_signal_without_a_kick_does_not_stay_pending)
{
	sigset_t mask, pending;
	uint32_t word;

	sigemptyset(&mask);
	sigaddset(&mask, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &mask, NULL);
	start_spinning();
	for (unsigned i = 0; i < 100; i++) {
		ck_assert_int_eq(kill(getpid(), SIGRTMIN), 0);
		do {
			sched_yield();
			sigpending(&pending);
		} while (sigismember(&pending, SIGRTMIN));
	}
	word = kvm_fixture_word(&f, GUEST_DATA);
	while (kvm_fixture_word(&f, GUEST_DATA) == word)
		sched_yield();
	ck_assert_uint_eq(kvm_fixture_stats(&f, 0).kicks, 0);
}
END_TEST

START_TEST(a_kick_signal_that_cannot_be_blocked_is_refused)
{
	struct vdb_vm_config config = {.size = sizeof(config), .kick_signal = SIGKILL};
	struct vdb_vm *vm;

	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
	ck_assert_ptr_nonnull(strstr(vdb_errmsg(), "signal 9"));
	config.kick_signal = 65;
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
	config.kick_signal = -1;
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
	config.kick_signal = 32; /* the C library's own */
	ck_assert_int_eq(vdb_vm_create(f.kvm, f.mem, &config, &vm), -EINVAL);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
	        kick_gets_a_spinning_guest_out,
	        no_kick_is_lost_in_races_against_entry,
	        the_threads_mask_comes_back_and_nothing_is_pending,
	        a_signal_that_was_blocked_stays_blocked_and_not_pending,
	        the_kick_signal_is_the_embedders_choice,
	        other_signals_are_handled_while_the_guest_runs,
	        a_signal_without_a_kick_does_not_stay_pending,
	        a_kick_signal_that_cannot_be_blocked_is_refused,
	        NULL,
	};

	return kvm_tests_run("kick", setup, teardown, tests);
}
