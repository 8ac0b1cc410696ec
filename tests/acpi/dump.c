/* SPDX-License-Identifier: Apache-2.0 */
/* usage: acpi_dump full|small|large FOLDER: writes each table of that machine to FOLDER/SIGNATURE.dat. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vdb/error.h>

#include "machines.h"

#define GPA 0xe0000u

static unsigned char buf[1 << 18];

static int write_table(const char *folder, const unsigned char *table, size_t len)
{
	char path[512];
	FILE *file;
	size_t n;

	(void)snprintf(path, sizeof(path), "%s/%.4s.dat", folder, (const char *)table);
	file = fopen(path, "wb");
	if (!file) {
		perror(path);
		return EXIT_FAILURE;
	}
	n = fwrite(table, 1, len, file);
	return fclose(file) || n != len ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* They follow each other, with zeroes between, each with its length. */
static int write_all(const char *folder, size_t len)
{
	size_t at = 36; /* behind the RSDP */
	uint32_t bytes;
	int rc = EXIT_SUCCESS;

	while (rc == EXIT_SUCCESS && at + 8 <= len) {
		if (!buf[at]) {
			at++;
			continue;
		}
		memcpy(&bytes, buf + at + 4, sizeof(bytes));
		rc = bytes <= len - at ? write_table(folder, buf + at, bytes) : EXIT_FAILURE;
		at += bytes;
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct vdb_machine machine;
	int64_t len;

	if (argc != 3) {
		(void)fprintf(stderr, "usage: %s full|small|large FOLDER\n", argv[0]);
		return 2;
	}
	machine = argv[1][0] == 'f'   ? machines_full()
	          : argv[1][0] == 's' ? machines_small()
	                              : machines_large();
	len = vdb_acpi_build(&machine, GPA, buf, sizeof(buf));
	if (len < 0) {
		(void)fprintf(stderr, "%s\n", vdb_errmsg());
		return EXIT_FAILURE;
	}
	return write_all(argv[2], (size_t)len);
}
