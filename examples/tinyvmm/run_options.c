/* SPDX-License-Identifier: Apache-2.0 */
#include "run_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <vdb/loop.h>
#include <vdb/virtio_pci.h>

#include "json_report.h"
#include "layout.h"
#include "pins.h"
#include "polling.h"
#include "tinyvmm.h"
#include "uring.h"
#include "values.h"

static const char help_text[] =
        "usage: tinyvmm run --kernel FILE [OPTION...]\n"
        "\n"
        "Boots a kernel, without firmware, with this terminal as its console (Ctrl-A x quits,\n"
        "Ctrl-A h helps).\n"
        "\n"
        "  --kernel FILE        bzImage, ELF vmlinux, or any ELF with a PVH entry\n"
        "  --initrd FILE        initial RAM disk\n"
        "  --cmdline TEXT       command line; goes behind `console=ttyS0 panic=-1` (--console: hvc0)\n"
        "  --cpus N             virtual CPUs, 1..254 (1)\n"
        "  --memory BYTES       memory; K, M, G may follow (256M)\n"
        "  --disk KEY[=VALUE],...  a disk, once for each:\n"
        "           path=FILE     image or block device; `,,` stands for a comma\n"
        "           null,size=N   instead: takes all, has nothing; for measuring\n"
        "           readonly      the guest cannot write; several VMs may share it\n"
        "           direct        O_DIRECT: past the page cache\n"
        "           queues=N      1..64 (1)\n"
        "           packed[=off]  offer packed rings too (see --packed)\n"
        "           writethrough  start with the write cache off\n"
        "           id=NAME       in messages and statistics (disk0, disk1, ...)\n"
        "           serial=TEXT   what the guest reads as serial number (its id)\n"
        "           lock=off      do not lock the file against other users\n"
        "           bps=BYTES     at most so many bytes a second; K, M, G may follow\n"
        "           iops=N        at most so many requests a second\n"
        "           burst=MS      of them as many at once as come in so many milliseconds (10)\n"
        "  --limit KEY=VALUE,... bps, iops and burst, of all devices together\n"
        "  --caps KEY=VALUE,... what the VM may have: inflight, pinned, fds, irqs (a second), lines\n"
        "                       (of one kind in 5 s that its guest makes tinyvmm write)\n"
        "  --limits FILE        lines like `disk0 bps=10M,iops=500` or `vm iops=1000`; SIGUSR2 reads\n"
        "                       them again\n"
        "  --rng                a random number generator\n"
        "  --net KEY[=VALUE],...  a network card, once for each:\n"
        "           tap=NAME      connected to this tap, existing or to be created\n"
        "           user          connected to the host's own network, as its user is, by passt\n"
        "           up            bring the tap up\n"
        "           mac=MAC       its address (made at random)\n"
        "           queues=N      queue pairs, 1..31 (1)\n"
        "           mtu=N         68..65521, of the tap, too (as it is)\n"
        "           id=NAME       in messages and statistics (net0, net1, ...)\n"
        "           packed[=off]  offer packed rings too (see --packed)\n"
        "           vhost[=off]   of a tap: the kernel moves the packets, by /dev/vhost-net\n"
        "           bps=BYTES     as of disks, both ways together\n"
        "           iops=N        likewise\n"
        "           burst=MS      likewise\n"
        "  --vsock cid=N,path=PATH  sockets between programs in the guest, whose address is N, and on the\n"
        "                       host: these connect to PATH and say `CONNECT port`, and what the guest\n"
        "                       connects to port P listens at PATH_P; connections=N (1024), and\n"
        "                       bps, iops and burst as of disks; seqpacket: SOCK_SEQPACKET, too, at\n"
        "                       PATH_seqpacket, and where what listens at PATH_P is of that type\n"
        "  --vsock cid=N,vhost  the same, but programs of the host use AF_VSOCK: /dev/vhost-vsock\n"
        "  --fs tag=NAME,socket=PATH  a folder of the host (in the guest: mount -t virtiofs NAME /mnt), from "
        "the\n"
        "                       virtiofsd that listens there; or dir=FOLDER: starts one (as root).\n"
        "                       At most 4. Implies --memfd\n"
        "  --pmem KEY[=VALUE],...  a file as memory, /dev/pmem0, once for each:\n"
        "           path=FILE     of a multiple of 2 MiB\n"
        "           readonly      the guest cannot write; several VMs may share it\n"
        "           private       what it writes is its own, and gone at the end; likewise\n"
        "  --balloon KEY[=VALUE],...  a balloon: the guest gives memory back\n"
        "           target=BYTES  so much of it, in all; K, M, G may follow (0)\n"
        "           file=FILE     instead: as this file says; SIGUSR2 reads it again\n"
        "           reporting     it reports what it does not use just now, and that goes, too\n"
        "           stats=SECONDS how often it is asked for statistics: --json-stats (never)\n"
        "           oom           short of memory, it may take back what it has given\n"
        "  --serial             the terminal is the serial port, ttyS0 (default)\n"
        "  --console            the terminal is a virtio console, hvc0\n"
        "  --serial-log FILE    with --console: what the guest writes to its serial port goes there\n"
        "  --transport KIND     of virtio devices: pci or mmio (pci)\n"
        "  --packed             all virtio devices offer packed rings too\n"
        "  --notify KIND        pci: auto, mmio or pio: how the guest rings (auto)\n"
        "  --no-msix            pci: interrupts by INTx only\n"
        "  --acpi on|off        off: an MP table, mmio devices on the command line (on)\n"
        "  --hugepages          memory of 2 MiB pages\n"
        "  --memfd              memory that others can map\n"
        "  --engine ENGINE      auto, uring or epoll (auto)\n"
        "  --poll US[,mode=adaptive|always][,cpu=PERCENT][,coalesce=US]\n"
        "                       before they sleep, loops look at rings so long after their last use,\n"
        "                       at most; by what it brings, or always; with so much of a CPU;\n"
        "                       hold interrupts back so long, at most (0: sleep at once)\n"
        "  --uring KEY[=VALUE],...  what of io_uring to try: memory (registered, and so pinned), iopoll\n"
        "                       (poll for O_DIRECT), sqpoll[=IDLE_MS], sq-cpu=CPU\n"
        "  --loops N[,cpus=A:B:...][,place=POLICY]\n"
        "                       loops, each with a thread, on these host CPUs; queues of disks\n"
        "                       are placed on them round-robin, least-loaded or pinned (1 loop)\n"
        "  --pin THREAD=CPU,... pin vcpu0, vcpu1, ... and loop to CPUs of the host, and io, the\n"
        "                       threads that do I/O which has to wait: to several, if said again\n"
        "  --json-stats FILE    statistics at the end and on SIGUSR1; - is the standard output\n"
        "  --sandbox auto|on|off[,refuse=errno|kill]\n"
        "                       give up what is not needed to run: system calls, files, capabilities,\n"
        "                       networks. auto: what this host allows; on: all of it, or refuse to start;\n"
        "                       what a thread may not call fails, or ends tinyvmm (auto,refuse=errno)\n"
        "  --timeout SECONDS    end it after so long\n"
        "  --grace SECONDS      after a first SIGTERM (power button) until it is ended (10)\n"
        "  --help               this text\n"
        "\n"
        "Signals: TERM, INT, HUP press the power button, the second one ends at once; USR1 writes\n"
        "statistics; USR2 takes up changed sizes of image files, and what is in the files of --limits and\n"
        "--balloon.\n"
        "Exit status: 0 powered off, 1 something failed, 2 refused before it started, 3 rebooted,\n"
        "4 panicked, 5 timed out, 6 triple fault, 7 killed, 64+n wrote n to the debug-exit port.\n";

