/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a VM takes to come to life, and to be gone: from nothing to the first instruction of its
 * guest and to its first completed request, by the phases of creation. `bare` is the same by ioctls in
 * the best order, without a library or a ring. Beside them whole processes: ours, and QEMU's microvm
 * with a guest that does the same.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bare.h"
#include "crowd_vm.h"
#include "process.h"

#define ENTRIES 32u
#define CAPACITY (1u << 30)
#define AT_ONCE 8u
#define OLD_US 100000u
#define MAX_ROUNDS 200u
#define PROCESS_RAM (64u << 20)

enum phase { MEMORY, VM, BELLS, VCPU, IRQ, REGISTERS, LANE, BORN, DONE, CREATED, GONE, PHASES };

static const struct {
	const char *name, *what;
} phases[PHASES] = {
        [MEMORY] = {"memory", "  memory, and the guest's image in it"},
        [VM] = {"vm", "  VM, window of doorbell pages, irqchip"},
        [BELLS] = {"bell", "  doorbell"},
        [VCPU] = {"vcpu", "  vCPU with its CPUID"},
        [IRQ] = {"irq", "  interrupt, an MSI"},
        [REGISTERS] = {"registers", "  page tables and registers"},
        [LANE] = {"lane", "  ring and lane"},
        [BORN] = {"first-instruction", "create to the guest's first instruction"},
        [DONE] = {"first-request", "create to the guest's first completed request"},
        [CREATED] = {"create", "  all of it before the vCPU's thread"},
        [GONE] = {"teardown", "lane, doorbell, VM: all gone"},
};

struct times {
	uint64_t ns[PHASES][MAX_ROUNDS];
	uint32_t rounds;
};

