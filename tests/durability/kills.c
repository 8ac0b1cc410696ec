/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage: durability_kills KILLS TINYVMM GUEST [SEED]
 *
 * F18: tinyvmm is killed by SIGKILL while its guest writes (guest.c), again and again, at random times and
 * with random options, on one image. Each time every sector holds what was completed, or what was issued and
 * not completed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"

#define PATIENCE_MS 120000u
#define WRITES 50u       /* before a kill, at least */
#define LONGEST_MS 250u  /* from then to the kill */
#define MOST_OPTIONS 32u /* words of a command */

struct kills {
	const char *tinyvmm, *guest;
	uint64_t chance;
	char dir[64], image[96], file[96];
	struct log *log;
	bool direct; /* the image can be had past the page cache */
	uint32_t begun[LOG_SECTORS], found[LOG_SECTORS];
	struct findings findings;
	uint64_t writes, flushes, sectors, switches;
	uint64_t unflushed; /* sectors completed, and not yet durable, when it was killed */
	uint64_t in_flight; /* sectors issued and not completed */
};

static uint32_t some(struct kills *k, uint32_t below)
{
	k->chance ^= k->chance << 13;
	k->chance ^= k->chance >> 7;
	k->chance ^= k->chance << 17;
	return (uint32_t)((k->chance >> 32) * below >> 32);
}

static void nap_us(long us)
{
	const struct timespec t = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	nanosleep(&t, NULL);
}

/* ---- Its files ---- */

static void open_files(struct kills *k)
{
	int fd;

	(void)snprintf(k->dir, sizeof(k->dir), "/tmp/vdb-durability-XXXXXX");
	if (!mkdtemp(k->dir))
		die("%s: %s", k->dir, strerror(errno));
	(void)snprintf(k->image, sizeof(k->image), "%s/image", k->dir);
	(void)snprintf(k->file, sizeof(k->file), "%s/log", k->dir);
	disk_make(k->image);
	fd = open(k->image, O_RDONLY | O_DIRECT | O_CLOEXEC);
	k->direct = fd >= 0;
	if (k->direct)
		close(fd);
	else
		(void)fprintf(stderr, "skipped part: O_DIRECT, which %s does not have\n", k->dir);
	fd = open(k->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, LOG_BYTES))
		die("%s: %s", k->file, strerror(errno));
	k->log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (k->log == MAP_FAILED)
		die("%s: mmap: %s", k->file, strerror(errno));
	close(fd);
}

static void close_files(const struct kills *k)
{
	(void)unlink(k->image);
	(void)unlink(k->file);
	(void)rmdir(k->dir);
}

/* The guest goes on where the disk is. */
static void begin_log(struct kills *k)
{
	struct log *log = k->log;

	memset(log, 0, offsetof(struct log, issued));
	log->magic = LOG_MAGIC;
	log->mode = some(k, 4) ? LOG_WRITE_BACK : LOG_WRITE_THROUGH;
	log->depth = 1 + some(k, 24);
	log->seed = k->chance;
	memcpy(k->begun, k->found, sizeof(k->begun));
	memcpy(log->issued, k->found, sizeof(log->issued));
	memcpy(log->completed, k->found, sizeof(log->completed));
	memcpy(log->durable, k->found, sizeof(log->durable));
}

/* ---- tinyvmm ---- */

static void choose(struct kills *k, const char **words, char *disk, size_t room)
{
	unsigned n = 0;

	(void)snprintf(disk, room, "path=%s%s", k->image, some(k, 4) || !k->direct ? "" : ",direct");
	words[n++] = k->tinyvmm;
	words[n++] = "run";
	words[n++] = "--kernel";
	words[n++] = k->guest;
	words[n++] = "--memory";
	words[n++] = "16M";
	words[n++] = "--disk";
	words[n++] = disk;
	words[n++] = "--pmem";
	words[n] = disk + strlen(disk) + 1;
	(void)snprintf(disk + strlen(disk) + 1, room - strlen(disk) - 1, "path=%s", k->file);
	n++;
	words[n++] = "--transport";
	words[n++] = some(k, 2) ? "pci" : "mmio";
	words[n++] = "--engine";
	words[n++] = some(k, 3) ? "auto" : "epoll";
	if (some(k, 2))
		words[n++] = "--packed";
	if (!some(k, 4)) {
		words[n++] = "--poll";
		words[n++] = "50";
	}
	words[n] = NULL;
}