void run_options_help(void)
{
	fputs(help_text, stdout);
}

static const struct choice transports[] = {{"pci", TRANSPORT_PCI}, {"mmio", TRANSPORT_MMIO}, {0}};
static const struct choice notifies[] = {
        {"auto", VDB_NOTIFY_AUTO}, {"mmio", VDB_NOTIFY_MMIO}, {"pio", VDB_NOTIFY_PIO}, {0}};
static const struct choice engines[] = {
        {"auto", VDB_ENGINE_AUTO}, {"uring", VDB_ENGINE_URING}, {"epoll", VDB_ENGINE_EPOLL}, {0}};
static const struct choice acpis[] = {{"on", false}, {"off", true}, {0}};

enum {
	OPT_KERNEL = 256,
	OPT_INITRD,
	OPT_CMDLINE,
	OPT_CPUS,
	OPT_MEMORY,
	OPT_DISK,
	OPT_CAPS,
	OPT_LIMIT,
	OPT_LIMITS,
	OPT_RNG,
	OPT_NET,
	OPT_VSOCK,
	OPT_FS,
	OPT_BALLOON,
	OPT_PMEM,
	OPT_SERIAL,
	OPT_CONSOLE,
	OPT_SERIAL_LOG,
	OPT_TRANSPORT,
	OPT_PACKED,
	OPT_NOTIFY,
	OPT_NO_MSIX,
	OPT_ACPI,
	OPT_HUGEPAGES,
	OPT_MEMFD,
	OPT_ENGINE,
	OPT_POLL,
	OPT_URING,
	OPT_LOOPS,
	OPT_PIN,
	OPT_JSON_STATS,
	OPT_SANDBOX,
	OPT_TIMEOUT,
	OPT_GRACE,
	OPT_HELP,
};

