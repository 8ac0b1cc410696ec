/* SPDX-License-Identifier: Apache-2.0 */
/* tinyvmm: a small virtual machine monitor that shows libvdb at work. One file a command. */
#include "tinyvmm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <vdb/error.h>

#include "terminal.h"

/* The most used one first. */
static const struct command *const commands[] = {
        &command_run,
        &command_demo,
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

int complain(const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	/* One write: threads' lines stay whole. A raw terminal does not return by itself. */
	fprintf(stderr, "tinyvmm: %s%s\n", text, terminal_is_raw() ? "\r" : "");
	return -1;
}

static void usage(FILE *to)
{
	fputs("usage: tinyvmm COMMAND [OPTION...]\n\n", to);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n  tinyvmm run --kernel vmlinuz --initrd initrd.img --disk path=disk.img\n"
	      "\n`tinyvmm COMMAND --help` tells more; `tinyvmm --version` says which one this is.\n",
	      to);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return TINYVMM_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return TINYVMM_OK;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("tinyvmm, libvdb %s\n", vdb_version());
		return TINYVMM_OK;
	}
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i]->name))
			return commands[i]->run(argc - 1, argv + 1);
	complain("no command `%s`; `tinyvmm --help` lists them", argv[1]);
	return TINYVMM_USAGE;
}
