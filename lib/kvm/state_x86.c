/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's state as a blob: a header, then sections of KVM's own structures,
 * each 8-byte aligned, in the order in which they must be set. What is restored
 * may come from anywhere: all of it is checked before the first ioctl, and what
 * the structures hold is checked by KVM.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "base/export.h"
#include "kvm/msrs.h"
#include "kvm/vm.h"

#define MAGIC 0x53424456u /* "VDBS" */
#define VERSION 1u
#define ARCH_X86_64 62u /* its number in ELF */
#define MAX_BLOB (1u << 20)
#define ALIGN8(n) (((n) + 7u) & ~(size_t)7)

struct header {
	uint32_t magic, version, arch;
	uint32_t bytes; /* of the whole blob */
	uint32_t sections;
	uint32_t reserved;
};

struct section_header {
	uint32_t tag;
	uint32_t bytes; /* of what follows, without the padding */
};

enum {
	TAG_REGS,
	TAG_SREGS,
	TAG_SREGS2,
	TAG_DEBUG,
	TAG_XCRS,
	TAG_XSAVE,
	TAG_FPU,
	TAG_LAPIC,
	TAG_MSRS,
	TAG_EVENTS,
	TAG_MP,
	TAGS
};

struct section {
	size_t bytes; /* 0 = found out at run time */
	unsigned long get, set;
	const char *name;
};

/* By tag, in the order of restoring: the local APIC needs the APIC base of sregs, the
 * TSC deadline among the MSRs needs the APIC, XSAVE needs XCR0. */
static const struct section sections[TAGS] = {
        [TAG_REGS] = {sizeof(struct kvm_regs), KVM_GET_REGS, KVM_SET_REGS, "registers"},
        [TAG_SREGS] = {sizeof(struct kvm_sregs), KVM_GET_SREGS, KVM_SET_SREGS, "system registers"},
        [TAG_SREGS2] = {sizeof(struct kvm_sregs2), KVM_GET_SREGS2, KVM_SET_SREGS2, "system registers"},
        [TAG_DEBUG] = {sizeof(struct kvm_debugregs), KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, "debug registers"},
        [TAG_XCRS] = {sizeof(struct kvm_xcrs), KVM_GET_XCRS, KVM_SET_XCRS, "XCRs"},
        [TAG_XSAVE] = {0, 0, KVM_SET_XSAVE, "XSAVE area"},
        [TAG_FPU] = {sizeof(struct kvm_fpu), KVM_GET_FPU, KVM_SET_FPU, "FPU"},
        [TAG_LAPIC] = {sizeof(struct kvm_lapic_state), KVM_GET_LAPIC, KVM_SET_LAPIC, "local APIC"},
        [TAG_MSRS] = {0, 0, 0, "MSRs"},
        [TAG_EVENTS] = {sizeof(struct kvm_vcpu_events), KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
                        "pending events"},
        [TAG_MP] = {sizeof(struct kvm_mp_state), KVM_GET_MP_STATE, KVM_SET_MP_STATE, "MP state"},
};

static bool has(const struct vdb_vcpu *vcpu, int cap)
{
	return ioctl(vcpu->vm->kvm->fd, KVM_CHECK_EXTENSION, cap) > 0;
}

/* Which sections a blob has on this host: exactly these. */
static bool present(const struct vdb_vcpu *vcpu, unsigned tag)
{
	switch (tag) {
	case TAG_SREGS:
		return !has(vcpu, KVM_CAP_SREGS2);
	case TAG_SREGS2:
		return has(vcpu, KVM_CAP_SREGS2);
	case TAG_DEBUG:
		return has(vcpu, KVM_CAP_DEBUGREGS);
	case TAG_XCRS:
		return has(vcpu, KVM_CAP_XCRS);
	case TAG_XSAVE:
		return has(vcpu, KVM_CAP_XSAVE);
	case TAG_FPU:
		return !has(vcpu, KVM_CAP_XSAVE);
	case TAG_LAPIC:
		return vcpu->vm->config.irqchip != VDB_IRQCHIP_NONE;
	default:
		return true;
	}
}

/* KVM_GET_XSAVE writes the first 4 KiB only, KVM_SET_XSAVE reads as much as KVM_CAP_XSAVE2 says. */
static size_t xsave_bytes(const struct vdb_vcpu *vcpu)
{
	size_t bytes = vcpu->vm->kvm->xsave_bytes;

	return bytes > sizeof(struct kvm_xsave) ? bytes : sizeof(struct kvm_xsave);
}