static const struct option table[] = {
        {"kernel", required_argument, NULL, OPT_KERNEL},
        {"initrd", required_argument, NULL, OPT_INITRD},
        {"cmdline", required_argument, NULL, OPT_CMDLINE},
        {"cpus", required_argument, NULL, OPT_CPUS},
        {"memory", required_argument, NULL, OPT_MEMORY},
        {"disk", required_argument, NULL, OPT_DISK},
        {"caps", required_argument, NULL, OPT_CAPS},
        {"limit", required_argument, NULL, OPT_LIMIT},
        {"limits", required_argument, NULL, OPT_LIMITS},
        {"rng", no_argument, NULL, OPT_RNG},
        {"net", required_argument, NULL, OPT_NET},
        {"vsock", required_argument, NULL, OPT_VSOCK},
        {"fs", required_argument, NULL, OPT_FS},
        {"pmem", required_argument, NULL, OPT_PMEM},
        {"balloon", required_argument, NULL, OPT_BALLOON},
        {"serial", no_argument, NULL, OPT_SERIAL},
        {"console", no_argument, NULL, OPT_CONSOLE},
        {"serial-log", required_argument, NULL, OPT_SERIAL_LOG},
        {"transport", required_argument, NULL, OPT_TRANSPORT},
        {"packed", no_argument, NULL, OPT_PACKED},
        {"notify", required_argument, NULL, OPT_NOTIFY},
        {"no-msix", no_argument, NULL, OPT_NO_MSIX},
        {"acpi", required_argument, NULL, OPT_ACPI},
        {"hugepages", no_argument, NULL, OPT_HUGEPAGES},
        {"memfd", no_argument, NULL, OPT_MEMFD},
        {"engine", required_argument, NULL, OPT_ENGINE},
        {"poll", required_argument, NULL, OPT_POLL},
        {"uring", required_argument, NULL, OPT_URING},
        {"loops", required_argument, NULL, OPT_LOOPS},
        {"pin", required_argument, NULL, OPT_PIN},
        {"json-stats", required_argument, NULL, OPT_JSON_STATS},
        {"sandbox", required_argument, NULL, OPT_SANDBOX},
        {"timeout", required_argument, NULL, OPT_TIMEOUT},
        {"grace", required_argument, NULL, OPT_GRACE},
        {"help", no_argument, NULL, OPT_HELP},
        {0},
};

/* ---- One option ---- */

static void take_switch(struct run_options *o, int option)
{
	switch (option) {
	case OPT_RNG:
		o->rng = true;
		break;
	case OPT_SERIAL:
		o->console = false;
		break;
	case OPT_CONSOLE:
		o->console = true;
		break;
	case OPT_PACKED:
		o->packed = true;
		break;
	case OPT_NO_MSIX:
		o->no_msix = true;
		break;
	case OPT_HUGEPAGES:
		o->hugepages = true;
		break;
	case OPT_MEMFD:
		o->memfd = true;
		break;
	default:
		o->help = true;
		break;
	}
}

