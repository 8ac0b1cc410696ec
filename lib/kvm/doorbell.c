/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A doorbell is at most two places - where it rings and the page that
 * describes it, which are one for a self-describing page - and a bell per
 * ring. Each place is claimed on its bus, so that neither a device nor another
 * doorbell gets it.
 */
#include "kvm/doorbell.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <vdb/bell.h>

#include "base/atomic.h"
#include "base/config.h"
#include "base/error.h"
#include "base/export.h"
#include "kvm/page.h"
#include "kvm/vm.h"

#define PORT_BYTES 4u
#define RING_BYTES 4u /* of the store that rings */
#define PORTS_END 0x10000u
#define GPA_END (1ull << 52)

/* A claimed place. */
struct place {
	struct vdb_bus *bus; /* NULL = nothing claimed; a page of the window is claimed with the window */
	struct vdb__carve *carve;
	uint64_t addr;
	uint64_t len; /* 0 = no place */
};

struct vdb_doorbell {
	struct vdb_vm *vm;
	struct vdb__list link; /* in vm->doorbells */
	uint32_t kind;
	struct place bell;   /* MMIO, PIO */
	struct place page;   /* PAGE, or described */
	unsigned char *host; /* of the page, in the window or own_page */
	void *own_page;      /* of a page outside the window: its mapping */
	int own_slot;        /* and its memslot, -1 = none */
	uint32_t ring_count;
	struct vdb_bell *rings[]; /* each one's, NULL until connected */
};

/* ---- Places ---- */

/* Claims a place at a given address. */
static int claim_at(struct vdb_vm *vm, struct vdb_bus *bus, struct vdb__carve *carve, uint64_t addr,
                    uint64_t len, struct place *place)
{
	int err;

	if (bus == vm->mmio && vdb__mem_overlaps(vm->mem, addr, len))
		return vdb__fail(EEXIST, "doorbell at %#llx: there is memory", (unsigned long long)addr);
	err = vdb_bus_add(bus, "doorbell", addr, len, NULL, NULL);
	if (err)
		return err;
	(void)vdb__carve_take(carve, addr);
	*place = (struct place){.bus = bus, .carve = carve, .addr = addr, .len = len};
	return 0;
}

/* The next free piece that neither memory nor a device has. */
static int claim_any(struct vdb_vm *vm, struct vdb_bus *bus, struct vdb__carve *carve, struct place *place)
{
	uint64_t addr;
	int64_t i = -1;
	int err;

	while ((i = vdb__carve_next(carve, (uint32_t)(i + 1))) >= 0) {
		addr = carve->base + (uint64_t)i * carve->unit;
		err = claim_at(vm, bus, carve, addr, carve->unit, place);
		if (!err)
			return 0;
		vdb__carve_give(carve, addr);
		if (err != -EEXIST)
			return err;
	}
	return vdb__fail(ENOSPC, "doorbell: the VM's window of %u at %#llx is full; see vdb_vm_config",
	                 carve->count, (unsigned long long)carve->base);
}

static int check_gpa(uint64_t gpa)
{
	if (gpa % VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "doorbell at %#llx: not page-aligned", (unsigned long long)gpa);
	if (gpa > GPA_END - VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "doorbell at %#llx: outside the guest-physical space",
		                 (unsigned long long)gpa);
	return 0;
}

static int claim_mmio(struct vdb_vm *vm, uint64_t gpa, struct place *place)
{
	struct vdb__carve *carve = &vm->window.mmio;
	int err;

	if (gpa == VDB_GPA_ANY)
		return claim_any(vm, vm->mmio, carve, place);
	err = check_gpa(gpa);
	return err ? err : claim_at(vm, vm->mmio, carve, gpa, VDB_PAGE_SIZE, place);
}

static int claim_port(struct vdb_vm *vm, uint64_t port, struct place *place)
{
	struct vdb__carve *carve = &vm->window.ports;

	if (port == VDB_GPA_ANY)
		return claim_any(vm, vm->pio, carve, place);
	if (port % PORT_BYTES || port > PORTS_END - PORT_BYTES)
		return vdb__fail(EINVAL, "doorbell at port %#llx: not a multiple of 4 below 0x10000",
		                 (unsigned long long)port);
	return claim_at(vm, vm->pio, carve, port, PORT_BYTES, place);
}

static void give_up(struct place *place)
{
	/* Fails on a loop's thread only, where no doorbell is destroyed: the place stays claimed. */
	if (place->bus && vdb_bus_remove(place->bus, place->addr))
		return;
	if (place->carve)
		vdb__carve_give(place->carve, place->addr);
	memset(place, 0, sizeof(*place));
}

/* ---- Pages ---- */

