/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/routes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "kvm/arch.h"
#include "kvm/vm.h"

void vdb__routes_init(struct vdb_vm *vm)
{
	/* Default attributes: cannot fail. */
	pthread_mutex_init(&vm->routes.lock, NULL);
}

void vdb__routes_drop(struct vdb_vm *vm)
{
	free(vm->routes.table);
	vm->routes.table = NULL;
	free(vm->routes.place);
	vm->routes.place = NULL;
	pthread_mutex_destroy(&vm->routes.lock);
}

static int set_table(struct vdb_vm *vm)
{
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, vm->routes.table))
		return vdb__fail_sys(errno, "irq: KVM_SET_GSI_ROUTING with %u routes", vm->routes.table->nr);
	return 0;
}

static int grow_places(struct vdb__routes *routes, uint32_t gsi)
{
	uint32_t places = routes->places ? routes->places * 2 : 32;
	uint32_t *place;

	if (gsi < routes->places)
		return 0;
	if (places <= gsi)
		places = gsi + 1;
	place = realloc(routes->place, places * sizeof(*place));
	if (!place)
		return vdb__fail(ENOMEM, "irq: no memory for %u GSIs", places);
	memset(place + routes->places, 0, (places - routes->places) * sizeof(*place));
	routes->place = place;
	routes->places = places;
	return 0;
}

/* Room for one more route; the pins' routes are what KVM made by default. */
static int grow(struct vdb_vm *vm)
{
	struct vdb__routes *routes = &vm->routes;
	uint32_t pins = vm->config.irqchip == VDB_IRQCHIP_KERNEL ? vdb__arch_pin_routes(NULL) : 0;
	uint32_t room = routes->room ? routes->room * 2 : pins + 8, max = vm->kvm->info.max_gsi_routes;
	struct kvm_irq_routing *table;

	if (routes->table && routes->table->nr < routes->room)
		return 0;
	if (room > max)
		room = max;
	if (room <= (routes->table ? routes->table->nr : pins))
		return vdb__fail(ENOSPC, "irq: all %u routes that KVM has for a VM are in use", max);
	table = realloc(routes->table, sizeof(*table) + room * sizeof(table->entries[0]));
	if (!table)
		return vdb__fail(ENOMEM, "irq: no memory for %u routes", room);
	if (!routes->table) {
		table->nr = pins ? vdb__arch_pin_routes(table->entries) : 0;
		table->flags = 0;
	}
	routes->table = table;
	routes->room = room;
	return 0;
}

/* The lowest GSI beyond the pins that nobody uses; KVM numbers them below its limit of routes. */
static int free_gsi(const struct vdb_vm *vm)
{
	uint32_t first = vm->config.irqchip == VDB_IRQCHIP_SPLIT ? vm->config.split_gsis : VDB__PINS;

	for (uint32_t gsi = first; gsi < vm->kvm->info.max_gsi_routes; gsi++) {
		if (gsi >= vm->routes.places || !vm->routes.place[gsi])
			return (int)gsi;
	}
	return vdb__fail(ENOSPC, "irq: all %u GSIs are in use", vm->kvm->info.max_gsi_routes);
}

static struct kvm_irq_routing_entry *find(const struct vdb_vm *vm, uint32_t gsi)
{
	return &vm->routes.table->entries[vm->routes.place[gsi] - 1];
}

static void set_msi(struct kvm_irq_routing_entry *entry, uint32_t gsi, uint64_t address, uint32_t data)
{
	*entry = (struct kvm_irq_routing_entry){
	        .gsi = gsi,
	        .type = KVM_IRQ_ROUTING_MSI,
	        .u.msi = {.address_lo = (uint32_t)address,
	                  .address_hi = (uint32_t)(address >> 32),
	                  .data = data},
	};
}

static bool leads_to(const struct kvm_irq_routing_entry *entry, uint64_t address, uint32_t data)
{
	return entry->u.msi.address_lo == (uint32_t)address && entry->u.msi.data == data &&
	       entry->u.msi.address_hi == (uint32_t)(address >> 32);
}

/* Locked, as all below. */
static int add(struct vdb_vm *vm, uint64_t address, uint32_t data)
{
	struct vdb__routes *routes = &vm->routes;
	int gsi, err = grow(vm);

	if (err)
		return err;
	gsi = free_gsi(vm);
	if (gsi < 0)
		return gsi;
	err = grow_places(routes, (uint32_t)gsi);
	if (err)
		return err;
	set_msi(&routes->table->entries[routes->table->nr++], (uint32_t)gsi, address, data);
	err = set_table(vm);
	if (err) {
		routes->table->nr--;
		return err;
	}
	routes->place[gsi] = routes->table->nr;
	return gsi;
}

static int change(struct vdb_vm *vm, uint32_t gsi, uint64_t address, uint32_t data)
{
	struct kvm_irq_routing_entry *entry = find(vm, gsi), before = *entry;
	int err;

	if (leads_to(entry, address, data))
		return 0;
	set_msi(entry, gsi, address, data);
	err = set_table(vm);
	if (err)
		*entry = before;
	return err;
}

/* The last one takes its place. */
static void take_out(struct vdb_vm *vm, uint32_t gsi)
{
	struct kvm_irq_routing *table = vm->routes.table;
	const struct kvm_irq_routing_entry *last = &table->entries[table->nr - 1];

	*find(vm, gsi) = *last;
	vm->routes.place[last->gsi] = vm->routes.place[gsi];
	vm->routes.place[gsi] = 0;
	table->nr--;
	/* Should the kernel be out of memory, the route stays until the next change: nothing can raise it. */
	(void)set_table(vm);
}

int vdb__route_add(struct vdb_vm *vm, uint64_t address, uint32_t data)
{
	int gsi;

	pthread_mutex_lock(&vm->routes.lock);
	gsi = add(vm, address, data);
	pthread_mutex_unlock(&vm->routes.lock);
	return gsi;
}

int vdb__route_change(struct vdb_vm *vm, uint32_t gsi, uint64_t address, uint32_t data)
{
	int err;

	pthread_mutex_lock(&vm->routes.lock);
	err = change(vm, gsi, address, data);
	pthread_mutex_unlock(&vm->routes.lock);
	return err;
}

void vdb__route_remove(struct vdb_vm *vm, uint32_t gsi)
{
	pthread_mutex_lock(&vm->routes.lock);
	take_out(vm, gsi);
	pthread_mutex_unlock(&vm->routes.lock);
}
