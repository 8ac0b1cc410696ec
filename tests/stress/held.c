/* SPDX-License-Identifier: Apache-2.0 */
#include "held.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define GROWTH_KB 1024u /* of memory; of all else nothing */

#ifdef __SANITIZE_ADDRESS__
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

static uint64_t heap_bytes(void)
{
#if defined(__SANITIZE_ADDRESS__)
	return __sanitizer_get_current_allocated_bytes();
#elif defined(__SANITIZE_THREAD__)
	return 0;
#else
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
#endif
}

static void give_up(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void look_at_fds(struct held *held)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	char target[64];
	ssize_t n;

	if (!dir)
		give_up("/proc/self/fd");
	while ((entry = readdir(dir))) {
		n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		if (n < 0)
			continue; /* "." and ".." */
		target[n] = '\0';
		held->fds++;
		held->vms += !strcmp(target, "anon_inode:kvm-vm");
		held->vcpus += !strncmp(target, "anon_inode:kvm-vcpu", 19);
		held->rings += !strcmp(target, "anon_inode:[io_uring]");
	}
	held->fds--; /* dir's own */
	closedir(dir);
}

/* A thread of the kernel's that serves a ring: it ends some seconds after its last work, but that the last
 * one of a thread with rings stays. */
static bool serves_ring(const char *tid)
{
	char path[64], name[32] = "";
	FILE *comm;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", tid);
	comm = fopen(path, "re");
	if (!comm)
		return false; /* has ended meanwhile */
	if (!fgets(name, sizeof(name), comm))
		*name = '\0';
	fclose(comm);
	return !strncmp(name, "iou-", 4);
}

static void look_at_threads(struct held *held)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *entry;

	if (!dir)
		give_up("/proc/self/task");
	held->threads = held->ring_threads = 0;
	while ((entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		if (serves_ring(entry->d_name))
			held->ring_threads++;
		else
			held->threads++;
	}
	closedir(dir);
}

static void look_at_maps(struct held *held)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long start, end;
	char line[512];

	if (!maps)
		give_up("/proc/self/maps");
	while (fgets(line, sizeof(line), maps)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) != 2)
			continue;
		held->mappings++;
		if (!strstr(line, "[heap]"))
			held->mapped_kb += (end - start) >> 10;
	}
	fclose(maps);
}

/* The sum of the numbers behind these words. */
static uint64_t kilobytes(const char *path, const char *const *words)
{
	FILE *file = fopen(path, "re");
	uint64_t sum = 0;
	char line[256];

	if (!file)
		give_up(path);
	while (fgets(line, sizeof(line), file))
		for (const char *const *word = words; *word; word++)
			if (!strncmp(line, *word, strlen(*word)))
				sum += strtoull(line + strlen(*word), NULL, 10);
	fclose(file);
	return sum;
}

void held_look(struct held *held)
{
	static const char *const rss[] = {"Rss:", NULL}, *const pinned[] = {"VmLck:", "VmPin:", NULL};
	const struct timespec nap = {.tv_nsec = 100000000};

	*held = (struct held){0};
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	malloc_trim(0);
#endif
	look_at_fds(held);
	for (int i = 0; look_at_threads(held), held->ring_threads > held->rings && i < 600; i++)
		nanosleep(&nap, NULL);
	look_at_maps(held);
	held->rss_kb = kilobytes("/proc/self/smaps_rollup", rss);
	held->pinned_kb = kilobytes("/proc/self/status", pinned);
	held->heap = heap_bytes();
}

void held_print(const char *when, const struct held *held)
{
	printf("%s: %llu fds (%llu VMs, %llu vCPUs, %llu io_urings), %llu threads and %llu of its rings, "
	       "%llu "
	       "mappings of %llu KiB, "
	       "RSS %llu KiB, pinned %llu KiB, heap %llu KiB\n",
	       when, (unsigned long long)held->fds, (unsigned long long)held->vms,
	       (unsigned long long)held->vcpus, (unsigned long long)held->rings,
	       (unsigned long long)held->threads, (unsigned long long)held->ring_threads,
	       (unsigned long long)held->mappings, (unsigned long long)held->mapped_kb,
	       (unsigned long long)held->rss_kb, (unsigned long long)held->pinned_kb,
	       (unsigned long long)held->heap >> 10);
	(void)fflush(stdout);
}

static unsigned more(const char *what, uint64_t before, uint64_t after, uint64_t allowed)
{
	if (after <= before + allowed)
		return 0;
	(void)fprintf(stderr, "%s: %llu before, %llu after\n", what, (unsigned long long)before,
	              (unsigned long long)after);
	return 1;
}

unsigned held_compare(const struct held *before, const struct held *after)
{
	unsigned grown = more("fds", before->fds, after->fds, 0);

	grown += more("VMs", before->vms, after->vms, 0);
	grown += more("vCPUs", before->vcpus, after->vcpus, 0);
	grown += more("io_urings", before->rings, after->rings, 0);
	grown += more("threads", before->threads, after->threads, 0);
	grown += more("threads of rings", after->rings, after->ring_threads, 0);
	grown += more("pinned memory, KiB", before->pinned_kb, after->pinned_kb, 0);
	grown += more("heap, bytes", before->heap, after->heap, GROWTH_KB << 10);
	if (HELD_SANITIZED)
		return grown;
	grown += more("mappings", before->mappings, after->mappings, 0);
	grown += more("mapped, KiB", before->mapped_kb, after->mapped_kb, 0);
	return grown + more("RSS, KiB", before->rss_kb, after->rss_kb, GROWTH_KB);
}