static int take_window_page(struct vdb_doorbell *bell, uint64_t gpa)
{
	struct vdb__carve *carve = &bell->vm->window.pages;
	int64_t i;

	if (gpa != VDB_GPA_ANY) {
		if (!vdb__carve_take(carve, gpa))
			return vdb__fail(EEXIST, "doorbell page at %#llx: there is another",
			                 (unsigned long long)gpa);
	} else {
		i = vdb__carve_next(carve, 0);
		if (i < 0)
			return vdb__fail(ENOSPC,
			                 "doorbell: the VM's window of %u pages at %#llx is full; set "
			                 "vdb_vm_config.doorbell_pages",
			                 carve->count, (unsigned long long)carve->base);
		gpa = carve->base + (uint64_t)i * carve->unit;
	}
	bell->page = (struct place){.carve = carve, .addr = gpa, .len = VDB_PAGE_SIZE};
	bell->host = vdb__window_page(&bell->vm->window, gpa);
	return 0;
}

/* A page outside the window has a memslot of its own. */
static int make_own_page(struct vdb_doorbell *bell, uint64_t gpa)
{
	struct vdb_vm *vm = bell->vm;
	int err = claim_at(vm, vm->mmio, &vm->window.mmio, gpa, VDB_PAGE_SIZE, &bell->page);

	if (err)
		return err;
	bell->own_page =
	        mmap(NULL, VDB_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bell->own_page == MAP_FAILED) {
		bell->own_page = NULL;
		return vdb__fail_sys(errno, "doorbell page at %#llx", (unsigned long long)gpa);
	}
	bell->host = bell->own_page;
	bell->own_slot = vdb__slot_add(vm, gpa, VDB_PAGE_SIZE, bell->own_page, true);
	return bell->own_slot < 0 ? bell->own_slot : 0;
}

static int claim_page(struct vdb_doorbell *bell, uint64_t gpa)
{
	int err = vdb__kvm_require(bell->vm->kvm, VDB_KVM_READONLY_MEM, "self-describing doorbell page");

	if (!err && gpa != VDB_GPA_ANY)
		err = check_gpa(gpa);
	if (err)
		return err;
	if (gpa == VDB_GPA_ANY || vdb__window_page(&bell->vm->window, gpa))
		return take_window_page(bell, gpa);
	return make_own_page(bell, gpa);
}

/* The magic comes last and goes first: a guest that looks meanwhile sees no half page.
 * Pairs with the guest's load of it. */
static void write_page(struct vdb_doorbell *bell, const struct vdb_doorbell_config *config)
{
	struct vdb__bell where = {
	        .kind = bell->kind == VDB_DOORBELL_PIO ? VDB_BELL_PIO : VDB_BELL_MMIO,
	        .addr = vdb_doorbell_addr(bell),
	};
	unsigned char content[VDB_PAGE_SIZE];
	uint32_t magic;

	vdb__page_build(content, bell->page.addr, &where, config->rings, config->ring_count);
	memcpy(&magic, content, sizeof(magic));
	memcpy(bell->host + sizeof(magic), content + sizeof(magic), sizeof(content) - sizeof(magic));
	vdb__store_release((uint32_t *)(void *)bell->host, magic);
}

static void clear_page(struct vdb_doorbell *bell)
{
	vdb__store_release((uint32_t *)(void *)bell->host, 0);
	memset(bell->host, 0, VDB_PAGE_SIZE);
}

static void give_up_page(struct vdb_doorbell *bell)
{
	if (bell->host)
		clear_page(bell);
	if (bell->own_slot >= 0)
		vdb__slot_remove(bell->vm, bell->own_slot);
	if (bell->own_page)
		munmap(bell->own_page, VDB_PAGE_SIZE);
	give_up(&bell->page);
}

/* ---- Bells ---- */

static int connect_ring(struct vdb_doorbell *doorbell, uint32_t i, uint32_t match)
{
	struct vdb_bell_config config = {
	        .size = sizeof(config), .addr = vdb_doorbell_addr(doorbell), .len = RING_BYTES};

	if (doorbell->kind == VDB_DOORBELL_PIO)
		config.flags |= VDB_BELL_PORT;
	if (doorbell->ring_count > 1) {
		config.flags |= VDB_BELL_MATCH;
		config.match = match;
	} else if (doorbell->kind == VDB_DOORBELL_MMIO &&
	           (doorbell->vm->kvm->info.features & VDB_KVM_IOEVENTFD_ANY)) {
		config.len = 0;
	}
	return vdb_bell_create(doorbell->vm, &config, &doorbell->rings[i]);
}

/* ---- The whole ---- */

static bool described(const struct vdb_doorbell_config *config)
{
	return config->kind == VDB_DOORBELL_PAGE || config->describe;
}

