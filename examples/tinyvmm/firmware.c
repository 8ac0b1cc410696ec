/* SPDX-License-Identifier: Apache-2.0 */
#include "firmware.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "run.h"
#include "tinyvmm.h"

static int add_memory(struct run *run, vdb_gpa_t gpa, uint64_t len)
{
	struct vdb_region_config config = {
	        .size = sizeof(config),
	        .flags = run->options.balloon.given ? VDB_REGION_DISCARDABLE : 0,
	        .gpa = gpa,
	        .len = len,
	        .backing = run->options.memfd ? VDB_MEM_MEMFD : VDB_MEM_ANON,
	        .hugetlb_log2 = run->options.hugepages ? 21 : 0,
	};

	return len ? vdb_mem_add(run->mem, &config) : 0;
}

int firmware_memory(struct run *run)
{
	uint64_t bytes = run->options.memory, low = bytes < LAYOUT_HOLE ? bytes : LAYOUT_HOLE;

	if (vdb_mem_create(&run->mem) || add_memory(run, 0, low) ||
	    add_memory(run, LAYOUT_HOLE_END, bytes - low))
		return complain("--memory: %s", vdb_errmsg());
	return 0;
}

/* What the user says comes last: where it contradicts, Linux goes by the last word. */
static int make_cmdline(const struct run *run, char *text, size_t room)
{
	const struct run_options *o = &run->options;
	size_t len = 0;

	len += (size_t)snprintf(text, room, "console=%s panic=-1", o->console ? "hvc0" : "ttyS0");
	for (uint32_t i = 0; o->no_acpi && o->transport == TRANSPORT_MMIO && i < devices_count(o); i++) {
		struct vdb_acpi_mmio at = devices_mmio(o, i);

		len += (size_t)snprintf(text + len, room - len, " virtio_mmio.device=4K@%#llx:%u",
		                        (unsigned long long)at.base, at.gsi);
	}
	if (len + 1 + strlen(o->cmdline) >= room)
		return complain("--cmdline: is too long: %zu characters", strlen(o->cmdline));
	if (*o->cmdline)
		snprintf(text + len, room - len, " %s", o->cmdline);
	return 0;
}

int firmware_load(struct run *run)
{
	const struct run_options *o = &run->options;
	const struct vdb_e820 reserved[] = {
	        {LAYOUT_RESERVED, LAYOUT_HIGH - LAYOUT_RESERVED, VDB_E820_RESERVED, 0},
	        {LAYOUT_PCI_ECAM, VDB_PCI_ECAM_BYTES, VDB_E820_RESERVED, 0},
	};
	char cmdline[65536];
	struct vdb_boot_config config = {
	        .size = sizeof(config),
	        .kernel = o->kernel,
	        .initrd = o->initrd,
	        .cmdline = cmdline,
	        .rsdp = o->no_acpi ? 0 : LAYOUT_ACPI,
	        .reserved = reserved,
	        .reserved_count = o->transport == TRANSPORT_PCI ? 2 : 1,
	};

	run->boot.size = sizeof(run->boot);
	if (make_cmdline(run, cmdline, sizeof(cmdline)))
		return -1;
	return vdb_boot_load(run->mem, &config, &run->boot) ? complain("%s", vdb_errmsg()) : 0;
}

/* ---- Tables ---- */

static int install(struct run *run, vdb_gpa_t gpa, void *table, int64_t len)
{
	if (len < 0 || vdb_mem_write(run->mem, gpa, table, (uint64_t)len))
		return complain("%s", vdb_errmsg());
	return 0;
}

int firmware_tables(struct run *run)
{
	const struct run_options *o = &run->options;
	struct vdb_acpi_mmio mmio[DEVICES_MAX];
	struct vdb_pci_config pci = {.size = sizeof(pci)};
	struct vdb_machine machine = {
	        .size = sizeof(machine),
	        .cpus = o->cpus,
	        .platform_parts = RUN_PLATFORM,
	        .serial_gsi = LAYOUT_SERIAL_GSI,
	        .serial_port = LAYOUT_SERIAL_PORT,
	        .mmio = mmio,
	        .mmio_count = o->transport == TRANSPORT_MMIO ? devices_count(o) : 0,
	};
	static char table[LAYOUT_ACPI_BYTES];

	for (uint32_t i = 0; i < machine.mmio_count; i++)
		mmio[i] = devices_mmio(o, i);
	if (run->devices.pci) {
		if (vdb_pci_query(run->devices.pci, &pci))
			return complain("%s", vdb_errmsg());
		machine.pci = &pci;
	}
	if (o->no_acpi)
		return install(run, LAYOUT_MPTABLE, table,
		               vdb_mptable_build(&machine, LAYOUT_MPTABLE, table, sizeof(table)));
	return install(run, LAYOUT_ACPI, table, vdb_acpi_build(&machine, LAYOUT_ACPI, table, sizeof(table)));
}