static pid_t start(struct kills *k)
{
	const char *words[MOST_OPTIONS];
	char texts[512];
	pid_t pid;
	int null;

	choose(k, words, texts, sizeof(texts));
	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid)
		return pid;
	null = open("/dev/null", O_RDWR);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
		_exit(126);
	execv(k->tinyvmm, (char *const *)(uintptr_t)words);
	_exit(127);
}

/* tinyvmm ends by us alone. */
static void expect_alive(const struct kills *k, pid_t pid)
{
	int status;

	if (waitpid(pid, &status, WNOHANG) == pid)
		die("tinyvmm ended by itself: status %#x", status);
	if (__atomic_load_n(&k->log->state, __ATOMIC_ACQUIRE) > LOG_RUNS) {
		kill(pid, SIGKILL);
		die("the guest gave up: state %u, %u", k->log->state, k->log->wrong);
	}
}

static void kill_it(struct kills *k, pid_t pid)
{
	int status;

	for (uint32_t ms = 0; __atomic_load_n(&k->log->writes, __ATOMIC_ACQUIRE) < WRITES; ms++) {
		expect_alive(k, pid);
		if (ms == PATIENCE_MS) {
			kill(pid, SIGKILL);
			die("the guest wrote %llu times in two minutes", (unsigned long long)k->log->writes);
		}
		nap_us(1000);
	}
	nap_us(some(k, LONGEST_MS * 1000));
	expect_alive(k, pid);
	if (kill(pid, SIGKILL) || waitpid(pid, &status, 0) != pid)
		die("kill: %s", strerror(errno));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		die("tinyvmm ended by itself: status %#x", status);
}

/* ---- What is left ---- */

static void judge(struct kills *k)
{
	const struct log *log = k->log;

	disk_check(k->image, k->begun, log->completed, log->issued, k->found, &k->findings);
	for (uint32_t i = 0; i < LOG_SECTORS; i++) {
		k->unflushed += log->completed[i] > log->durable[i];
		k->in_flight += log->issued[i] > log->completed[i];
		if (log->issued[i] - log->completed[i] > 1 || log->durable[i] > log->completed[i])
			die("the guest's log is wrong about sector %u", i);
	}
	k->writes += log->writes;
	k->flushes += log->flushes;
	k->sectors += log->sectors;
	k->switches += log->switches;
}

static int report(const struct kills *k, unsigned kills)
{
	int wrong = 0;

	printf("%u kills: %llu writes of %llu sectors, %llu flushes, %llu switches of the cache were "
	       "complete; when "
	       "it was killed, %llu sectors complete and not flushed, %llu in flight\n",
	       kills, (unsigned long long)k->writes, (unsigned long long)k->sectors,
	       (unsigned long long)k->flushes, (unsigned long long)k->switches,
	       (unsigned long long)k->unflushed, (unsigned long long)k->in_flight);
	wrong = findings_print(&k->findings);
	if (kills >= 100 && (!k->flushes || !k->unflushed || !k->in_flight)) {
		(void)fprintf(stderr, "what was to be shown never happened\n");
		wrong = 1;
	}
	return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static struct kills k;
	unsigned kills = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 0;
	int result;

	if (argc < 4 || !kills) {
		(void)fprintf(stderr, "usage: %s KILLS TINYVMM GUEST [SEED]\n", argv[0]);
		return 2;
	}
	if (access("/dev/kvm", R_OK | W_OK)) {
		(void)fprintf(stderr, "skipped: /dev/kvm: %s\n", strerror(errno));
		return 77;
	}
	k.tinyvmm = argv[2];
	k.guest = argv[3];
	if (getrandom(&k.chance, sizeof(k.chance), 0) != sizeof(k.chance))
		die("getrandom: %s", strerror(errno));
	if (argc > 4)
		k.chance = strtoull(argv[4], NULL, 0);
	k.chance |= 1;
	printf("seed %#llx\n", (unsigned long long)k.chance);
	open_files(&k);
	for (unsigned i = 0; i < kills; i++) {
		begin_log(&k);
		kill_it(&k, start(&k));
		judge(&k);
	}
	result = report(&k, kills);
	if (!result)
		close_files(&k);
	else
		(void)fprintf(stderr, "left: %s\n", k.dir);
	return result;
}
