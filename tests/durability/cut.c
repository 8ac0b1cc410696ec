/* SPDX-License-Identifier: Apache-2.0 */
/*
 * F18, power cuts: what the guest (guest.c) has been told is durable must get out of a machine that is about
 * to lose its power. A relay beside tinyvmm writes it to a journal, a disk of its own, past the page cache.
 *
 * usage: durability_cut image IMAGE           a new disk
 *        durability_cut log DISK LOG JOURNAL  the guest's log, from where DISK is, and an empty journal
 *        durability_cut relay LOG JOURNAL     says `running`, and goes on until the power goes
 *        durability_cut check IMAGE JOURNAL   afterwards; 1: something is lost
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "disk.h"

#define JOURNAL_MAGIC 0x6c6e726a31626476ull
#define PARTS 3u /* how the disk was at the beginning; then by turns, so that one is always whole */
#define RUNNING_WRITES 100u /* and one flush */
#define PAUSE_NS 10000000
#define PATIENCE 9000u /* pauses without a write */

struct part {
	uint64_t magic, number, sum;
	uint64_t writes, sectors, flushes, switches;
	uint8_t pad[4096 - 56];
	uint32_t durable[LOG_SECTORS];
};

static uint64_t sum_of(const struct part *part)
{
	uint64_t sum = part->number ^ part->writes << 32 ^ part->flushes;

	for (uint32_t i = 0; i < LOG_SECTORS; i++)
		sum = log_mix(sum + part->durable[i] + i);
	return sum;
}

/* In one write, to where it is not needed until it is whole. */
static void put_part(int fd, struct part *part)
{
	off_t at = part->number ? (off_t)(1 + part->number % (PARTS - 1)) : 0;

	part->magic = JOURNAL_MAGIC;
	part->sum = sum_of(part);
	if (pwrite(fd, part, sizeof(*part), at * (off_t)sizeof(*part)) != (ssize_t)sizeof(*part))
		die("journal: %s", strerror(errno));
}

static int open_journal(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	return fd;
}

static struct part *new_part(void)
{
	struct part *part = aligned_alloc(4096, sizeof(*part));

	if (!part)
		die("no memory");
	memset(part, 0, sizeof(*part));
	return part;
}

static struct log *map_log(const char *path, bool create)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_TRUNC : 0), 0600);
	struct log *log;

	if (fd < 0 || (create && ftruncate(fd, LOG_BYTES)))
		die("%s: %s", path, strerror(errno));
	log = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log == MAP_FAILED)
		die("%s: mmap: %s", path, strerror(errno));
	close(fd);
	return log;
}

/* ---- Before ---- */

static int make_log(const char *disk, const char *path, const char *journal)
{
	static const uint32_t none[LOG_SECTORS];
	struct findings findings = {0};
	struct log *log = map_log(path, true);
	struct part *part = new_part();

	disk_check(disk, none, none, NULL, part->durable, &findings);
	if (findings.mixed || findings.unheard_of)
		die("%s: not a disk of this test's", disk);
	put_part(open_journal(journal), part);
	log->magic = LOG_MAGIC;
	if (getrandom(&log->seed, sizeof(log->seed), 0) != sizeof(log->seed))
		die("getrandom: %s", strerror(errno));
	log->mode = log->seed >> 8 & 3 ? LOG_WRITE_BACK : LOG_WRITE_THROUGH;
	log->depth = 1 + (uint32_t)(log->seed >> 16) % 24;
	memcpy(log->issued, part->durable, sizeof(part->durable));
	memcpy(log->completed, part->durable, sizeof(part->durable));
	memcpy(log->durable, part->durable, sizeof(part->durable));
	free(part);
	return EXIT_SUCCESS;
}

/* ---- Meanwhile ---- */

static void copy(struct part *part, const struct log *log)
{
	part->writes = __atomic_load_n(&log->writes, __ATOMIC_ACQUIRE);
	part->sectors = log->sectors;
	part->flushes = log->flushes;
	part->switches = log->switches;
	for (uint32_t i = 0; i < LOG_SECTORS; i++)
		part->durable[i] = __atomic_load_n(&log->durable[i], __ATOMIC_ACQUIRE);
}

static bool has_begun(const struct log *log, const struct part *part)
{
	return part->writes >= RUNNING_WRITES && (part->flushes || log->mode == LOG_WRITE_THROUGH);
}

static int relay(const char *path, const char *journal)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	const struct log *log = map_log(path, false);
	struct part *part = new_part();
	int fd = open_journal(journal);
	unsigned idle = 0;
	bool begun = false;

	while (idle++ < PATIENCE) {
		uint64_t writes = part->writes;

		nanosleep(&pause, NULL);
		if (__atomic_load_n(&log->state, __ATOMIC_ACQUIRE) > LOG_RUNS)
			die("the guest gave up: state %u, %u", log->state, log->wrong);
		copy(part, log);
		part->number++;
		put_part(fd, part);
		if (part->writes != writes)
			idle = 0;
		if (!begun && has_begun(log, part)) {
			begun = true;
			printf("running\n");
			(void)fflush(stdout);
		}
	}
	die("the guest does not write any more");
}

/* ---- Afterwards ---- */

static bool get_part(int fd, unsigned i, struct part *part)
{
	return pread(fd, part, sizeof(*part), (off_t)i * (off_t)sizeof(*part)) == (ssize_t)sizeof(*part) &&
	       part->magic == JOURNAL_MAGIC && part->sum == sum_of(part);
}

static int check(const char *image, const char *journal)
{
	struct part *begun = new_part(), *last = new_part(), *part = new_part();
	int fd = open(journal, O_RDONLY | O_CLOEXEC), wrong;
	static uint32_t found[LOG_SECTORS];
	struct findings findings = {0};

	if (fd < 0)
		die("%s: %s", journal, strerror(errno));
	if (!get_part(fd, 0, begun))
		die("%s: no beginning", journal);
	for (unsigned i = 1; i < PARTS; i++)
		if (get_part(fd, i, part) && part->number > last->number)
			memcpy(last, part, sizeof(*last));
	if (!last->number)
		die("%s: nothing came", journal);
	printf("cut: %llu writes of %llu sectors, %llu flushes, %llu switches of the cache were complete; ",
	       (unsigned long long)last->writes, (unsigned long long)last->sectors,
	       (unsigned long long)last->flushes, (unsigned long long)last->switches);
	disk_check(image, begun->durable, last->durable, NULL, found, &findings);
	wrong = findings_print(&findings);
	close(fd);
	free(begun);
	free(last);
	free(part);
	return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "image") && argc == 3) {
		disk_make(argv[2]);
		return EXIT_SUCCESS;
	}
	if (!strcmp(what, "log") && argc == 5)
		return make_log(argv[2], argv[3], argv[4]);
	if (!strcmp(what, "relay") && argc == 4)
		return relay(argv[2], argv[3]);
	if (!strcmp(what, "check") && argc == 4)
		return check(argv[2], argv[3]);
	(void)fprintf(
	        stderr,
	        "usage: %s image IMAGE | log DISK LOG JOURNAL | relay LOG JOURNAL | check IMAGE JOURNAL\n",
	        argv[0]);
	return 2;
}