static unsigned long get_request(const struct vdb_vcpu *vcpu, unsigned tag)
{
	if (tag != TAG_XSAVE)
		return sections[tag].get;
	return vcpu->vm->kvm->xsave_bytes ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
}

/* ---- Saving ---- */

struct blob {
	unsigned char *data;
	size_t used, room;
	uint32_t sections;
};

/* Zeroed room for a section of at most `bytes`; the header is written by end_section(). */
static void *begin_section(struct blob *blob, size_t bytes)
{
	size_t need = blob->used + sizeof(struct section_header) + ALIGN8(bytes);
	unsigned char *data;

	if (!blob->data || need > blob->room) {
		data = realloc(blob->data, need);
		if (!data) {
			vdb__fail(ENOMEM, "vCPU state: no memory for %zu bytes", need);
			return NULL;
		}
		blob->data = data;
		blob->room = need;
	}
	memset(blob->data + blob->used, 0, need - blob->used);
	return blob->data + blob->used + sizeof(struct section_header);
}

static void end_section(struct blob *blob, unsigned tag, size_t bytes)
{
	struct section_header header = {.tag = tag, .bytes = (uint32_t)bytes};

	memcpy(blob->data + blob->used, &header, sizeof(header));
	blob->used += sizeof(header) + ALIGN8(bytes);
	blob->sections++;
}

static int save_plain(struct vdb_vcpu *vcpu, struct blob *blob, unsigned tag)
{
	size_t bytes = tag == TAG_XSAVE ? xsave_bytes(vcpu) : sections[tag].bytes;
	void *to = begin_section(blob, bytes);

	if (!to)
		return -ENOMEM;
	if (ioctl(vcpu->fd, get_request(vcpu, tag), to))
		return vdb__fail_sys(errno, "vCPU %u: %s cannot be read", vcpu->index, sections[tag].name);
	end_section(blob, tag, bytes);
	return 0;
}

static int save_msrs(struct vdb_vcpu *vcpu, struct blob *blob)
{
	struct kvm_msr_entry *entries;
	int64_t n = vdb__msrs_get(vcpu, &entries);
	size_t bytes;
	void *to;

	if (n < 0)
		return (int)n;
	bytes = (size_t)n * sizeof(*entries);
	to = begin_section(blob, bytes);
	if (to) {
		memcpy(to, entries, bytes);
		end_section(blob, TAG_MSRS, bytes);
	}
	free(entries);
	return to ? 0 : -ENOMEM;
}

static int save(struct vdb_vcpu *vcpu, struct blob *blob)
{
	struct header header = {.magic = MAGIC, .version = VERSION, .arch = ARCH_X86_64};
	int err = 0;

	blob->used = sizeof(header);
	for (unsigned tag = 0; tag < TAGS && !err; tag++) {
		if (tag == TAG_MSRS)
			err = save_msrs(vcpu, blob);
		else if (present(vcpu, tag))
			err = save_plain(vcpu, blob, tag);
	}
	if (err)
		return err;
	header.bytes = (uint32_t)blob->used;
	header.sections = blob->sections;
	memcpy(blob->data, &header, sizeof(header));
	return 0;
}

static int hand_out(const struct blob *blob, void *buf, size_t *len)
{
	if (buf && *len < blob->used)
		return vdb__fail(ENOSPC, "vCPU state: needs %zu bytes, the buffer has %zu", blob->used, *len);
	if (buf)
		memcpy(buf, blob->data, blob->used);
	*len = blob->used;
	return 0;
}

VDB_EXPORT int vdb_vcpu_save(struct vdb_vcpu *vcpu, void *buf, size_t *len)
{
	struct blob blob = {0};
	int err = vdb__life_examine(vcpu, "state");

	if (err)
		return err;
	err = save(vcpu, &blob);
	vdb__life_examined(vcpu);
	if (!err)
		err = hand_out(&blob, buf, len);
	free(blob.data);
	return err;
}

/* ---- Restoring ---- */

/* Where each section of a blob is; data NULL = absent. */
struct parsed {
	struct {
		unsigned char *data;
		size_t bytes;
	} at[TAGS];
};

static int bad(const char *why)
{
	return vdb__fail(EINVAL, "vCPU state: %s", why);
}

