/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One package of cores with one thread each, in all the words that processors have for it
 * (Intel SDM 2A, CPUID; AMD APM 3, appendix E). Guests compare them: they must agree.
 */
#include <stdbool.h>

#include "kvm/cpuid.h"

#define LEAF_VENDOR 0u
#define LEAF_FEATURES 1u
#define LEAF_CACHES 4u
#define LEAF_TOPOLOGY 0xbu
#define LEAF_TOPOLOGY2 0x1fu
#define LEAF_AMD_FEATURES 0x80000001u
#define LEAF_AMD_SIZES 0x80000008u
#define LEAF_AMD_CACHES 0x8000001du
#define LEAF_AMD_TOPOLOGY 0x8000001eu

#define EBX_INTEL 0x756e6547u /* "Genu" */
#define EDX_HTT (1u << 28)    /* of leaf 1: there are more processors in the package */
#define ECX_CMP_LEGACY (1u << 1)
#define LEVEL_THREADS 1u
#define LEVEL_CORES 2u

struct package {
	uint32_t cores;
	uint32_t width; /* bits of an APIC id that number them */
	uint32_t id;    /* of the processor that is told */
	bool intel;
};

static uint32_t at_most(uint32_t value, uint32_t max)
{
	return value < max ? value : max;
}

static uint32_t bits_for(uint32_t count)
{
	return count > 1 ? 32 - (uint32_t)__builtin_clz(count - 1) : 0;
}

static uint32_t bit(uint32_t word, uint32_t mask, bool set)
{
	return set ? word | mask : word & ~mask;
}

/* Leaf 4 and AMD's 8000001d: who shares a cache; the first two levels are a core's own. */
static uint32_t cache_sharing(uint32_t eax, const struct package *package)
{
	uint32_t level = eax >> 5 & 7;
	uint32_t sharers = level < 3 ? 1 : 1u << package->width;

	return (eax & ~(0xfffu << 14)) | at_most(sharers - 1, 0xfff) << 14;
}

static void set_features(struct kvm_cpuid_entry2 *entry, const struct package *package)
{
	entry->ebx = (entry->ebx & ~0x00ff0000u) | at_most(package->cores, 0xff) << 16;
	entry->edx = bit(entry->edx, EDX_HTT, package->cores > 1);
}

static void set_caches(struct kvm_cpuid_entry2 *entry, const struct package *package)
{
	if (!(entry->eax & 0x1f))
		return; /* the end of the list */
	entry->eax = cache_sharing(entry->eax, package);
	entry->eax = (entry->eax & ~(0x3fu << 26)) | at_most((1u << package->width) - 1, 0x3f) << 26;
}

static void set_entry(struct kvm_cpuid_entry2 *entry, const struct package *package)
{
	switch (entry->function) {
	case LEAF_FEATURES:
		set_features(entry, package);
		break;
	case LEAF_CACHES:
		if (package->intel)
			set_caches(entry, package);
		break;
	case LEAF_AMD_FEATURES:
		if (!package->intel)
			entry->ecx = bit(entry->ecx, ECX_CMP_LEGACY, package->cores > 1);
		break;
	case LEAF_AMD_SIZES:
		if (!package->intel)
			entry->ecx = (entry->ecx & ~0xf0ffu) | package->width << 12 |
			             at_most(package->cores - 1, 0xff);
		break;
	case LEAF_AMD_CACHES:
		if (entry->eax & 0x1f)
			entry->eax = cache_sharing(entry->eax, package);
		break;
	case LEAF_AMD_TOPOLOGY: /* the core's number, one thread; node 0 of one */
		entry->ebx = package->id & 0xff;
		entry->ecx = 0;
		break;
	default:
		break;
	}
}

static void drop_leaf(struct kvm_cpuid2 *table, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function != leaf)
			table->entries[kept++] = table->entries[i];
	}
	table->nent = kept;
}

/* Levels: threads of a core, cores of the package, the end. */
static void put_levels(struct kvm_cpuid2 *table, uint32_t leaf, const struct package *package)
{
	const struct kvm_cpuid_entry2 levels[] = {
	        {.eax = 0, .ebx = 1, .ecx = LEVEL_THREADS << 8},
	        {.eax = package->width, .ebx = at_most(package->cores, 0xffff), .ecx = LEVEL_CORES << 8},
	        {.eax = 0, .ebx = 0, .ecx = 0},
	};

	for (uint32_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		struct kvm_cpuid_entry2 *entry = &table->entries[table->nent++];

		*entry = levels[i];
		entry->function = leaf;
		entry->index = i;
		entry->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		entry->ecx |= i;
		entry->edx = package->id;
	}
}

void vdb__topology_set(struct kvm_cpuid2 *table, uint32_t room, uint32_t cores, uint32_t id)
{
	struct package package = {.cores = cores, .width = bits_for(cores), .id = id};
	uint32_t leaves = 0;

	for (uint32_t i = 0; i < table->nent; i++) {
		if (table->entries[i].function == LEAF_VENDOR) {
			leaves = table->entries[i].eax;
			package.intel = table->entries[i].ebx == EBX_INTEL;
		}
	}
	for (uint32_t i = 0; i < table->nent; i++)
		set_entry(&table->entries[i], &package);
	drop_leaf(table, LEAF_TOPOLOGY);
	drop_leaf(table, LEAF_TOPOLOGY2);
	if (leaves >= LEAF_TOPOLOGY && table->nent + 3 <= room)
		put_levels(table, LEAF_TOPOLOGY, &package);
	if (leaves >= LEAF_TOPOLOGY2 && table->nent + 3 <= room)
		put_levels(table, LEAF_TOPOLOGY2, &package);
}
