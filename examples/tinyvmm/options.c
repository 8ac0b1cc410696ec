/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <vdb/doorbell.h>
#include <vdb/loop.h>

#include "json_report.h"
#include "polling.h"
#include "tinyvmm.h"
#include "uring.h"
#include "values.h"

static const char help_text[] =
        "usage: tinyvmm demo [OPTION...]\n"
        "\n"
        "Runs bare-metal guests that write a disk image, flush it, read it back and verify\n"
        "every block; one thread with one loop, or a few, serve the rings of all of them.\n"
        "\n"
        "  --vms N              virtual machines, 1..1024 (8)\n"
        "  --requests N         requests of each, flushes included, from 3 on (20000)\n"
        "  --depth N|mixed      requests under way at once, 1..1024 (mixed: 1, 8, 32, 128 in turn)\n"
        "  --mode MODE          poll, irq or mixed: how guests wait (mixed: every other one polls)\n"
        "  --doorbell KIND      page, mmio or pio (page)\n"
        "  --image PATH         existing file or block device to work on; it is overwritten\n"
        "                       (default: a temporary file of the right size in $TMPDIR)\n"
        "  --direct             O_DIRECT: past the page cache\n"
        "  --blocks N           blocks of 4 KiB that each VM has of the image (1024)\n"
        "  --flush-every N      a FLUSH after so many writes (512)\n"
        "  --memory BYTES       memory of each VM; K, M, G may follow (what it needs)\n"
        "  --engine ENGINE      auto, uring or epoll (auto)\n"
        "  --poll US[,mode=adaptive|always][,cpu=PERCENT][,coalesce=US]\n"
        "                       before they sleep, loops look at rings so long after their last use,\n"
        "                       at most; by what it brings, or always; with so much of a CPU;\n"
        "                       hold interrupts back so long, at most (0: sleep at once)\n"
        "  --uring KEY[=VALUE],...  what of io_uring to try: memory (registered, and so pinned), iopoll\n"
        "                       (poll for O_DIRECT), sqpoll[=IDLE_MS], sq-cpu=CPU\n"
        "  --loops N[,cpus=A:B:...][,place=POLICY]\n"
        "                       loops, each with a thread, on these host CPUs; VMs are placed on\n"
        "                       them round-robin, least-loaded or pinned (1 loop, round-robin)\n"
        "  --pin CPU            pin the only loop's thread to this host CPU\n"
        "  --json FILE          write the results there too\n"
        "  --journal FILE       keep the guests' mailboxes in FILE, where they survive a crash\n"
        "  --sandbox auto|on|off[,refuse=errno|kill]\n"
        "                       give up what is not needed to run: system calls, files, capabilities,\n"
        "                       networks. auto: what this host allows; on: all of it, or refuse to start;\n"
        "                       what a thread may not call fails, or ends tinyvmm (auto,refuse=errno)\n"
        "  --help               this text\n"
        "\n"
        "Exit status: 0 all is well, 1 something was wrong, 2 refused before it started.\n";

void options_help(void)
{
	fputs(help_text, stdout);
}

static const struct choice modes[] = {{"mixed", MODE_MIXED}, {"poll", MODE_POLL}, {"irq", MODE_IRQ}, {0}};
static const struct choice doorbells[] = {
        {"page", VDB_DOORBELL_PAGE}, {"mmio", VDB_DOORBELL_MMIO}, {"pio", VDB_DOORBELL_PIO}, {0}};
static const struct choice engines[] = {
        {"auto", VDB_ENGINE_AUTO}, {"uring", VDB_ENGINE_URING}, {"epoll", VDB_ENGINE_EPOLL}, {0}};

const char *options_mode_name(enum mode mode)
{
	return choice_name(modes, mode);
}

const char *options_doorbell_name(uint32_t doorbell)
{
	return choice_name(doorbells, doorbell);
}

uint32_t options_depth_of(const struct options *options, uint32_t vm)
{
	static const uint32_t mixture[] = {1, 8, 32, 128};

	return options->depth ? options->depth : mixture[vm % 4];
}

bool options_polls(const struct options *options, uint32_t vm)
{
	if (options->mode != MODE_MIXED)
		return options->mode == MODE_POLL;
	/* Shifted after every four, so that each depth of the mixture is seen in both modes. */
	return (vm + vm / 4) % 2;
}

enum {
	OPT_VMS = 256,
	OPT_REQUESTS,
	OPT_DEPTH,
	OPT_MODE,
	OPT_DOORBELL,
	OPT_IMAGE,
	OPT_DIRECT,
	OPT_BLOCKS,
	OPT_FLUSH_EVERY,
	OPT_MEMORY,
	OPT_ENGINE,
	OPT_POLL,
	OPT_URING,
	OPT_LOOPS,
	OPT_PIN,
	OPT_JSON,
	OPT_JOURNAL,
	OPT_SANDBOX,
	OPT_HELP,
};

