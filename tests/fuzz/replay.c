/* SPDX-License-Identifier: Apache-2.0 */
/* Without libFuzzer: runs the target on each file that is named, and on those in the folders that are. */
#include <dirent.h>
#include <sys/stat.h>

#include "input.h"

static unsigned played;

static int play(const char *path)
{
	static uint8_t bytes[1u << 20];
	FILE *file = fopen(path, "re");
	size_t len;

	if (!file) {
		perror(path);
		return 1;
	}
	len = fread(bytes, 1, sizeof(bytes), file);
	(void)fclose(file);
	/* In memory of its own, so that a read beyond the end is seen. */
	uint8_t *own = malloc(len ? len : 1);

	fuzz_check(own);
	memcpy(own, bytes, len);
	(void)fprintf(stderr, "%s\n", path);
	(void)LLVMFuzzerTestOneInput(own, len);
	free(own);
	played++;
	return 0;
}

static int play_all(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	char path[4096];
	int rc = 0;

	if (!dir) {
		perror(folder);
		return 1;
	}
	while (!rc && (entry = readdir(dir))) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (entry->d_name[0] != '.')
			rc = play(path);
	}
	closedir(dir);
	return rc;
}

int main(int argc, char **argv)
{
	struct stat st;
	int rc = 0;

	for (int i = 1; i < argc && !rc; i++) {
		bool folder = !stat(argv[i], &st) && S_ISDIR(st.st_mode);

		rc = folder ? play_all(argv[i]) : play(argv[i]);
	}
	(void)fprintf(stderr, "%u inputs\n", played);
	return rc || !played;
}