static int check_header(const unsigned char *blob, size_t len, struct header *header)
{
	if (len < sizeof(*header) || len > MAX_BLOB)
		return bad("too short or too long for one");
	memcpy(header, blob, sizeof(*header));
	if (header->magic != MAGIC || header->arch != ARCH_X86_64)
		return bad("not the state of an x86-64 vCPU");
	if (header->version != VERSION)
		return vdb__fail(EINVAL, "vCPU state: version %u, this library knows %u", header->version,
		                 VERSION);
	if (header->bytes != len || header->reserved)
		return bad("its length is not what it says");
	return 0;
}

static bool bytes_ok(const struct vdb_vcpu *vcpu, unsigned tag, size_t bytes)
{
	if (tag == TAG_MSRS)
		return bytes % sizeof(struct kvm_msr_entry) == 0;
	return bytes == (tag == TAG_XSAVE ? xsave_bytes(vcpu) : sections[tag].bytes);
}

/* The section at *offset, which moves behind it. */
static int parse_section(struct vdb_vcpu *vcpu, unsigned char *blob, size_t len, size_t *offset,
                         struct parsed *parsed)
{
	struct section_header header;
	size_t left = len - *offset;

	if (left < sizeof(header))
		return bad("cut off");
	memcpy(&header, blob + *offset, sizeof(header));
	left -= sizeof(header);
	if (header.tag >= TAGS || parsed->at[header.tag].data)
		return bad("a section is unknown or comes twice");
	if (ALIGN8((size_t)header.bytes) > left || !bytes_ok(vcpu, header.tag, header.bytes))
		return vdb__fail(EINVAL, "vCPU state: %s of %u bytes do not fit this host",
		                 sections[header.tag].name, header.bytes);
	parsed->at[header.tag].data = blob + *offset + sizeof(header);
	parsed->at[header.tag].bytes = header.bytes;
	*offset += sizeof(header) + ALIGN8((size_t)header.bytes);
	return 0;
}

static int parse(struct vdb_vcpu *vcpu, unsigned char *blob, size_t len, struct parsed *parsed)
{
	size_t offset = sizeof(struct header);
	struct header header = {0};
	int err = check_header(blob, len, &header);

	for (uint32_t i = 0; !err && i < header.sections; i++)
		err = parse_section(vcpu, blob, len, &offset, parsed);
	if (err)
		return err;
	if (offset != len)
		return bad("something follows the last section");
	for (unsigned tag = 0; tag < TAGS; tag++) {
		if (present(vcpu, tag) != (parsed->at[tag].data != NULL))
			return vdb__fail(EINVAL, "vCPU state: %s missing, or unknown to this host",
			                 sections[tag].name);
	}
	return 0;
}

static int apply(struct vdb_vcpu *vcpu, const struct parsed *parsed)
{
	int err = 0;

	for (unsigned tag = 0; tag < TAGS && !err; tag++) {
		if (!parsed->at[tag].data)
			continue;
		if (tag == TAG_MSRS)
			err = vdb__msrs_set(vcpu, (const void *)parsed->at[tag].data,
			                    parsed->at[tag].bytes / sizeof(struct kvm_msr_entry));
		else if (ioctl(vcpu->fd, sections[tag].set, parsed->at[tag].data))
			err = vdb__fail(EINVAL, "vCPU %u: KVM refuses the %s", vcpu->index,
			                sections[tag].name);
	}
	return err;
}

/* Its own copy: aligned, and the caller cannot change it between check and use. */
static int restore(struct vdb_vcpu *vcpu, const void *buf, size_t len)
{
	struct parsed parsed = {0};
	unsigned char *blob;
	int err;

	if (!buf || len > MAX_BLOB)
		return bad("too long for one");
	blob = malloc(len ? len : 1);
	if (!blob)
		return vdb__fail(ENOMEM, "vCPU state: no memory for %zu bytes", len);
	memcpy(blob, buf, len);
	err = parse(vcpu, blob, len, &parsed);
	if (!err)
		err = apply(vcpu, &parsed);
	free(blob);
	return err;
}

VDB_EXPORT int vdb_vcpu_restore(struct vdb_vcpu *vcpu, const void *buf, size_t len)
{
	int err = vdb__life_examine(vcpu, "state");

	if (err)
		return err;
	err = restore(vcpu, buf, len);
	vdb__life_examined(vcpu);
	return err;
}
