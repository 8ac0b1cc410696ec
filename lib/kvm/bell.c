/* SPDX-License-Identifier: Apache-2.0 */
/* The only place that makes ioeventfds: doorbells have a bell for each ring. */
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vdb/bell.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "kvm/event_fd.h"
#include "kvm/vm.h"

#define PORTS_END 0x10000u
/* What drivers write to a notify register, where KVM does not offer "any width". */
#define USUAL_BYTES 2u

struct vdb_bell {
	struct vdb_vm *vm;
	uint64_t addr, match;
	uint32_t len, flags;
	int fd;
	bool assigned;
};

static int check_place(uint32_t flags, uint32_t len, uint64_t addr)
{
	uint64_t bytes = len ? len : 1;

	if (addr == VDB_GPA_ANY)
		return 0;
	if (flags & VDB_BELL_PORT && (addr >= PORTS_END || bytes > PORTS_END - addr))
		return vdb__fail(EINVAL, "bell at port %#llx: %llu bytes there end beyond 0xffff",
		                 (unsigned long long)addr, (unsigned long long)bytes);
	if (addr + bytes < addr)
		return vdb__fail(EINVAL, "bell at %#llx: beyond the guest-physical space",
		                 (unsigned long long)addr);
	return 0;
}

static int check(const struct vdb_bell_config *config)
{
	uint32_t len = config->len;
	bool port = config->flags & VDB_BELL_PORT, match = config->flags & VDB_BELL_MATCH;

	if (config->flags & ~(VDB_BELL_PORT | VDB_BELL_MATCH | VDB_BELL_FD))
		return vdb__fail(EINVAL, "bell: unknown flags %#x", config->flags);
	if (config->flags & VDB_BELL_FD ? config->fd < 0 : config->fd != 0)
		return vdb__fail(EINVAL, "bell: fd %d; an eventfd with VDB_BELL_FD, else 0", config->fd);
	if (len > 8 || len & (len - 1))
		return vdb__fail(EINVAL, "bell: a write of %u bytes; 0, 1, 2, 4 or 8", len);
	if (port && len == 8)
		return vdb__fail(EINVAL, "bell: no port is written by 8 bytes; 0, 1, 2 or 4");
	if (match && !len)
		return vdb__fail(EINVAL, "bell: a value to match needs its length: 1, 2, 4 or 8");
	if (match && len < 8 && config->match >> (8 * len))
		return vdb__fail(EINVAL, "bell: %#llx does not fit into the %u bytes to match",
		                 (unsigned long long)config->match, len);
	return check_place(config->flags, len, config->addr);
}

static int set_ioeventfd(const struct vdb_bell *bell, uint32_t flags)
{
	struct kvm_ioeventfd request = {
	        .datamatch = bell->match,
	        .addr = bell->addr,
	        .len = bell->len,
	        .fd = bell->fd,
	        .flags = flags,
	};

	if (bell->flags & VDB_BELL_PORT)
		request.flags |= KVM_IOEVENTFD_FLAG_PIO;
	if (bell->flags & VDB_BELL_MATCH)
		request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
	return ioctl(bell->vm->fd, KVM_IOEVENTFD, &request) ? -errno : 0;
}

static int assign(struct vdb_bell *bell)
{
	int err = bell->addr == VDB_GPA_ANY ? 0 : set_ioeventfd(bell, 0);
	unsigned long long addr = bell->addr;

	bell->assigned = !err && bell->addr != VDB_GPA_ANY;
	switch (err) {
	case 0:
		return 0;
	case -EEXIST:
		return vdb__fail(EEXIST, "bell at %#llx: another bell is there", addr);
	case -ENOSPC:
		return vdb__fail(ENOSPC, "bell at %#llx: KVM's bus of the VM is full", addr);
	default:
		return vdb__fail_sys(-err, "bell at %#llx: KVM_IOEVENTFD", addr);
	}
}

static void deassign(struct vdb_bell *bell)
{
	if (bell->assigned)
		(void)set_ioeventfd(bell, KVM_IOEVENTFD_FLAG_DEASSIGN);
	bell->assigned = false;
}

static int build(struct vdb_bell *bell)
{
	if (!(bell->flags & VDB_BELL_FD))
		bell->fd = vdb__event_fd("bell");
	return bell->fd < 0 ? bell->fd : assign(bell);
}

VDB_EXPORT int vdb_bell_create(struct vdb_vm *vm, const struct vdb_bell_config *config, struct vdb_bell **out)
{
	struct vdb_bell_config own;
	struct vdb_bell *bell;
	int err = vdb__config_take(&own, sizeof(own), config, "vdb_bell_config");

	if (!err)
		err = check(&own);
	if (err)
		return err;
	bell = calloc(1, sizeof(*bell));
	if (!bell)
		return vdb__fail(ENOMEM, "bell: no memory");
	*bell = (struct vdb_bell){
	        .vm = vm,
	        .addr = own.addr,
	        .match = own.flags & VDB_BELL_MATCH ? own.match : 0,
	        .len = own.len,
	        .flags = own.flags,
	        .fd = own.flags & VDB_BELL_FD ? own.fd : -1,
	};
	/* Any width, and for memory on VMX the short way that does not decode the instruction. */
	if (!own.len && !(vm->kvm->info.features & VDB_KVM_IOEVENTFD_ANY))
		bell->len = USUAL_BYTES;
	vdb__fetch_add(&vm->attached, 1);
	err = build(bell);
	if (err) {
		vdb_bell_destroy(bell);
		return err;
	}
	*out = bell;
	return 0;
}

/* To take an ioeventfd back KVM waits for RCU, milliseconds for each. Nobody will ring those of a VM that
 * has stopped for good: they go with it, all at once. The kernel's own reference keeps the eventfd. */
VDB_EXPORT void vdb_bell_destroy(struct vdb_bell *bell)
{
	if (!bell)
		return;
	if (!vdb__life_over(bell->vm))
		deassign(bell);
	if (bell->fd >= 0 && !(bell->flags & VDB_BELL_FD))
		close(bell->fd);
	vdb__fetch_add(&bell->vm->attached, (uint32_t)-1);
	free(bell);
}

VDB_EXPORT int vdb_bell_move(struct vdb_bell *bell, uint64_t addr)
{
	int err;

	if (bell->assigned && bell->addr == addr)
		return 0;
	deassign(bell);
	err = check_place(bell->flags, bell->len, addr);
	if (err)
		return err;
	bell->addr = addr;
	return assign(bell);
}

VDB_EXPORT int vdb_bell_fd(const struct vdb_bell *bell)
{
	return bell->fd;
}
