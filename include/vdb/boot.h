/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a kernel into guest memory, without firmware (x86-64): bzImage by the 64-bit boot
 * protocol, ELF by PVH or by the same; initrd, command line, memory map. Everything read
 * from a file is checked before it is used; a refusal names the file, what is wrong and
 * what to do.
 */
#ifndef VDB_BOOT_H
#define VDB_BOOT_H

#include <vdb/mem.h>
#include <vdb/vcpu.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	VDB_BOOT_AUTO = 0,  /* by what the file is: ELF with a PVH note = PVH, bzImage and vmlinux = LINUX */
	VDB_BOOT_LINUX = 1, /* 64-bit boot protocol, zero page */
	VDB_BOOT_PVH = 2,   /* 32-bit, hvm_start_info */
};

enum {
	VDB_E820_RAM = 1,
	VDB_E820_RESERVED = 2,
	VDB_E820_ACPI = 3,
	VDB_E820_NVS = 4,
};

struct vdb_e820 {
	vdb_gpa_t gpa;
	uint64_t len;
	uint32_t type; /* VDB_E820_* */
	uint32_t reserved;
};

struct vdb_boot_config {
	uint32_t size;
	uint32_t protocol;   /* VDB_BOOT_* */
	const char *kernel;  /* path */
	const char *initrd;  /* path; NULL: none */
	const char *cmdline; /* NULL: "" */
	vdb_gpa_t rsdp;      /* of ACPI tables in memory; 0: none */
	/* Ranges besides memory that the guest is told of, and parts of memory that are not to be
	 * used (ACPI tables, MP table): win over RAM. Writable regions of mem are the RAM. */
	const struct vdb_e820 *reserved;
	uint32_t reserved_count;
	uint32_t unused;
};

/* Where to start, for vdb_boot_start(). */
struct vdb_boot_info {
	uint32_t size;
	uint32_t protocol; /* VDB_BOOT_LINUX or _PVH */
	vdb_gpa_t entry;
	vdb_gpa_t info;      /* zero page, or hvm_start_info */
	vdb_gpa_t kernel;    /* where it lies, lowest byte */
	uint64_t kernel_len; /* with what it needs to unpack itself */
	vdb_gpa_t initrd;    /* 0: none */
	uint64_t initrd_len;
	uint32_t cmdline_max; /* bytes that this kernel takes; an ELF file does not say: 2047, as Linux */
	uint32_t reserved;
};

/*
 * Where things go:
 *
 *   0x1000   page tables, GDT            VDB_X86_TABLES_BYTES, LINUX only
 *   0x11000  zero page or hvm_start_info a page
 *   0x20000  command line                up to 64 KiB
 *   0x9fc00  not RAM for the guest, up to 1 MiB: place ACPI tables and MP table there
 *   the kernel  where it wants to be: ELF segments at their physical addresses, a bzImage at the lowest
 *               place from its preferred address on
 *   the initrd  as high as the kernel may have it: below 2 GiB; a bzImage that says so, below 4 GiB, and
 *               above if there is no room
 *
 * RAM may have holes: guests with much memory want it below 0xc0000000 and from 4 GiB on.
 */
#define VDB_BOOT_TABLES 0x1000u

/*
 * Loads all of it into `mem`, whose regions must be there: RAM from 0 on. -ENOEXEC: not a kernel,
 * or not one for 64 bits; -EINVAL: malformed, truncated, command line too long; -ENOSPC: too big
 * for the memory (the message has both sizes); or what open() and read() said. What a failure leaves in
 * memory is unspecified. Set info->size before. Control thread, before a vCPU runs.
 */
VDB_MUST_CHECK int vdb_boot_load(struct vdb_mem *mem, const struct vdb_boot_config *config,
                                 struct vdb_boot_info *info);

/* Call it for every vCPU: sets those MSRs that firmware would have set and, on vCPU 0, the registers as the
 * protocol wants them; the others wait for INIT and SIPI. Any vCPU that does not run. */
VDB_MUST_CHECK int vdb_boot_start(struct vdb_vcpu *vcpu, const struct vdb_boot_info *info);

#ifdef __cplusplus
}
#endif
#endif