static const struct option table[] = {
        {"vms", required_argument, NULL, OPT_VMS},
        {"requests", required_argument, NULL, OPT_REQUESTS},
        {"depth", required_argument, NULL, OPT_DEPTH},
        {"mode", required_argument, NULL, OPT_MODE},
        {"doorbell", required_argument, NULL, OPT_DOORBELL},
        {"image", required_argument, NULL, OPT_IMAGE},
        {"direct", no_argument, NULL, OPT_DIRECT},
        {"blocks", required_argument, NULL, OPT_BLOCKS},
        {"flush-every", required_argument, NULL, OPT_FLUSH_EVERY},
        {"memory", required_argument, NULL, OPT_MEMORY},
        {"engine", required_argument, NULL, OPT_ENGINE},
        {"poll", required_argument, NULL, OPT_POLL},
        {"uring", required_argument, NULL, OPT_URING},
        {"loops", required_argument, NULL, OPT_LOOPS},
        {"pin", required_argument, NULL, OPT_PIN},
        {"json", required_argument, NULL, OPT_JSON},
        {"journal", required_argument, NULL, OPT_JOURNAL},
        {"sandbox", required_argument, NULL, OPT_SANDBOX},
        {"help", no_argument, NULL, OPT_HELP},
        {0},
};

static int memory(const char *text, uint64_t *value)
{
	if (value_size("--memory", text, value))
		return -1;
	return *value ? 0
	              : complain("--memory %s: a VM needs memory; leave the option away for what it needs",
	                         text);
}

static int take_number(struct options *o, int option, const char *text)
{
	uint32_t cpu = 0;

	switch (option) {
	case OPT_VMS:
		return value_number32("--vms", text, 1, OPTIONS_MAX_VMS, &o->vms);
	case OPT_REQUESTS:
		return value_number("--requests", text, 3, 1ull << 40, &o->requests);
	case OPT_DEPTH:
		o->depth = 0;
		return !strcmp(text, "mixed")
		               ? 0
		               : value_number32("--depth", text, 1, OPTIONS_MAX_DEPTH, &o->depth);
	case OPT_BLOCKS:
		return value_number32("--blocks", text, 1, 1u << 24, &o->slice);
	case OPT_FLUSH_EVERY:
		return value_number32("--flush-every", text, 1, 1u << 24, &o->flush_every);
	case OPT_MEMORY:
		return memory(text, &o->memory);
	default:
		if (value_number32("--pin", text, 0, 65535, &cpu))
			return -1;
		o->pin = (int)cpu;
		return 0;
	}
}

static int take(struct options *o, int option, const char *text)
{
	uint32_t mode = MODE_MIXED;

	switch (option) {
	case OPT_MODE:
		if (value_choice("--mode", text, modes, &mode))
			return -1;
		o->mode = (enum mode)mode;
		return 0;
	case OPT_DOORBELL:
		return value_choice("--doorbell", text, doorbells, &o->doorbell);
	case OPT_ENGINE:
		return value_choice("--engine", text, engines, &o->engine);
	case OPT_IMAGE:
		o->image = text;
		return 0;
	case OPT_POLL:
		return polling_parse(&o->poll, text);
	case OPT_URING:
		return uring_parse(&o->poll, text);
	case OPT_LOOPS:
		return loops_parse(&o->loops, text);
	case OPT_DIRECT:
		o->direct = true;
		return 0;
	case OPT_JSON:
		o->json = text;
		return json_available("--json");
	case OPT_JOURNAL:
		o->journal = text;
		return 0;
	case OPT_SANDBOX:
		return sandbox_parse(&o->sandbox, text);
	case OPT_HELP:
		o->help = true;
		return 0;
	default:
		return take_number(o, option, text);
	}
}

int options_parse(struct options *options, int argc, char **argv)
{
	int option;

	*options = (struct options){.vms = 8,
	                            .requests = 20000,
	                            .slice = 1024,
	                            .flush_every = 512,
	                            .pin = -1,
	                            .loops = loops_default(),
	                            .sandbox = sandbox_default()};
	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, ":", table, NULL)) != -1) {
		if (option == ':')
			return complain("%s needs a value; see `tinyvmm demo --help`", argv[optind - 1]);
		if (option == '?')
			return complain("no option %s; see `tinyvmm demo --help`", argv[optind - 1]);
		if (take(options, option, optarg))
			return -1;
	}
	if (optind < argc)
		return complain("`%s` is not an option; see `tinyvmm demo --help`", argv[optind]);
	return loops_pin(&options->loops, options->pin, "--pin");
}
