/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* FAULTS */
/* WRAP: timerfd_create clock_gettime */
/* What befalls the process and its threads: a storm of signals, a stop, other CPUs, full eventfds: F23, F25
 * and F28. All the while guests read and write, and every byte is checked. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vdb/error.h>

#include "fault.h"
#include "image.h"
#include "rig.h"
#include "run.h"

#define SIZE (1u << 20)

static char path[64];
static struct vdb_loop *loop;
static struct vdb_backend *backend;
static pthread_t thread;
static pid_t loop_thread;
static struct mock_ram ram;
static struct mock guest;
static struct vdb_lane *lane;

static void *run(void *arg)
{
	(void)arg;
	__atomic_store_n(&loop_thread, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	ck_assert_msg(vdb_loop_run(loop) == 0, "%s", vdb_errmsg());
	return NULL;
}

/* The embedder's own thread runs the loop: signals arrive there. */
static void setup(void)
{
	struct vdb_file_config file = {.size = sizeof(file), .path = path};
	struct vdb_loop_config config = test_loop_config();
	struct vdb_lane_config at = {.size = sizeof(at)};

	image_make(path, SIZE, 5);
	ck_assert_int_eq(vdb_backend_file(&file, &backend), 0);
	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	mock_ram_open(&ram, 0, RIG_RAM);
	mock_open(&guest, &ram, &(struct vdb_ring_config){.gpa = RIG_RING, .sq_entries = 16});
	at.kick_fd = guest.kick;
	at.call_fd = guest.call;
	ck_assert_int_eq(vdb_lane_create(loop, guest.queue, backend, &at, &lane), 0);
	guest.queue = NULL;
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	mock_wait_ready(&guest, VDB_F_EVENT_IDX | VDB_F_SG);
	while (!__atomic_load_n(&loop_thread, __ATOMIC_ACQUIRE))
		sched_yield();
}

static void teardown(void)
{
	vdb_lane_destroy(lane, NULL, NULL);
	vdb_loop_stop(loop);
	pthread_join(thread, NULL);
	ck_assert_msg(vdb_loop_destroy(loop) == 0, "%s", vdb_errmsg());
	mock_close(&guest);
	mock_ram_close(&ram);
	vdb_backend_destroy(backend);
	unlink(path);
}

static int32_t ask(uint8_t op, uint32_t len, uint64_t offset)
{
	struct vdb_cqe cqe;

	ck_assert(mock_submit(&guest, op, RIG_DATA, len, offset, offset));
	for (unsigned i = 0; !vdb_guest_reap(&guest.g, &cqe); i++)
		if (i > 100)
			usleep(20);
	ck_assert_uint_eq(cqe.user_data, offset);
	return cqe.result;
}

/* Written, flushed and read again, n times. */
static void work(unsigned n)
{
	static unsigned char bytes[4096];

	for (unsigned i = 0; i < n; i++) {
		uint64_t at = i % 128 * 4096;

		image_pattern(bytes, sizeof(bytes), i);
		memcpy(mock_at(&ram, RIG_DATA), bytes, sizeof(bytes));
		ck_assert_int_eq(ask(VDB_OP_WRITE, 4096, at), 4096);
		ck_assert_int_eq(ask(VDB_OP_FLUSH, 0, at), 0);
		memset(mock_at(&ram, RIG_DATA), 0, sizeof(bytes));
		ck_assert_int_eq(ask(VDB_OP_READ, 4096, at), 4096);
		ck_assert_mem_eq(mock_at(&ram, RIG_DATA), bytes, sizeof(bytes));
	}
}

/* ---- F23 ---- */

static uint32_t signals, calm;

static void count_signal(int sig)
{
	(void)sig;
	__atomic_add_fetch(&signals, 1, __ATOMIC_RELAXED);
}

static void *keep_signalling(void *to)
{
	while (!__atomic_load_n(&calm, __ATOMIC_ACQUIRE)) {
		(void)pthread_kill(*(pthread_t *)to, SIGUSR1);
		usleep(20);
	}
	return NULL;
}

/* Without SA_RESTART: every wait and every transfer may be cut off. */
START_TEST(f23_a_storm_of_signals_at_the_loop)
{
	struct sigaction action = {.sa_handler = count_signal};
	pthread_t sender;

	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	setup();
	ck_assert_int_eq(pthread_create(&sender, NULL, keep_signalling, &thread), 0);
	while (__atomic_load_n(&signals, __ATOMIC_RELAXED) < 500)
		work(10);
	__atomic_store_n(&calm, 1, __ATOMIC_RELEASE);
	pthread_join(sender, NULL);
	teardown();
}
END_TEST

/* SigBlk of a thread, 0 if it is not one of ours. */
static unsigned long long blocked_in(const char *tid, bool *ours)
{
	char name[300], text[4096] = {0};
	unsigned long long mask = 0;
	const char *at;
	int fd;

	(void)snprintf(name, sizeof(name), "/proc/self/task/%s/status", tid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	*ours = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, "Name:\tvdb-");
	close(fd);
	at = strstr(text, "SigBlk:\t");
	if (at)
		mask = strtoull(at + strlen("SigBlk:\t"), NULL, 16);
	return mask;
}

