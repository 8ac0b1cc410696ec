/* SPDX-License-Identifier: Apache-2.0 */
/* WITH: tinyvmm */
/*
 * tinyvmm's options: each line of the input is an argument, of `run` or, if the first is "demo", of that.
 * What follows an empty line is the file that --limits names. Nothing is opened or made.
 */
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../examples/tinyvmm/limits.h"
#include "../../examples/tinyvmm/options.h"
#include "../../examples/tinyvmm/run.h"
#include "../../examples/tinyvmm/run_options.h"
#include "../../examples/tinyvmm/tinyvmm.h"
#include "input.h"

#define ARGS 24

/* main.c's. */
int complain(const char *format, ...)
{
	static char text[4096];
	va_list args;

	va_start(args, format);
	fuzz_check(vsnprintf(text, sizeof(text), format, args) >= 0);
	va_end(args);
	return -1;
}

static void check(const struct run_options *o)
{
	if (o->help)
		return;
	fuzz_check(o->cpus && o->cpus <= RUN_MAX_CPUS && o->disk_count <= RUN_MAX_DISKS);
	fuzz_check(o->net_count <= NET_MAX && o->fs_count <= FS_MAX && o->pmem_count <= PMEM_MAX);
}

static const char *store(const char *text, size_t len)
{
	static char path[32];
	static int fd;

	if (!fd)
		fd = memfd_create("limits", MFD_CLOEXEC);
	fuzz_check(fd > 0 && !ftruncate(fd, 0) && pwrite(fd, text, len, 0) == (ssize_t)len);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

static void run(int argc, char **argv, const char *rest)
{
	static struct run run;

	memset(&run, 0, sizeof(run));
	if (run_options_parse(&run.options, argc, argv))
		return;
	check(&run.options);
	if (rest)
		run.options.limits = store(rest, strlen(rest));
	if (rest && !limits_create(&run))
		limits_reload(&run);
	limits_destroy(&run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *argv[ARGS + 1] = {0}, *at = text, *end;
	struct options options;
	char name[] = "tinyvmm";
	int argc = 1;

	fuzz_check(text);
	memcpy(text, data, size);
	text[size] = '\0';
	argv[0] = name;
	for (; argc < ARGS && *at && *at != '\n'; at = end) {
		end = strchrnul(at, '\n');
		if (*end)
			*end++ = '\0';
		argv[argc++] = at;
	}
	if (argc > 1 && !strcmp(argv[1], "demo"))
		(void)!options_parse(&options, argc - 1, argv + 1);
	else
		run(argc, argv, *at == '\n' ? at + 1 : NULL);
	free(text);
	return 0;
}
