/* SPDX-License-Identifier: Apache-2.0 */
#include "ram.h"

#include <sys/mman.h>

#define PAGE ((size_t)VDB_PAGE_SIZE)

struct part {
	vdb_gpa_t gpa;
	uint64_t len;
	uint32_t flags;
	uint8_t *host;
};

static struct part parts[] = {
        {0, FUZZ_LOW, 0, NULL},
        {FUZZ_LOW, FUZZ_NEXT - FUZZ_LOW, VDB_REGION_DISCARDABLE, NULL},
        {FUZZ_ROM, PAGE, VDB_REGION_READONLY, NULL},
        {FUZZ_HIGH, PAGE, 0, NULL},
};
#define PARTS (sizeof(parts) / sizeof(parts[0]))

static bool writable(const struct part *part)
{
	return !(part->flags & VDB_REGION_READONLY);
}

static void add(struct vdb_mem *mem, struct part *part)
{
	struct vdb_region_config region = {.size = sizeof(region),
	                                   .flags = part->flags,
	                                   .gpa = part->gpa,
	                                   .len = part->len,
	                                   .backing = VDB_MEM_HOST};
	uint8_t *host = mmap(NULL, part->len + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	fuzz_check(host != MAP_FAILED);
	part->host = host + PAGE;
	fuzz_check(!mprotect(part->host, part->len, writable(part) ? PROT_READ | PROT_WRITE : PROT_READ));
	region.host = part->host;
	fuzz_check(vdb_mem_add(mem, &region) == 0);
}

struct vdb_mem *fuzz_ram(void)
{
	static struct vdb_mem *mem;

	if (!mem) {
		fuzz_check(vdb_mem_create(&mem) == 0);
		for (size_t i = 0; i < PARTS; i++)
			add(mem, &parts[i]);
	}
	for (size_t i = 0; i < PARTS; i++) {
		if (writable(&parts[i]))
			memset(parts[i].host, 0, parts[i].len);
	}
	return mem;
}

void *fuzz_ram_at(vdb_gpa_t gpa, uint64_t len)
{
	for (size_t i = 0; i < PARTS; i++) {
		const struct part *part = &parts[i];

		if (writable(part) && gpa >= part->gpa && gpa - part->gpa < part->len &&
		    len <= part->len - (gpa - part->gpa))
			return part->host + (gpa - part->gpa);
	}
	return NULL;
}

void fuzz_ram_put(vdb_gpa_t gpa, const void *from, uint32_t len)
{
	void *to = fuzz_ram_at(gpa, len);

	if (to)
		memcpy(to, from, len);
}

void fuzz_ram_write(struct fuzz_input *in, vdb_gpa_t gpa, uint32_t len)
{
	uint8_t bytes[256];

	len = len < sizeof(bytes) ? len : sizeof(bytes);
	fuzz_bytes(in, bytes, len);
	fuzz_ram_put(gpa, bytes, len);
}

vdb_gpa_t fuzz_gpa(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint16_t at = fuzz_u16(in);

	if (how < 0xc0)
		return at;
	switch (how & 7) {
	case 0:
		return FUZZ_LOW + at % (FUZZ_NEXT - FUZZ_LOW);
	case 1:
		return FUZZ_LOW - at % 64; /* across what is next to each other */
	case 2:
		return FUZZ_NEXT - at % 64; /* across an end */
	case 3:
		return FUZZ_ROM + at % PAGE;
	case 4:
		return FUZZ_HIGH + at % (2 * PAGE);
	case 5:
		return 0 - (uint64_t)at;
	case 6:
		return FUZZ_NEXT + at;
	default:
		return fuzz_u64(in);
	}
}

uint32_t fuzz_len(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint16_t len = fuzz_u16(in);

	if (how < 0x80)
		return len % 64;
	if (how < 0xf0)
		return len;
	return how & 1 ? fuzz_u32(in) : 0u - len;
}