static uint32_t rounds(const struct bench_options *o)
{
	return o->quick ? 3 : 30;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void tell(const struct bench_options *o, const struct bench_case *c, struct times *t, enum phase from,
                 const char *of)
{
	uint64_t median;
	char text[160];

	for (enum phase p = from; p < PHASES; p++) {
		qsort(t->ns[p], t->rounds, sizeof(uint64_t), compare);
		median = t->ns[p][t->rounds / 2];
		if (!median)
			continue;
		snprintf(text, sizeof(text), "%s%s", phases[p].what, of);
		bench_row(o, c, phases[p].name, (double)median, "ns", text);
	}
}

/* ---- The library ---- */

struct host {
	struct crowd_plan plan;
};

static void open_host(struct host *host, const struct bench_options *o)
{
	struct vdb_loop_config loop = {.size = sizeof(loop)};
	int err;

	host->plan = (struct crowd_plan){.options = o,
	                                 .lanes = 1,
	                                 .entries = ENTRIES,
	                                 .ram_bytes = crowd_ram_bytes(1, ENTRIES),
	                                 .kernel = true,
	                                 .interrupts = true};
	err = vdb_kvm_open(NULL, &host->plan.kvm);
	if (err == -ENOENT || err == -EACCES || err == -ENOTSUP)
		bench_die(BENCH_SKIPPED, "%s", vdb_errmsg());
	bench_must(err);
	bench_must(vdb_loop_create(&loop, &host->plan.loop));
	bench_must(vdb_loop_start(host->plan.loop, o->loop_cpu, "loop"));
	bench_must(vdb_backend_null(CAPACITY, &host->plan.backend));
}

static void close_host(struct host *host)
{
	bench_must(vdb_loop_join(host->plan.loop));
	bench_must(vdb_loop_destroy(host->plan.loop));
	vdb_backend_destroy(host->plan.backend);
	vdb_kvm_close(host->plan.kvm);
}

static void step(struct times *t, enum phase phase, uint64_t *last)
{
	uint64_t now = bench_ns();

	t->ns[phase][t->rounds] = now - *last;
	*last = now;
}

static void create(struct crowd_vm *vm, const struct crowd_plan *plan, uint8_t *ram, struct times *t)
{
	uint64_t last = bench_ns();

	crowd_make_memory(vm, plan, ram);
	step(t, MEMORY, &last);
	crowd_make_vm(vm);
	step(t, VM, &last);
	crowd_make_bells(vm);
	step(t, BELLS, &last);
	crowd_make_vcpu(vm);
	step(t, VCPU, &last);
	crowd_make_irqs(vm);
	step(t, IRQ, &last);
	crowd_set_start(vm);
	step(t, REGISTERS, &last);
	crowd_make_lanes(vm);
	step(t, LANE, &last);
}

static void one_life(struct host *host, struct times *t)
{
	uint8_t *ram = bench_ram(host->plan.ram_bytes);
	struct crowd_vm vm;
	uint64_t start = bench_ns(), last;

	create(&vm, &host->plan, ram, t);
	vm.box->mode = CROWD_ONCE;
	t->ns[CREATED][t->rounds] = bench_ns() - start;
	crowd_start(&vm);
	crowd_await_end(&vm, 0);
	t->ns[BORN][t->rounds] = vm.born_ns - start;
	t->ns[DONE][t->rounds] = vm.done_ns - start;
	last = bench_ns();
	crowd_close(&vm);
	crowd_gone(&vm);
	step(t, GONE, &last);
	munmap(ram, host->plan.ram_bytes);
	t->rounds++;
}

/* One that has lived for a while, with many lanes: KVM's callbacks of its creation are over. */
static void old(const struct bench_options *o, const struct bench_case *c)
{
	struct times t = {.rounds = 0};
	struct crowd_vm vm;
	struct host host;
	uint64_t last;
	uint8_t *ram;

	open_host(&host, o);
	host.plan.lanes = c->kind;
	host.plan.ram_bytes = crowd_ram_bytes(c->kind, ENTRIES);
	for (; t.rounds < rounds(o) / 3; t.rounds++) {
		ram = bench_ram(host.plan.ram_bytes);
		crowd_create(&vm, &host.plan, ram);
		vm.box->mode = CROWD_ONCE;
		crowd_start(&vm);
		crowd_await_end(&vm, 0);
		usleep(OLD_US);
		last = bench_ns();
		crowd_close(&vm);
		crowd_gone(&vm);
		step(&t, GONE, &last);
		munmap(ram, host.plan.ram_bytes);
	}
	close_host(&host);
	tell(o, c, &t, GONE, ", of a VM that is 0.1 s old and has 16 lanes");
}

static void life(const struct bench_options *o, const struct bench_case *c)
{
	struct times t = {.rounds = 0};
	struct host host;

	open_host(&host, o);
	for (uint32_t i = 0; i < rounds(o); i++)
		one_life(&host, &t);
	close_host(&host);
	tell(o, c, &t, MEMORY, "");
}

/* ---- Several at once ---- */

static void close_all(struct crowd_vm *vms, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		crowd_close(&vms[i]);
	for (uint32_t i = 0; i < count; i++)
		crowd_gone(&vms[i]);
}

static void burst(struct host *host, struct vdb_worker **workers, uint8_t *ram, struct times *t)
{
	struct crowd_plan plans[AT_ONCE];
	struct crowd_vm vms[AT_ONCE];
	struct times unused = {.rounds = 0};
	uint64_t last = bench_ns();

	for (uint32_t i = 0; i < AT_ONCE; i++) {
		plans[i] = host->plan;
		plans[i].worker = workers[i];
		create(&vms[i], &plans[i], ram + i * host->plan.ram_bytes, &unused);
		vms[i].box->mode = CROWD_ONCE;
		crowd_start(&vms[i]);
	}
	for (uint32_t i = 0; i < AT_ONCE; i++)
		crowd_await_end(&vms[i], 0);
	step(t, DONE, &last);
	close_all(vms, AT_ONCE);
	step(t, GONE, &last);
	t->rounds++;
}

static void bursts(const struct bench_options *o, const struct bench_case *c)
{
	struct vdb_worker *workers[AT_ONCE] = {0};
	struct times t = {.rounds = 0};
	struct host host;
	uint8_t *ram;

	open_host(&host, o);
	for (uint32_t i = 0; i < AT_ONCE && c->kind; i++)
		bench_must(vdb_worker_create(NULL, &workers[i]));
	for (uint32_t i = 0; i < rounds(o) / 3; i++) {
		ram = bench_ram(AT_ONCE * host.plan.ram_bytes);
		burst(&host, workers, ram, &t);
		munmap(ram, AT_ONCE * host.plan.ram_bytes);
	}
	for (uint32_t i = 0; i < AT_ONCE; i++)
		bench_must(vdb_worker_destroy(workers[i]));
	close_host(&host);
	tell(o, c, &t, DONE, ", for 8 VMs");
}

/* ---- Bare ioctls ---- */

/* The tables and the image, as the library lays them. */
static uint8_t *make_model(const struct bench_options *o)
{
	struct times unused = {.rounds = 0};
	struct crowd_vm vm;
	struct host host;
	uint8_t *ram;

	open_host(&host, o);
	ram = bench_ram(host.plan.ram_bytes);
	create(&vm, &host.plan, ram, &unused);
	crowd_close(&vm);
	crowd_gone(&vm);
	close_host(&host);
	return ram;
}

static void bare_life(const struct bare_host *host, const struct bench_options *o, const uint8_t *model,
                      struct times *t)
{
	uint8_t *ram = bench_ram(BARE_RAM);
	uint64_t start = bench_ns(), last;
	struct bare_vm vm;

	bare_create(&vm, host, o, ram, model);
	t->ns[CREATED][t->rounds] = bench_ns() - start;
	bare_run(&vm);
	t->ns[BORN][t->rounds] = vm.born_ns - start;
	t->ns[DONE][t->rounds] = vm.done_ns - start;
	last = bench_ns();
	bare_close(&vm);
	step(t, GONE, &last);
	munmap(ram, BARE_RAM);
	t->rounds++;
}

static void bare(const struct bench_options *o, const struct bench_case *c)
{
	uint8_t *model = make_model(o);
	struct times t = {.rounds = 0};
	struct bare_host host;

	bare_open(&host);
	for (uint32_t i = 0; i < rounds(o); i++)
		bare_life(&host, o, model, &t);
	bare_leave(&host);
	munmap(model, BARE_RAM);
	tell(o, c, &t, BORN, ", by bare ioctls");
}

/* ---- Whole processes ---- */

#define CMDLINE "event op=read block=4096 blocks=1024 depth=1 warm=1 run=1"

static const char *beside_us(const char *name)
{
	static char path[2][PATH_MAX + 64];
	static unsigned which;
	char *to = path[which++ % 2], *slash;
	ssize_t len = readlink("/proc/self/exe", to, PATH_MAX);

	if (len <= 0)
		bench_die(BENCH_FAILED, "where is this program?");
	to[len] = 0;
	slash = strrchr(to, '/');
	snprintf(slash + 1, 64, "%s", name);
	return to;
}

static void process(const struct bench_options *o, const struct bench_case *c, const char *const *argv)
{
	uint64_t first[MAX_ROUNDS], resident[MAX_ROUNDS];
	uint32_t n = o->quick ? 1 : 10;
	struct process_life life = {0};

	for (uint32_t i = 0; i < n; i++) {
		process_run((char *const *)(uintptr_t)argv, PROCESS_RAM, &life);
		first[i] = life.first_ns;
		resident[i] = life.resident;
	}
	qsort(first, n, sizeof(*first), compare);
	qsort(resident, n, sizeof(*resident), compare);
	n /= 2;
	bench_row(o, c, "first-request", (double)first[n], "ns", c->what);
	bench_row(o, c, "resident", (double)resident[n] / 1024, "KiB",
	          "  its memory then, without guest RAM");
	bench_row(o, c, "guest-ram", (double)life.guest / 1024, "KiB", "  guest RAM in memory then");
}

static void process_vdb(const struct bench_options *o, const struct bench_case *c)
{
	const char *const argv[] = {beside_us("life_vmm"), CMDLINE " virtio_mmio.device=4K@0xfeb00000:5",
	                            NULL};

	process(o, c, argv);
}

static void process_qemu(const struct bench_options *o, const struct bench_case *c)
{
	const char *const argv[] = {"qemu-system-x86_64",
	                            "-M",
	                            "microvm,accel=kvm,pit=off,pic=off,rtc=off,isa-serial=off",
	                            "-cpu",
	                            "host",
	                            "-m",
	                            "64",
	                            "-nodefaults",
	                            "-no-user-config",
	                            "-display",
	                            "none",
	                            "-no-reboot",
	                            "-global",
	                            "virtio-mmio.force-legacy=false",
	                            "-chardev",
	                            "stdio,id=text,signal=off",
	                            "-device",
	                            "isa-debugcon,iobase=0xe9,chardev=text",
	                            "-object",
	                            "iothread,id=loop",
	                            "-blockdev",
	                            "driver=null-co,node-name=disk,size=67108864,read-zeroes=off",
	                            "-device",
	                            "virtio-blk-device,drive=disk,iothread=loop",
	                            "-kernel",
	                            beside_us("bench_disk_guest.elf"),
	                            "-append",
	                            CMDLINE,
	                            NULL};

	process(o, c, argv);
}

int main(int argc, char **argv)
{
	static const struct bench_case cases[] = {
	        {.name = "vm", .run = life, .what = "a VM with one lane, from nothing to gone"},
	        {.name = "old", .run = old, .kind = 16, .what = "the end of a VM that has lived for a while"},
	        {.name = "bare", .run = bare, .what = "the same by ioctls alone"},
	        {.name = "process",
	         .run = process_vdb,
	         .what = "from fork to the first request: a VMM of ours"},
	        {.name = "qemu",
	         .run = process_qemu,
	         .what = "from fork to the first request: QEMU's microvm"},
	        {.name = "burst", .run = bursts, .what = "8 VMs, closed by who destroys them"},
	        {.name = "burst-workers", .run = bursts, .kind = 1, .what = "8 VMs, closed by a worker each"},
	};

	return bench_main(argc, argv, "life", cases, sizeof(cases) / sizeof(cases[0]));
}
