/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A good VM beside a bad one on the same loop: the round trip of a ring with one request at a time, alone and
 * beside the ring of another tenant that does what no driver should, as fast as its vCPU goes. Both rings
 * are one guest's, which does its misdeeds while it waits: so a host CPU each for it and for the loop do, and
 * what is measured is what the loop makes of it, not who else wants the CPU. A misdeed of its own, a bell
 * of 2.7 us say, is at most what the guest sees an answer later for.
 */
#include <errno.h>
#include <sys/mman.h>

#include "crowd_vm.h"

#define CAPACITY (1ull << 30)
#define LONG_POLL_NS 1000000u /* longer than the gap between two requests of the good one */
#define GAP_US 200u
#define ENTRIES 128u
#define IRQS 20000u

struct bed {
	struct crowd_plan plan;
	struct crowd_vm vm;
	struct vdb_tenant *bad;
	uint8_t *ram;
};

static void open_loop(struct bed *bed, uint32_t poll_ns)
{
	struct vdb_loop_config loop = {.size = sizeof(loop), .poll_ns = poll_ns};
	int err = vdb_kvm_open(NULL, &bed->plan.kvm);

	if (err == -ENOENT || err == -EACCES || err == -ENOTSUP)
		bench_die(BENCH_SKIPPED, "%s", vdb_errmsg());
	bench_must(err);
	bench_must(vdb_loop_create(&loop, &bed->plan.loop));
	bench_must(vdb_loop_start(bed->plan.loop, bed->plan.options->loop_cpu, "loop"));
	bench_must(vdb_backend_null(CAPACITY, &bed->plan.backend));
}

static void open_bed(struct bed *bed, const struct bench_options *o, const struct bench_case *c,
                     const struct vdb_caps *caps)
{
	*bed = (struct bed){.plan = {.options = o,
	                             .lanes = 2,
	                             .entries = ENTRIES,
	                             .interrupts = true,
	                             .ram_bytes = crowd_ram_bytes(2, ENTRIES)}};
	open_loop(bed, c->polling ? LONG_POLL_NS : 0);
	bench_must(vdb_tenant_create(bed->plan.loop, &bed->bad));
	bench_must(vdb_tenant_caps(bed->bad, caps));
	bed->plan.last_tenant = bed->bad;
	bed->ram = bench_ram(bed->plan.ram_bytes);
	crowd_create(&bed->vm, &bed->plan, bed->ram);
}

static void close_bed(struct bed *bed)
{
	crowd_close(&bed->vm);
	crowd_gone(&bed->vm);
	vdb_tenant_destroy(bed->bad);
	bench_must(vdb_loop_join(bed->plan.loop));
	bench_must(vdb_loop_destroy(bed->plan.loop));
	vdb_backend_destroy(bed->plan.backend);
	vdb_kvm_close(bed->plan.kvm);
	munmap(bed->ram, bed->plan.ram_bytes);
}

static void beside(const struct bench_options *o, const struct bench_case *c, const struct vdb_caps *caps)
{
	struct vdb_tenant_stats bad = {.size = sizeof(bad)};
	struct crowd_box *box;
	struct bed bed;
	double each;

	open_bed(&bed, o, c, caps);
	box = bed.vm.box;
	box->mode = CROWD_BESIDE;
	box->misdeed = c->kind;
	box->depth = c->depth;
	box->bytes = c->kind == CROWD_FLOODS ? 131072 : 1;
	box->blocks = CAPACITY / 131072;
	box->gap = bench_ms_to_ticks(GAP_US) / 1000;
	box->room = o->count < CROWD_SAMPLES_MAX ? o->count : CROWD_SAMPLES_MAX;
	crowd_start(&bed.vm);
	crowd_await_end(&bed.vm, o->count * GAP_US / 1000 * 4);
	bench_percentiles(o, c, "trip", bed.vm.samples, box->sampled, c->what);
	bench_must(vdb_tenant_stats(bed.bad, &bad));
	each = (double)box->sampled;
	if (c->depth) {
		bench_row(o, c, "bells", (double)bad.bells / each, "",
		          "  bells of the bad one that arrived, for each trip");
		bench_row(o, c, "requests", (double)bad.requests / each, "", "  its requests");
		bench_row(o, c, "broken", (double)bad.broken / each, "", "  its broken rings");
		bench_row(o, c, "irqs", (double)bad.irqs / each, "", "  its interrupts");
	}
	close_bed(&bed);
}

static void free_to(const struct bench_options *o, const struct bench_case *c)
{
	beside(o, c, NULL);
}

static void capped(const struct bench_options *o, const struct bench_case *c)
{
	const struct vdb_caps caps = {.size = sizeof(caps), .irqs_per_s = IRQS};

	beside(o, c, &caps);
}

#define TRIP "round trip of a good VM's request"
#define CASE(id, how, misdeed, text)                                                                     \
	{.name = (id), .run = (how), .kind = (misdeed), .depth = ENTRIES, .what = TRIP " beside " text}, \
	{                                                                                                \
		.name = id "-poll", .run = (how), .kind = (misdeed), .depth = ENTRIES, .polling = true,  \
		.what = "  the same, the loop looks at rings"                                            \
	}

static const struct bench_case cases[] = {
        {.name = "alone", .run = free_to, .what = TRIP ", alone"},
        {.name = "alone-poll",
         .run = free_to,
         .polling = true,
         .what = TRIP ", alone, the loop looks at rings"},
        CASE("flood", free_to, CROWD_FLOODS, "one that floods, 128 KiB each"),
        CASE("bells", free_to, CROWD_RINGS, "one that rings for nothing"),
        CASE("garbage", free_to, CROWD_GARBLES, "one whose requests make no sense"),
        CASE("breaks", free_to, CROWD_BREAKS, "one that breaks its ring and resets it"),
        CASE("irqs", free_to, CROWD_DISTURBS, "one that wants an interrupt for each byte"),
        CASE("irqs-capped", capped, CROWD_DISTURBS, "the same with a cap of 20000 a second"),
};

int main(int argc, char **argv)
{
	return bench_main(argc, argv, "hostile", cases, sizeof(cases) / sizeof(cases[0]));
}