/* So that no handler of the embedder's runs there, whatever it locks or logs. */
START_TEST(f23_threads_of_the_library_take_no_signals)
{
	struct vdb_loop_config config = test_loop_config();
	unsigned found = 0;
	struct dirent *entry;
	DIR *dir;

	ck_assert_int_eq(vdb_loop_create(&config, &loop), 0);
	ck_assert_int_eq(vdb_loop_start(loop, -1, NULL), 0);
	dir = opendir("/proc/self/task");
	while ((entry = readdir(dir))) {
		bool ours;
		unsigned long long mask = blocked_in(entry->d_name, &ours);

		if (!ours)
			continue;
		found++;
		for (int sig = 1; sig < 32; sig++)
			if (sig != SIGKILL && sig != SIGSTOP)
				ck_assert_msg(mask >> (sig - 1) & 1, "signal %d", sig);
	}
	closedir(dir);
	ck_assert_uint_ge(found, 1);
	ck_assert_int_eq(vdb_loop_join(loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(loop), 0);
}
END_TEST

/* ---- F25 ---- */

/* A process that is stopped and goes on, as after a suspension of the host, on one CPU, then on another. */
START_TEST(f25_stopped_and_moved_it_goes_on)
{
	int status = 0, toggles = 0;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (!child) {
		setup();
		work(400);
		teardown();
		_exit(0);
	}
	while (waitpid(child, &status, WNOHANG) == 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)(toggles++ % 2 ? sysconf(_SC_NPROCESSORS_ONLN) - 1 : 0), &set);
		(void)sched_setaffinity(child, sizeof(set), &set);
		ck_assert_int_eq(kill(child, SIGSTOP), 0);
		usleep(5000);
		ck_assert_int_eq(kill(child, SIGCONT), 0);
		usleep(5000);
	}
	ck_assert(WIFEXITED(status));
	ck_assert_int_eq(WEXITSTATUS(status), 0);
	ck_assert_int_ge(toggles, 2);
}
END_TEST

static bool wall, wall_matters;

int __real_timerfd_create(int clock, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_timerfd_create(int clock, int flags)
{
	wall = wall || clock == CLOCK_REALTIME;
	return __real_timerfd_create(clock, flags);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	if (wall_matters && clock == CLOCK_REALTIME)
		wall = true;
	return __real_clock_gettime(clock, now);
}

static struct vdb_timer *timer;

static void rang(void *arg)
{
	vdb_timer_destroy(timer);
	__atomic_store_n((uint32_t *)arg, 1, __ATOMIC_RELEASE);
}

static int arm_timer(void *arg)
{
	int err = vdb_timer_create(loop, rang, arg, &timer);

	if (!err)
		vdb_timer_arm(timer, 1000);
	return err;
}

/* The wall clock may jump to any time: nobody has asked it. */
START_TEST(f25_the_wall_clock_is_not_asked)
{
	uint32_t done = 0;

	wall_matters = true;
	setup();
	work(20);
	ck_assert_int_eq(vdb_loop_call(loop, arm_timer, &done), 0);
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE))
		usleep(100);
	teardown();
	wall_matters = false;
	ck_assert(!wall);
}
END_TEST

/* ---- F28 ---- */

#define FULL 0xfffffffffffffffeull

/* Whose counter is full has been told. */
START_TEST(f28_a_full_eventfd_is_one_that_was_told)
{
	uint64_t count = 0;

	setup();
	(void)!read(guest.call, &count, sizeof(count));
	ck_assert_int_eq(eventfd_write(guest.call, FULL), 0);
	work(50);
	ck_assert_int_eq(read(guest.call, &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, FULL);
	work(1);
	teardown();
}
END_TEST

/* Its owner left it blocking: nobody waits all the same. */
START_TEST(f28_a_full_eventfd_that_blocks_holds_up_nobody)
{
	struct vdb_lane_config at = {.size = sizeof(at)};
	struct vdb_backend *null;
	struct vdb_lane *second;
	struct mock_ram more;
	struct mock other;

	setup();
	ck_assert_int_eq(vdb_backend_null(SIZE, &null), 0);
	mock_ram_open(&more, 0, RIG_RAM);
	mock_open(&other, &more, &(struct vdb_ring_config){.gpa = RIG_RING, .sq_entries = 16});
	at.kick_fd = other.kick;
	at.call_fd = eventfd(0, EFD_CLOEXEC); /* not EFD_NONBLOCK */
	ck_assert_int_eq(eventfd_write(at.call_fd, FULL), 0);
	ck_assert_int_eq(vdb_lane_create(loop, other.queue, null, &at, &second), 0);
	other.queue = NULL;
	mock_wait_ready(&other, VDB_F_EVENT_IDX | VDB_F_SG);
	for (unsigned i = 0; i < 100; i++) {
		struct vdb_cqe cqe;

		ck_assert(mock_submit(&other, VDB_OP_READ, RIG_DATA, 512, 0, i));
		while (!vdb_guest_reap(&other.g, &cqe))
			usleep(20);
		work(1);
	}
	vdb_lane_destroy(second, NULL, NULL);
	close(at.call_fd);
	teardown();
	mock_close(&other);
	mock_ram_close(&more);
	vdb_backend_destroy(null);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("storm");

	tcase_add_test(tc, f23_a_storm_of_signals_at_the_loop);
	tcase_add_test(tc, f23_threads_of_the_library_take_no_signals);
	tcase_add_test(tc, f25_stopped_and_moved_it_goes_on);
	tcase_add_test(tc, f25_the_wall_clock_is_not_asked);
	tcase_add_test(tc, f28_a_full_eventfd_is_one_that_was_told);
	tcase_add_test(tc, f28_a_full_eventfd_that_blocks_holds_up_nobody);
	return test_run("faults_storm", tc);
}
