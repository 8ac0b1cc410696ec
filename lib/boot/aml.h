/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing AML, the byte code of ACPI's definition blocks (ACPI 6.4, chapter 20): as much as static
 * descriptions of devices need. Names are of four characters, padded with '_'.
 *
 *     size_t device = vdb__aml_device(b, "RTC_");
 *     vdb__aml_name(b, "_HID");
 *     vdb__aml_eisaid(b, "PNP0B00");
 *     vdb__aml_close(b, device);
 */
#ifndef VDB_BOOT_AML_H
#define VDB_BOOT_AML_H

#include "boot/bytes.h"

/* Begin what vdb__aml_close() ends. */
size_t vdb__aml_scope(struct vdb__bytes *b, const char *name);
size_t vdb__aml_device(struct vdb__bytes *b, const char *name);
size_t vdb__aml_package(struct vdb__bytes *b, unsigned elements);
void vdb__aml_close(struct vdb__bytes *b, size_t open);

/* Name (name, ...): the value comes next. */
void vdb__aml_name(struct vdb__bytes *b, const char *name);

void vdb__aml_integer(struct vdb__bytes *b, uint64_t value);
void vdb__aml_string(struct vdb__bytes *b, const char *text);
void vdb__aml_eisaid(struct vdb__bytes *b, const char *id);

/* A buffer of resource descriptors (6.4); what stands between is any of those below. */
size_t vdb__aml_resources(struct vdb__bytes *b);
void vdb__aml_resources_close(struct vdb__bytes *b, size_t open);

void vdb__aml_io(struct vdb__bytes *b, unsigned port, unsigned len);
void vdb__aml_irq(struct vdb__bytes *b, uint32_t gsi); /* edge, active high, exclusive */
void vdb__aml_memory(struct vdb__bytes *b, uint64_t base, uint64_t len);

/* What a bridge hands on to those behind it. */
void vdb__aml_window_bus(struct vdb__bytes *b, unsigned first, unsigned last);
void vdb__aml_window_io(struct vdb__bytes *b, unsigned port, unsigned len);
void vdb__aml_window_memory(struct vdb__bytes *b, uint64_t base, uint64_t len);

#endif