static int check(struct vdb_doorbell_config *config)
{
	if (config->kind > VDB_DOORBELL_PIO)
		return vdb__fail(EINVAL, "doorbell: kind %u is none of VDB_DOORBELL_*", config->kind);
	if (config->describe > 1)
		return vdb__fail(EINVAL, "doorbell: describe is %u; 0 or 1", config->describe);
	if (config->kind == VDB_DOORBELL_PAGE && config->page && config->page != VDB_GPA_ANY &&
	    config->page != config->addr)
		return vdb__fail(EINVAL, "doorbell: a self-describing page is its own page; leave .page 0");
	if (!config->page)
		config->page = VDB_GPA_ANY;
	return vdb__rings_check(config->rings, config->ring_count, described(config));
}

static int build(struct vdb_doorbell *bell, const struct vdb_doorbell_config *config)
{
	int err = 0;

	if (bell->kind == VDB_DOORBELL_MMIO)
		err = claim_mmio(bell->vm, config->addr, &bell->bell);
	else if (bell->kind == VDB_DOORBELL_PIO)
		err = claim_port(bell->vm, config->addr, &bell->bell);
	if (!err && described(config))
		err = claim_page(bell, bell->kind == VDB_DOORBELL_PAGE ? config->addr : config->page);
	for (uint32_t i = 0; i < bell->ring_count && !err; i++)
		err = connect_ring(bell, i, config->rings[i].match);
	if (!err && described(config))
		write_page(bell, config);
	return err;
}

static struct vdb_doorbell *alloc(struct vdb_vm *vm, const struct vdb_doorbell_config *config)
{
	struct vdb_doorbell *bell = calloc(1, sizeof(*bell) + config->ring_count * sizeof(bell->rings[0]));

	if (!bell)
		return NULL;
	bell->vm = vm;
	bell->kind = config->kind;
	bell->own_slot = -1;
	bell->ring_count = config->ring_count;
	vdb__list_append(&vm->doorbells, &bell->link);
	return bell;
}

VDB_EXPORT int vdb_doorbell_create(struct vdb_vm *vm, const struct vdb_doorbell_config *config,
                                   struct vdb_doorbell **out)
{
	struct vdb_doorbell_config own;
	struct vdb_doorbell *bell;
	int err = vdb__config_take(&own, sizeof(own), config, "vdb_doorbell_config");

	if (!err)
		err = check(&own);
	if (err)
		return err;
	bell = alloc(vm, &own);
	if (!bell)
		return vdb__fail(ENOMEM, "doorbell: no memory");
	err = build(bell, &own);
	if (err) {
		vdb_doorbell_destroy(bell);
		return err;
	}
	*out = bell;
	return 0;
}

VDB_EXPORT void vdb_doorbell_destroy(struct vdb_doorbell *doorbell)
{
	if (!doorbell)
		return;
	for (uint32_t i = 0; i < doorbell->ring_count; i++)
		vdb_bell_destroy(doorbell->rings[i]);
	give_up_page(doorbell);
	give_up(&doorbell->bell);
	vdb__list_remove(&doorbell->link);
	free(doorbell);
}

VDB_EXPORT int vdb_doorbell_fd(const struct vdb_doorbell *doorbell, uint32_t index)
{
	return index < doorbell->ring_count ? vdb_bell_fd(doorbell->rings[index]) : -1;
}

VDB_EXPORT uint64_t vdb_doorbell_addr(const struct vdb_doorbell *doorbell)
{
	return doorbell->kind == VDB_DOORBELL_PAGE ? doorbell->page.addr : doorbell->bell.addr;
}

VDB_EXPORT vdb_gpa_t vdb_doorbell_page(const struct vdb_doorbell *doorbell)
{
	return doorbell->page.len ? doorbell->page.addr : VDB_GPA_ANY;
}

/* ---- Memory that comes later ---- */

static bool covers(const struct place *place, vdb_gpa_t gpa, uint64_t len)
{
	return place->len && place->addr < gpa + len && gpa < place->addr + place->len;
}

int vdb__doorbells_clear_of(struct vdb_vm *vm, vdb_gpa_t gpa, uint64_t len)
{
	struct vdb__list *l;

	if (vm->window.host && vdb__carve_touches(&vm->window.pages, gpa, len))
		return vdb__fail(EEXIST,
		                 "memory [%#llx, +%#llx) covers the VM's doorbell pages at %#llx; set "
		                 "vdb_vm_config.doorbell_gpa",
		                 (unsigned long long)gpa, (unsigned long long)len,
		                 (unsigned long long)vm->window.pages.base);
	for (l = vm->doorbells.next; l != &vm->doorbells; l = l->next) {
		const struct vdb_doorbell *bell = vdb__container(l, struct vdb_doorbell, link);

		if ((bell->kind == VDB_DOORBELL_MMIO && covers(&bell->bell, gpa, len)) ||
		    covers(&bell->page, gpa, len))
			return vdb__fail(EEXIST, "memory [%#llx, +%#llx) covers the doorbell at %#llx",
			                 (unsigned long long)gpa, (unsigned long long)len,
			                 (unsigned long long)vdb_doorbell_addr(bell));
	}
	return 0;
}
