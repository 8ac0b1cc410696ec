/* SPDX-License-Identifier: Apache-2.0 */
/* Exits: accesses go to the buses, everything else becomes an event in words. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/export.h"
#include "kvm/arch.h"
#include "kvm/vcpu.h"
#include "kvm/vm.h"

/* Newer than some headers. */
#define EXIT_MEMORY_FAULT 39u

static bool access_bus(struct vdb_vcpu *vcpu, struct vdb_bus *bus, uint64_t addr, void *data, uint32_t len,
                       bool write)
{
	int claimed;

	vcpu->handling = true;
	claimed =
	        write ? vdb_bus_write(bus, vcpu, addr, data, len) : vdb_bus_read(bus, vcpu, addr, data, len);
	vcpu->handling = false;
	if (!claimed)
		vdb__count(&vcpu->stats.unclaimed, 1);
	return claimed;
}

/* String instructions come as `count` accesses to one port. */
static void exit_pio(struct vdb_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool write = run->io.direction == KVM_EXIT_IO_OUT;
	uint32_t size = run->io.size, count = run->io.count;

	vdb__count(&vcpu->stats.exits_pio, 1);
	for (uint32_t i = 0; i < count; i++)
		(void)access_bus(vcpu, vcpu->vm->pio, run->io.port, data + (size_t)i * size, size, write);
}

static void exit_mmio(struct vdb_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	vdb__count(&vcpu->stats.exits_mmio, 1);
	(void)access_bus(vcpu, vcpu->vm->mmio, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
	                 run->mmio.is_write);
}

/* An event under construction, with room for its sentence. */
struct report {
	struct vdb_event event;
	char text[256];
};

static void describe_internal(struct report *r, const struct kvm_run *run)
{
	const char *why = "an internal error";
	uint32_t words = run->internal.ndata;

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		why = "an instruction that KVM cannot emulate";
	else if (run->internal.suberror == KVM_INTERNAL_ERROR_DELIVERY_EV)
		why = "a failed delivery of an exception or interrupt";
	r->event.kind = VDB_EVENT_INTERNAL_ERROR;
	r->event.data[0] = run->internal.suberror;
	for (uint32_t i = 0; i < words && i < 3; i++)
		r->event.data[1 + i] = run->internal.data[i];
	(void)snprintf(r->text, sizeof(r->text), "vCPU %u: KVM gave up at rip %#" PRIx64 ": %s (suberror %u)",
	               r->event.vcpu, r->event.rip, why, run->internal.suberror);
}

static void describe(struct report *r, const struct kvm_run *run)
{
	struct vdb_event *event = &r->event;

	switch (run->exit_reason) {
	case KVM_EXIT_SHUTDOWN:
		event->kind = VDB_EVENT_SHUTDOWN;
		(void)snprintf(r->text, sizeof(r->text), "vCPU %u: triple fault at rip %#" PRIx64,
		               event->vcpu, event->rip);
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		event->kind = VDB_EVENT_SYSTEM;
		event->data[0] = run->system_event.type;
		(void)snprintf(r->text, sizeof(r->text), "vCPU %u: the guest asks for system event %u",
		               event->vcpu, run->system_event.type);
		return;
	case KVM_EXIT_HLT:
		event->kind = VDB_EVENT_HALT;
		(void)snprintf(r->text, sizeof(r->text), "vCPU %u: HLT before rip %#" PRIx64, event->vcpu,
		               event->rip);
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		describe_internal(r, run);
		return;
	case KVM_EXIT_FAIL_ENTRY:
		event->kind = VDB_EVENT_FAIL_ENTRY;
		event->data[0] = run->fail_entry.hardware_entry_failure_reason;
		(void)snprintf(r->text, sizeof(r->text),
		               "vCPU %u: the processor refuses to enter the guest, hardware reason %#" PRIx64,
		               event->vcpu, event->data[0]);
		return;
	default:
		event->kind = VDB_EVENT_UNKNOWN_EXIT;
		event->data[0] = run->exit_reason;
		(void)snprintf(r->text, sizeof(r->text),
		               "vCPU %u: exit reason %u at rip %#" PRIx64 ", which libvdb does not know",
		               event->vcpu, run->exit_reason, event->rip);
	}
}

static void begin_report(struct report *r, struct vdb_vcpu *vcpu)
{
	memset(r, 0, sizeof(*r));
	r->event.size = sizeof(r->event);
	r->event.vcpu = vcpu->index;
	r->event.rip = vdb__arch_rip(vcpu);
	r->event.text = r->text;
}

/* True: the embedder says go on. */
static bool tell(struct vdb_vcpu *vcpu, const struct report *r)
{
	const struct vdb_vm_config *config = &vcpu->vm->config;

	return config->event && config->event(config->event_arg, &r->event) == VDB_EVENT_CONTINUE;
}

static bool raise_event(struct vdb_vcpu *vcpu, const struct report *r)
{
	vdb__count(&vcpu->stats.exits_other, 1);
	return tell(vcpu, r);
}

static const char *wish(uint32_t kind)
{
	switch (kind) {
	case VDB_EVENT_RESET:
		return "the guest asks to be reset";
	case VDB_EVENT_POWEROFF:
		return "the guest has powered off";
	case VDB_EVENT_PANIC:
		return "the guest has panicked";
	case VDB_EVENT_EXIT:
		return "the guest has ended";
	default:
		return "a device has something to tell";
	}
}

VDB_EXPORT void vdb_vcpu_raise(struct vdb_vcpu *vcpu, const struct vdb_event *event)
{
	struct vdb_event own;
	struct report r;

	if (!vcpu || vdb__config_take(&own, sizeof(own), event, "vdb_event"))
		return;
	begin_report(&r, vcpu);
	r.event.kind = own.kind;
	memcpy(r.event.data, own.data, sizeof(own.data));
	(void)snprintf(r.text, sizeof(r.text), "vCPU %u: %s", vcpu->index,
	               own.text ? own.text : wish(own.kind));
	/* The access is completed in the kernel before the vCPU stops: see run.c. */
	if (!tell(vcpu, &r))
		vcpu->ending = true;
}

bool vdb__exit_failed(struct vdb_vcpu *vcpu, int err)
{
	struct report r;
	char reason[64];
	const char *where = vcpu->run->exit_reason == EXIT_MEMORY_FAULT ? ", a memory fault" : "";

	begin_report(&r, vcpu);
	r.event.kind = VDB_EVENT_RUN_FAILED;
	r.event.data[0] = (uint64_t)err;
	(void)snprintf(r.text, sizeof(r.text), "vCPU %u: KVM_RUN failed at rip %#" PRIx64 ": %s%s",
	               r.event.vcpu, r.event.rip, strerror_r(err, reason, sizeof(reason)), where);
	return raise_event(vcpu, &r);
}

bool vdb__exit_dispatch(struct vdb_vcpu *vcpu)
{
	struct report r;

	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		exit_pio(vcpu);
		return true;
	case KVM_EXIT_MMIO:
		exit_mmio(vcpu);
		return true;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_IOAPIC_EOI: /* of pins that a split irqchip reserves and nobody emulates */
		vdb__count(&vcpu->stats.exits_other, 1);
		return true;
	default:
		begin_report(&r, vcpu);
		describe(&r, vcpu->run);
		return raise_event(vcpu, &r);
	}
}
