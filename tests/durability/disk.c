/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOWN 8u /* sectors that are wrong */

void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

void disk_make(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	uint64_t words[SECTOR_WORDS];

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	for (uint32_t sector = 0; sector < LOG_SECTORS; sector++) {
		for (uint32_t i = 0; i < SECTOR_WORDS; i++)
			words[i] = log_word(sector, 0, i);
		if (write(fd, words, sizeof(words)) != (ssize_t)sizeof(words))
			die("%s: %s", path, strerror(errno));
	}
	if (fsync(fd) || close(fd))
		die("%s: %s", path, strerror(errno));
}

static void lock(int fd, const char *path)
{
	struct flock whole = {.l_type = F_RDLCK};

	if (fcntl(fd, F_OFD_SETLKW, &whole))
		die("%s: lock: %s", path, strerror(errno));
}

static bool is_whole(const uint64_t *words)
{
	uint32_t sector = (uint32_t)(words[0] >> 32), version = (uint32_t)words[0];

	for (uint32_t i = 1; i < SECTOR_WORDS; i++)
		if (words[i] != log_word(sector, version, i))
			return false;
	return true;
}

static void show(const char *what, uint32_t sector, uint32_t version, uint32_t least, const uint32_t *most)
{
	static unsigned shown;

	if (shown++ < SHOWN)
		(void)fprintf(stderr, "sector %u is %s: version %u; demanded: %u or newer, issued: %lld\n",
		              sector, what, version, least, most ? (long long)*most : -1LL);
}

void disk_check(const char *path, const uint32_t *begun, const uint32_t *least, const uint32_t *most,
                uint32_t *found, struct findings *findings)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t words[SECTOR_WORDS];

	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	lock(fd, path);
	for (uint32_t i = 0; i < LOG_SECTORS; i++) {
		uint32_t version;

		if (pread(fd, words, sizeof(words), (off_t)i * SECTOR_BYTES) != (ssize_t)sizeof(words))
			die("%s: %s", path, strerror(errno));
		version = found[i] = (uint32_t)words[0];
		findings->checked++;
		findings->demanded += least[i] > begun[i];
		findings->newer += version > least[i];
		if (!is_whole(words)) {
			findings->mixed++;
			show("mixed", i, version, least[i], most ? &most[i] : NULL);
		} else if (words[0] >> 32 != i || (most && version > most[i])) {
			findings->unheard_of++;
			show("unheard of", i, version, least[i], most ? &most[i] : NULL);
		} else if (version < least[i]) {
			findings->lost++;
			show("lost", i, version, least[i], most ? &most[i] : NULL);
		}
	}
	close(fd);
}

int findings_print(const struct findings *f)
{
	printf("%llu sectors checked, %llu had to be there, %llu newer than that; lost %llu, mixed %llu, "
	       "unheard of "
	       "%llu\n",
	       (unsigned long long)f->checked, (unsigned long long)f->demanded, (unsigned long long)f->newer,
	       (unsigned long long)f->lost, (unsigned long long)f->mixed, (unsigned long long)f->unheard_of);
	return f->lost || f->mixed || f->unheard_of;
}
