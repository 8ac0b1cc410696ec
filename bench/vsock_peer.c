/* SPDX-License-Identifier: Apache-2.0 */
/* The host's program: it takes, gives, or gives back. And the limit, where a thread is in the guest's place.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/histogram.h"
#include "guest/vsock_job.h"
#include "vsock.h"

struct vsock_peer {
	pid_t pid;
	int said; /* a pipe: a byte when it is ready, and a tally at its end */
	const struct vsock_job *job;
};

/* What went through a socket, whose data begins with a number at each `size`. */
struct tally {
	uint64_t bytes, wrong;
};

static uint8_t buffer[VSOCK_JOB_MOST];

/* ---- Bytes ---- */

static void stamp(uint64_t number)
{
	memcpy(buffer, &number, sizeof(number));
}

static void check(struct tally *t, uint64_t len, uint32_t size)
{
	uint64_t at = (t->bytes + size - 1) / size * size - t->bytes, number;

	for (; at + sizeof(number) <= len; at += size) {
		memcpy(&number, buffer + at, sizeof(number));
		t->wrong += number != (t->bytes + at) / size;
	}
	t->bytes += len;
}

/* False: the other side has ended. */
static bool give(int fd, uint32_t size)
{
	ssize_t n;

	for (uint32_t at = 0; at < size; at += (uint32_t)n) {
		n = send(fd, buffer + at, size - at, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
	}
	return true;
}

/* What there is, at most `most`; 0: the other side has ended. */
static uint32_t take(int fd, uint32_t most)
{
	ssize_t n = recv(fd, buffer, most, 0);

	return n > 0 ? (uint32_t)n : 0;
}

static bool take_all(int fd, uint32_t size)
{
	uint32_t got = 0, n = 1;

	for (; n && got < size; got += n)
		n = take(fd, size - got);
	return got == size;
}

/* ---- The program ---- */

static void serve(int fd, const struct vsock_job *job, struct tally *t)
{
	uint32_t n = 1;

	switch (job->work) {
	case VSOCK_SEND:
		while ((n = take(fd, sizeof(buffer))))
			check(t, n, job->size);
		return;
	case VSOCK_RECEIVE:
		for (uint64_t number = 0;; number++) {
			stamp(number);
			if (!give(fd, job->size))
				return;
		}
	default:
		while (take_all(fd, job->size) && give(fd, job->size))
			t->bytes += job->size;
	}
}

static int listen_vsock(void)
{
	const struct sockaddr_vm at = {
	        .svm_family = AF_VSOCK, .svm_port = VSOCK_JOB_PORT, .svm_cid = VMADDR_CID_ANY};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) || listen(fd, 1))
		bench_die(BENCH_FAILED, "AF_VSOCK: %s", strerror(errno));
	return fd;
}

_Noreturn static void be_peer(const struct bench_options *o, const struct vsock_job *job, int fd, int said)
{
	struct tally t = {0};
	int listener = -1;
	char ready = 1;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	bench_pin(o->loop_cpu);
	if (job->by == VSOCK_VHOST)
		listener = listen_vsock();
	if (write(said, &ready, 1) != 1)
		_exit(1);
	if (listener >= 0)
		fd = accept(listener, NULL, NULL);
	serve(fd, job, &t);
	_exit(write(said, &t, sizeof(t)) != (ssize_t)sizeof(t));
}

struct vsock_peer *vsock_peer_start(const struct bench_options *o, const struct vsock_job *job, int *fd)
{
	struct vsock_peer *peer = calloc(1, sizeof(*peer));
	int ends[2], pair[2];
	char ready;

	if (!peer || pipe2(ends, O_CLOEXEC) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		bench_die(BENCH_FAILED, "a socket and a pipe: %s", strerror(errno));
	peer->pid = fork();
	if (peer->pid < 0)
		bench_die(BENCH_FAILED, "fork: %s", strerror(errno));
	if (!peer->pid) {
		close(ends[0]);
		close(pair[0]);
		be_peer(o, job, pair[1], ends[1]);
	}
	close(ends[1]);
	close(pair[1]);
	peer->said = ends[0];
	peer->job = job;
	*fd = pair[0];
	if (job->by == VSOCK_VHOST) {
		close(pair[0]);
		*fd = -1;
	}
	if (read(peer->said, &ready, 1) != 1)
		bench_die(BENCH_FAILED, "the host's program does not start");
	return peer;
}

void vsock_peer_end(struct vsock_peer *peer, uint64_t sent)
{
	struct tally t;

	if (read(peer->said, &t, sizeof(t)) != (ssize_t)sizeof(t))
		bench_die(BENCH_FAILED, "the host's program did not come to its end");
	if (waitpid(peer->pid, NULL, 0) != peer->pid)
		bench_die(BENCH_FAILED, "waitpid: %s", strerror(errno));
	if (t.wrong || (peer->job->work != VSOCK_RECEIVE && t.bytes != sent))
		bench_die(BENCH_FAILED, "of %llu bytes %llu came, %llu numbers of them wrong",
		          (unsigned long long)sent, (unsigned long long)t.bytes, (unsigned long long)t.wrong);
	close(peer->said);
	free(peer);
}

/* ---- The limit ---- */

/* One system call, or a round trip. False: the other side has ended. */
static bool step(int fd, const struct vsock_job *job, struct tally *t, struct histogram *trips)
{
	uint64_t start = bench_tsc();
	uint32_t n;

	switch (job->work) {
	case VSOCK_SEND:
		stamp(t->bytes / job->size);
		t->bytes += job->size;
		return give(fd, job->size);
	case VSOCK_RECEIVE:
		n = take(fd, job->size);
		check(t, n, job->size);
		return n;
	default:
		t->bytes += job->size;
		if (!give(fd, job->size) || !take_all(fd, job->size))
			return false;
		histogram_add(trips, bench_tsc() - start);
		return true;
	}
}

static uint64_t run_for(int fd, const struct vsock_job *job, struct tally *t, struct histogram *trips,
                        uint64_t ticks)
{
	uint64_t start = bench_tsc(), ran = 0;

	while (ran < ticks) {
		if (!step(fd, job, t, trips))
			bench_die(BENCH_FAILED, "the host's program has ended");
		ran = bench_tsc() - start;
	}
	return ran;
}

void vsock_socket(const struct bench_options *o, const struct vsock_job *job, struct vsock_result *result)
{
	uint64_t ticks = bench_ms_to_ticks(o->ms), before;
	static struct histogram trips;
	struct tally t = {0};
	int fd;
	struct vsock_peer *peer = vsock_peer_start(o, job, &fd);

	bench_pin(job->shared ? o->loop_cpu : o->vcpu_cpu);
	(void)run_for(fd, job, &t, &trips, ticks / VSOCK_WARM_UP);
	before = t.bytes;
	trips = (struct histogram){0};
	result->ran = run_for(fd, job, &t, &trips, ticks);
	result->bytes = t.bytes - before;
	result->completed = result->bytes / job->size;
	result->all = t.bytes;
	result->p50 = histogram_percentile(&trips, 50);
	result->p99 = histogram_percentile(&trips, 99);
	close(fd);
	bench_unpin();
	if (t.wrong)
		bench_die(BENCH_FAILED, "%llu numbers are wrong", (unsigned long long)t.wrong);
	vsock_peer_end(peer, t.bytes);
}
