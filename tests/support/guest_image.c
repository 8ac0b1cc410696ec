/* SPDX-License-Identifier: Apache-2.0 */
#include "guest_image.h"

#include <string.h>

/* As examples/guest/layout.h has it, whose other names are the fixture's, too. */
#define IMAGE GUEST_CODE
#define IMAGE_ROOM 0x100000u
#define ENTRY_USER 16u

void guest_image_load(struct kvm_fixture *f, const unsigned char *image, const unsigned char *end,
                      bool kernel, uint64_t arg)
{
	struct vdb_x86_start start = {
	        .size = sizeof(start),
	        .flags = kernel ? VDB_X86_KERNEL : 0,
	        .entry = kernel ? IMAGE : IMAGE + ENTRY_USER,
	        .stack = IMAGE,
	        .arg = {arg},
	        .tables = GUEST_TABLES,
	};
	size_t bytes = (size_t)(end - image);

	ck_assert_uint_le(bytes, IMAGE_ROOM);
	memset(f->ram + IMAGE, 0, IMAGE_ROOM);
	memcpy(f->ram + IMAGE, image, bytes);
	must(vdb_x86_start64(f->vcpu[0], &start));
}