static int take_choice(struct run_options *o, int option, const char *text)
{
	uint32_t off = false;

	switch (option) {
	case OPT_TRANSPORT:
		return value_choice("--transport", text, transports, &o->transport);
	case OPT_NOTIFY:
		return value_choice("--notify", text, notifies, &o->notify);
	case OPT_ENGINE:
		return value_choice("--engine", text, engines, &o->engine);
	default:
		if (value_choice("--acpi", text, acpis, &off))
			return -1;
		o->no_acpi = off;
		return 0;
	}
}

static int take_fs(struct run_options *o, const char *text)
{
	uint32_t number = o->fs_count;

	if (number == FS_MAX)
		return complain("--fs %s: at most %u", text, FS_MAX);
	o->memfd = true;
	o->fs_count++;
	if (fs_parse(&o->fs[number], text))
		return -1;
	for (uint32_t i = 0; i < number; i++)
		if (!strcmp(o->fs[i].tag, o->fs[number].tag))
			return complain("--fs %s: another one has the tag %s", text, o->fs[i].tag);
	return 0;
}

static int take_disk(struct run_options *o, const char *text)
{
	if (o->disk_count == RUN_MAX_DISKS)
		return complain("--disk %s: at most %u disks", text, RUN_MAX_DISKS);
	o->disk_texts[o->disk_count++] = text;
	return 0;
}

/* Neither a name nor an address is another card's; all zeroes: it gets one of its own. */
static int check_net(const struct net *net, const struct net *other, const char *text)
{
	static const uint8_t any[sizeof(net->mac)];

	if (!strcmp(other->id, net->id))
		return complain("--net %s: another one has the id %s; choose one by id=", text, net->id);
	if (memcmp(net->mac, any, sizeof(any)) != 0 && !memcmp(other->mac, net->mac, sizeof(net->mac)))
		return complain("--net %s: another one, %s, has this address", text, other->id);
	return 0;
}

static int take_net(struct run_options *o, const char *text)
{
	uint32_t number = o->net_count;

	if (number == NET_MAX)
		return complain("--net %s: at most %u", text, NET_MAX);
	if (net_parse(&o->nets[number], text, number))
		return -1;
	for (uint32_t i = 0; i < number; i++)
		if (check_net(&o->nets[number], &o->nets[i], text))
			return -1;
	o->net_count++;
	return 0;
}

static int take_pmem(struct run_options *o, const char *text)
{
	if (o->pmem_count == PMEM_MAX)
		return complain("--pmem %s: at most %u", text, PMEM_MAX);
	o->pmem_count++;
	return pmem_parse(&o->pmems[o->pmem_count - 1], text, o->pmem_count - 1);
}

static int take_json(struct run_options *o, const char *text)
{
	o->json = text;
	if (json_available("--json-stats"))
		return -1;
	return strcmp(text, "-") ? value_writable("--json-stats", text) : 0;
}

static int take(struct run_options *o, int option, const char *text)
{
	switch (option) {
	case OPT_KERNEL:
		o->kernel = text;
		return 0;
	case OPT_INITRD:
		o->initrd = text;
		return 0;
	case OPT_CMDLINE:
		o->cmdline = text;
		return 0;
	case OPT_SERIAL_LOG:
		o->serial_log = text;
		return value_writable("--serial-log", text);
	case OPT_CPUS:
		return value_number32("--cpus", text, 1, RUN_MAX_CPUS, &o->cpus);
	case OPT_MEMORY:
		return value_size("--memory", text, &o->memory);
	case OPT_DISK:
		return take_disk(o, text);
	case OPT_FS:
		return take_fs(o, text);
	case OPT_NET:
		return take_net(o, text);
	case OPT_VSOCK:
		return vsock_parse(&o->vsock, text);
	case OPT_PMEM:
		return take_pmem(o, text);
	case OPT_BALLOON:
		return balloon_parse(&o->balloon, text);
	case OPT_LIMIT:
		return rates_parse(&o->limit, "--limit", text);
	case OPT_CAPS:
		return caps_parse(&o->caps, text);
	case OPT_LIMITS:
		o->limits = text;
		return 0;
	case OPT_TRANSPORT:
	case OPT_NOTIFY:
	case OPT_ENGINE:
	case OPT_ACPI:
		return take_choice(o, option, text);
	case OPT_POLL:
		return polling_parse(&o->poll, text);
	case OPT_URING:
		return uring_parse(&o->poll, text);
	case OPT_LOOPS:
		return loops_parse(&o->loops, text);
	case OPT_PIN:
		return pins_parse(o, text);
	case OPT_JSON_STATS:
		return take_json(o, text);
	case OPT_SANDBOX:
		return sandbox_parse(&o->sandbox, text);
	case OPT_TIMEOUT:
		return value_number32("--timeout", text, 1, 1u << 24, &o->timeout);
	case OPT_GRACE:
		return value_number32("--grace", text, 0, 3600, &o->grace);
	default:
		take_switch(o, option);
		return 0;
	}
}

