/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/window.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/error.h"
#include "kvm/vm.h"

#define PORT_BYTES 4u

static int carve_init(struct vdb__carve *carve, uint64_t base, uint32_t unit, uint32_t count)
{
	carve->base = base;
	carve->unit = unit;
	carve->count = count;
	carve->taken = calloc((count + 63) / 64, sizeof(*carve->taken));
	return carve->taken ? 0 : vdb__fail(ENOMEM, "doorbell window: no memory");
}

bool vdb__carve_touches(const struct vdb__carve *carve, uint64_t addr, uint64_t len)
{
	uint64_t bytes = (uint64_t)carve->unit * carve->count;

	if (addr >= carve->base)
		return addr - carve->base < bytes;
	return carve->base - addr < len;
}

static bool taken(const struct vdb__carve *carve, uint32_t i)
{
	return carve->taken[i / 64] >> (i % 64) & 1;
}

int64_t vdb__carve_next(struct vdb__carve *carve, uint32_t from)
{
	for (uint32_t i = from; i < carve->count; i++) {
		if (!taken(carve, i)) {
			carve->taken[i / 64] |= 1ull << (i % 64);
			return i;
		}
	}
	return -1;
}

bool vdb__carve_take(struct vdb__carve *carve, uint64_t addr)
{
	uint32_t i;

	if (!vdb__carve_touches(carve, addr, 1))
		return true;
	i = (uint32_t)((addr - carve->base) / carve->unit);
	if (taken(carve, i))
		return false;
	carve->taken[i / 64] |= 1ull << (i % 64);
	return true;
}

void vdb__carve_give(struct vdb__carve *carve, uint64_t addr)
{
	uint32_t i;

	if (!vdb__carve_touches(carve, addr, 1))
		return;
	i = (uint32_t)((addr - carve->base) / carve->unit);
	carve->taken[i / 64] &= ~(1ull << (i % 64));
}

unsigned char *vdb__window_page(const struct vdb__window *window, vdb_gpa_t gpa)
{
	if (!window->host || !vdb__carve_touches(&window->pages, gpa, 1))
		return NULL;
	return window->host + (gpa - window->pages.base);
}

static int check(const struct vdb_vm_config *config)
{
	uint64_t bytes = 2ull * config->doorbell_pages * VDB_PAGE_SIZE;
	uint32_t ports_end = config->doorbell_port + PORT_BYTES * config->doorbell_ports;

	if (config->doorbell_gpa % VDB_PAGE_SIZE)
		return vdb__fail(EINVAL, "doorbell window at %#llx: not page-aligned",
		                 (unsigned long long)config->doorbell_gpa);
	if (config->doorbell_gpa + bytes < config->doorbell_gpa)
		return vdb__fail(EINVAL, "doorbell window at %#llx, twice %u pages: beyond the address space",
		                 (unsigned long long)config->doorbell_gpa, config->doorbell_pages);
	if (config->doorbell_port % PORT_BYTES)
		return vdb__fail(EINVAL, "doorbell ports at %#x: not a multiple of 4", config->doorbell_port);
	if (ports_end > 0x10000)
		return vdb__fail(EINVAL, "doorbell ports: %u of 4 bytes at %#x end beyond port 0xffff",
		                 config->doorbell_ports, config->doorbell_port);
	return 0;
}

/* The pages of zeroes cost no memory until a doorbell is written into one. */
static int map_pages(struct vdb_vm *vm)
{
	struct vdb__window *window = &vm->window;
	size_t bytes = (size_t)window->pages.count * VDB_PAGE_SIZE;
	void *host =
	        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int slot, err;

	if (host == MAP_FAILED)
		return vdb__fail_sys(errno, "doorbell window of %zu bytes", bytes);
	window->host = host;
	err = vdb_bus_add(vm->mmio, "doorbell pages", window->pages.base, bytes, NULL, NULL);
	if (err)
		return err;
	slot = vdb__slot_add(vm, window->pages.base, bytes, host, true);
	return slot < 0 ? slot : 0;
}

int vdb__window_init(struct vdb_vm *vm)
{
	const struct vdb_vm_config *config = &vm->config;
	struct vdb__window *window = &vm->window;
	uint64_t mmio = config->doorbell_gpa + (uint64_t)config->doorbell_pages * VDB_PAGE_SIZE;
	int err = check(config);

	if (!err)
		err = carve_init(&window->pages, config->doorbell_gpa, VDB_PAGE_SIZE, config->doorbell_pages);
	if (!err)
		err = carve_init(&window->mmio, mmio, VDB_PAGE_SIZE, config->doorbell_pages);
	if (!err)
		err = carve_init(&window->ports, config->doorbell_port, PORT_BYTES, config->doorbell_ports);
	if (!err && (vm->kvm->info.features & VDB_KVM_READONLY_MEM))
		err = map_pages(vm);
	return err;
}

void vdb__window_drop(struct vdb_vm *vm)
{
	struct vdb__window *window = &vm->window;

	if (window->host)
		munmap(window->host, (size_t)window->pages.count * VDB_PAGE_SIZE);
	free(window->pages.taken);
	free(window->mmio.taken);
	free(window->ports.taken);
}
