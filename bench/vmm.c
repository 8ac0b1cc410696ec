/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/port_abi.h"
#include "said.h"

#define HUGE (2u << 20)

/* As QEMU has it: aligned, and asked to be of huge pages. */
static void make_memory(struct vmm *m)
{
	struct vdb_region_config ram = {.size = sizeof(ram), .len = DISK_RAM, .backing = VDB_MEM_HOST};

	m->map = mmap(NULL, DISK_RAM + HUGE, PROT_READ | PROT_WRITE,
	              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (m->map == MAP_FAILED)
		bench_die(BENCH_FAILED, "no memory");
	m->base = (uint8_t *)(((uintptr_t)m->map + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
	ram.host = m->base;
	(void)madvise(m->base, DISK_RAM, MADV_HUGEPAGE);
	bench_must(vdb_mem_create(&m->mem));
	bench_must(vdb_mem_add(m->mem, &ram));
}

static void said(void *ctx, struct vdb_bus_access *access)
{
	struct vmm *m = ctx;

	if (m->text_len + 1 < sizeof(m->text))
		m->text[m->text_len++] = (char)access->data[0];
	if (m->echo && write(m->echo, access->data, 1) != 1)
		bench_die(BENCH_FAILED, "nobody listens");
}

static void ended(void *ctx, struct vdb_bus_access *access)
{
	struct vmm *m = ctx;

	(void)access;
	bench_must(vdb_vm_stop(m->vm, NULL, NULL));
	vdb_gate_open(m->ended, 0);
}

static int faulted(void *arg, const struct vdb_event *event)
{
	struct vmm *m = arg;

	snprintf(m->event, sizeof(m->event), "%s (rip %#llx)", event->text, (unsigned long long)event->rip);
	vdb_gate_open(m->ended, 0);
	return VDB_EVENT_STOP;
}

static void make_vm(struct vmm *m)
{
	static const struct vdb_bus_ops text = {.size = sizeof(text), .write = said};
	static const struct vdb_bus_ops end = {.size = sizeof(end), .write = ended};
	const struct vdb_vm_config config = {.size = sizeof(config),
	                                     .event = faulted,
	                                     .event_arg = m,
	                                     .doorbell_pages = 1,
	                                     .doorbell_ports = 1};
	int err = vdb_kvm_open(NULL, &m->kvm);

	if (err == -ENOENT || err == -EACCES || err == -ENOTSUP)
		bench_die(BENCH_SKIPPED, "%s", vdb_errmsg());
	bench_must(err);
	bench_must(vdb_vm_create(m->kvm, m->mem, &config, &m->vm));
	bench_must(vdb_gate_create(&m->ended));
	bench_must(vdb_bus_add(vdb_vm_pio(m->vm), "text", PORT_TEXT, 1, &text, m));
	bench_must(vdb_bus_add(vdb_vm_pio(m->vm), "end", PORT_END, 1, &end, m));
	bench_must(vdb_vcpu_create(m->vm, 0, &m->vcpu));
}

void vmm_create(struct vmm *m)
{
	*m = (struct vmm){0};
	make_memory(m);
	make_vm(m);
}

void vmm_start(struct vmm *m, const struct bench_options *o, const char *kernel, const char *cmdline)
{
	const struct vdb_boot_config boot = {.size = sizeof(boot), .kernel = kernel, .cmdline = cmdline};
	struct vdb_boot_info info = {.size = sizeof(info)};

	bench_must(vdb_boot_load(m->mem, &boot, &info));
	bench_must(vdb_boot_start(m->vcpu, &info));
	if (vdb_vcpu_start(m->vcpu, o->vcpu_cpu, "vcpu"))
		bench_die(BENCH_SKIPPED, "%s; name other CPUs: -c VCPU,LOOP", vdb_errmsg());
}

const char *vmm_await(struct vmm *m, const struct bench_options *o)
{
	int64_t ignored;
	int err = vdb_gate_wait(m->ended, (int64_t)said_patience(o) * 1000000, &ignored);

	if (err != -ETIMEDOUT)
		bench_must(err);
	if (*m->event)
		bench_die(BENCH_FAILED, "the guest: %s", m->event);
	return m->text;
}

void vmm_run(struct vmm *m, const struct bench_options *o, const char *cmdline, struct disk_result *result)
{
	vmm_start(m, o, disk_guest(), cmdline);
	disk_read_result(vmm_await(m, o), result);
}

void vmm_destroy(struct vmm *m)
{
	struct vdb_gate *gone = bench_gate();

	bench_must(vdb_vm_destroy(m->vm, bench_gate_open, vdb_gate_ref(gone)));
	bench_gate_wait(gone);
	vdb_gate_unref(m->ended);
	vdb_kvm_close(m->kvm);
	bench_must(vdb_mem_destroy(m->mem));
	munmap(m->map, DISK_RAM + HUGE);
}