/* ---- All of them together ---- */

static int check_memory(const struct run_options *o)
{
	unsigned long long bytes = o->memory, page = o->hugepages ? 2u << 20 : VDB_PAGE_SIZE;

	if (bytes < LAYOUT_MEMORY_MIN)
		return complain("--memory %llu: at least %u MiB; K, M, G may follow a number", bytes,
		                LAYOUT_MEMORY_MIN >> 20);
	if (bytes > LAYOUT_MEMORY_MAX)
		return complain("--memory %llu: at most %llu GiB", bytes, LAYOUT_MEMORY_MAX >> 30);
	if (bytes % page)
		return complain("--memory %llu: must be a multiple of the page size, %llu", bytes, page);
	return 0;
}

static int check_pins(struct run_options *o)
{
	for (uint32_t i = o->cpus; i < RUN_MAX_CPUS; i++)
		if (o->pins[i] >= 0)
			return complain("--pin vcpu%u: there is no such vCPU; --cpus is %u", i, o->cpus);
	return loops_pin(&o->loops, o->pin_loop, "--pin loop");
}

static int check_transport(const struct run_options *o)
{
	if (o->transport == TRANSPORT_PCI)
		return 0;
	if (o->notify != VDB_NOTIFY_AUTO)
		return complain("--notify is for --transport pci; mmio has one way only");
	return o->no_msix ? complain("--no-msix is for --transport pci; mmio has no MSI-X") : 0;
}

static int check_serial(const struct run_options *o)
{
	if (o->serial_log && !o->console)
		return complain("--serial-log is for --console; the serial port is the terminal now");
	return 0;
}

static int check_disks(struct run_options *o)
{
	for (uint32_t i = 0; i < o->disk_count; i++) {
		if (disk_parse(&o->disks[i], o->disk_texts[i], i, o->packed))
			return -1;
		for (uint32_t j = 0; j < i; j++)
			if (!strcmp(o->disks[i].id, o->disks[j].id))
				return complain("--disk %s: another disk has the id %s; choose one by id=",
				                o->disk_texts[i], o->disks[i].id);
	}
	return 0;
}

static int check(struct run_options *o)
{
	if (o->help)
		return 0;
	if (!o->kernel)
		return complain(
		        "--kernel is missing: a bzImage or vmlinux, such as /boot/vmlinuz-$(uname -r)");
	return check_memory(o) || check_pins(o) || check_transport(o) || check_serial(o) || check_disks(o) ||
	                       balloon_check(&o->balloon, o->memory, o->poll.flags & VDB_LOOP_REGISTER_MEMORY)
	               ? -1
	               : 0;
}

int run_options_parse(struct run_options *options, int argc, char **argv)
{
	int option;

	*options = (struct run_options){.cmdline = "",
	                                .cpus = 1,
	                                .memory = 256u << 20,
	                                .pin_loop = -1,
	                                .loops = loops_default(),
	                                .sandbox = sandbox_default(),
	                                .grace = 10};
	for (uint32_t i = 0; i < RUN_MAX_CPUS; i++)
		options->pins[i] = -1;
	opterr = 0;
	optind = 1;
	while ((option = getopt_long(argc, argv, ":", table, NULL)) != -1) {
		if (option == ':')
			return complain("%s needs a value; see `tinyvmm run --help`", argv[optind - 1]);
		if (option == '?')
			return complain("no option %s; see `tinyvmm run --help`", argv[optind - 1]);
		if (take(options, option, optarg))
			return -1;
	}
	if (optind < argc)
		return complain("`%s` is not an option; see `tinyvmm run --help`", argv[optind]);
	return check(options);
}
