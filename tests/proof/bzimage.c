/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/boot/bzimage.c lib/boot/cmdline.c lib/boot/pvh.c lib/boot/zero_page.c */
/* BROKEN: no_end lib/boot/bzimage.c s/if (end < sizeof(start))/if (1)/ */
/* BROKEN: no_start lib/boot/bzimage.c s/if (end < SETUP + offsetof(.*))$/if (0)/ */
/* BROKEN: no_align lib/boot/bzimage.c s/if (!align || align & (align - 1))/if (0)/ */
/* BROKEN: no_code lib/boot/bzimage.c s/if (len <= ENTRY64)/if (0)/ */
/* BROKEN: no_room lib/boot/cmdline.c s/if (len > boot->info.cmdline_max)/if (0)/ */
/* BROKEN: no_room_of_ours lib/boot/cmdline.c s/if (boot->info.cmdline_max >= VDB__CMDLINE_ROOM)/if (0)/ */
/*
 * A bzImage whatever its header says, and what the guest is told by either protocol.
 */
#include "boot/load.h"
#include "stubs.h"
#include <string.h>

/* Where the shortest header that is taken ends, behind 0x202, or less. */
#define NEAR_END 0x60u
#define LEN_MAX (VDB__CMDLINE_ROOM + 1)

static struct vdb_boot_config config;
static struct vdb__boot boot = {.config = &config, .kernel = {.path = "bzImage"}};
static char cmdline[LEN_MAX + 1];

/* ---- What they call ---- */

int vdb__image_has(const struct vdb__image *image, const char *part, uint64_t offset, uint64_t len)
{
	(void)len;
	CLAIM(image == &boot.kernel && part);
	CLAIM(offset > 0 && offset <= 256 * 512);
	return any & 1 ? 0 : -1;
}

/* Each place where the header may end and is cut, by itself. */
int vdb__image_read(const struct vdb__image *image, const char *part, uint64_t offset, void *to, size_t len)
{
	unsigned char *bytes = to, jump = (unsigned char)any;

	CLAIM(image == &boot.kernel && part && !offset);
	if (any & 1)
		return -1;
	if (jump >= NEAR_END && jump < NEAR_END + 16) {
		/*@ split jump; */
		;
	}
	Frama_C_make_unknown((char *)to, len);
	bytes[0x201] = jump;
	return 0;
}

int vdb__image_load(const struct vdb__image *image, const char *part, uint64_t offset, uint64_t len,
                    struct vdb_mem *mem, vdb_gpa_t gpa)
{
	(void)offset;
	(void)mem;
	CLAIM(image == &boot.kernel && part);
	(void)gpa;
	CLAIM(len > 0x200);
	REACHED(load);
	return any & 1 ? 0 : -1;
}

uint64_t vdb__e820_ram(const struct vdb__e820 *map, struct vdb__span span)
{
	(void)span;
	CLAIM(map == &boot.map);
	return any;
}

bool vdb__e820_lowest(const struct vdb__e820 *map, struct vdb__span span, uint64_t len, uint64_t align,
                      vdb_gpa_t *gpa)
{
	CLAIM(map == &boot.map);
	CLAIM(span.from >= VDB__HIGH);
	CLAIM(len > 0x200);
	CLAIM(align > 0);
	*gpa = any;
	return any & 1;
}

/* Room that make_map() of load.c has found. */
int vdb_mem_write(struct vdb_mem *mem, vdb_gpa_t gpa, const void *from, uint64_t len)
{
	const unsigned char *bytes = from;

	(void)mem;
	CLAIM(gpa == VDB__INFO ? len == VDB_PAGE_SIZE || gpa + len <= VDB__CMDLINE
	                       : gpa == VDB__CMDLINE && len <= VDB__CMDLINE_ROOM);
	CLAIM(bytes[0] + bytes[len - 1] >= 0);
	return any & 1 ? 0 : -1;
}

/* ---- What is booted ---- */

static void kernel(void)
{
	boot.kernel.len = any;
	config.protocol = any;
	if (vdb__bzimage_load(&boot))
		return;
	CLAIM(boot.info.protocol == VDB_BOOT_LINUX);
	REACHED(loaded);
}

static void information(void)
{
	boot.map.count = any & 1 ? VDB__E820_MAX : 1;
	Frama_C_make_unknown((char *)boot.map.entries, sizeof(boot.map.entries));
	Frama_C_make_unknown((char *)&boot.setup, sizeof(boot.setup));
	boot.info.initrd = any;
	boot.info.initrd_len = any;
	config.rsdp = any;
	if (!vdb__pvh_write(&boot))
		REACHED(pvh);
	if (!vdb__zero_page_write(&boot))
		REACHED(zero_page);
}

/* Of any length, to a kernel that takes any: those round the room by themselves. */
static void command_line(void)
{
	uint32_t max = any;
	size_t len = any;

	if (len > LEN_MAX)
		len = 0;
	if (len > 2 && len < LEN_MAX - 2)
		len = LEN_MAX / 2;
	/*@ split len; */
	memset(cmdline, 'x', len);
	boot.info.cmdline_max = max;
	config.cmdline = any & 1 ? cmdline : NULL;
	if (vdb__cmdline_load(&boot))
		return;
	CLAIM(boot.info.cmdline_max < VDB__CMDLINE_ROOM);
	REACHED(cmdline);
}

int main(void)
{
	switch (any) {
	case 0:
		kernel();
		break;
	case 1:
		information();
		break;
	default:
		command_line();
	}
	return 0;
}
