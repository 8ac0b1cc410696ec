/* SPDX-License-Identifier: Apache-2.0 */
#include "vm.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <vdb/bell.h>
#include <vdb/irq.h>
#include <vdb/line.h>

#include "device.h"

#define BELLS 64u
#define IRQS 64u
#define FDS 128u
#define PATIENCE 20000

struct vdb_bell {
	struct vdb_bell_config config;
	bool used;
	int fd;
};

struct vdb_irq {
	struct vdb_irq_config config;
	bool used;
	int fd;
};

struct fuzz_vm {
	struct vdb_bus *mmio, *pio;
	struct vdb_bell bells[BELLS];
	struct vdb_irq irqs[IRQS];
	uint32_t lines, fail;
};

static struct fuzz_vm *the_vm;

struct vdb_vm *fuzz_vm(struct fuzz_vm *vm)
{
	return (struct vdb_vm *)(void *)vm;
}

static struct fuzz_vm *of(struct vdb_vm *vm)
{
	return (struct fuzz_vm *)(void *)vm;
}

/* Eventfds are kept from input to input. */
static int spare[FDS], spares;

static int take_fd(void)
{
	int fd = spares ? spare[--spares] : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	fuzz_check(fd >= 0);
	return fd;
}

static void give_fd(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		fuzz_check(errno == EAGAIN);
	fuzz_check(spares < (int)FDS);
	spare[spares++] = fd;
}

struct fuzz_vm *fuzz_vm_open(void)
{
	fuzz_check(!the_vm);
	the_vm = calloc(1, sizeof(*the_vm));
	fuzz_check(the_vm && !vdb_bus_create(&the_vm->mmio) && !vdb_bus_create(&the_vm->pio));
	return the_vm;
}

void fuzz_vm_close(struct fuzz_vm *vm)
{
	for (uint32_t i = 0; i < BELLS; i++)
		fuzz_check(!vm->bells[i].used);
	for (uint32_t i = 0; i < IRQS; i++)
		fuzz_check(!vm->irqs[i].used);
	fuzz_check(!vm->lines);
	vdb_bus_destroy(vm->mmio);
	vdb_bus_destroy(vm->pio);
	free(vm);
	the_vm = NULL;
}

void fuzz_vm_fail(struct fuzz_vm *vm, uint32_t n)
{
	vm->fail = n;
}

static bool fails(struct fuzz_vm *vm)
{
	return vm->fail && !--vm->fail;
}

/* ---- Accesses ---- */

static bool rings(const struct vdb_bell *bell, bool port, uint64_t addr, uint64_t value, uint32_t len)
{
	const struct vdb_bell_config *c = &bell->config;

	return bell->used && c->addr != VDB_GPA_ANY && c->addr == addr &&
	       port == !!(c->flags & VDB_BELL_PORT) && (!c->len || c->len == len) &&
	       (!(c->flags & VDB_BELL_MATCH) || c->match == value);
}

uint64_t fuzz_vm_read(struct fuzz_vm *vm, bool port, uint64_t addr, uint32_t len)
{
	uint64_t value = 0;

	(void)vdb_bus_read(port ? vm->pio : vm->mmio, NULL, addr, &value, len);
	return value;
}

void fuzz_vm_write(struct fuzz_vm *vm, bool port, uint64_t addr, uint64_t value, uint32_t len)
{
	const uint64_t one = 1;

	if (len < 8)
		value &= (1ull << 8 * len) - 1;
	for (uint32_t i = 0; i < BELLS; i++) {
		if (rings(&vm->bells[i], port, addr, value, len)) {
			fuzz_check(write(vm->bells[i].fd, &one, sizeof(one)) == sizeof(one));
			return;
		}
	}
	(void)vdb_bus_write(port ? vm->pio : vm->mmio, NULL, addr, &value, len);
}

/* ---- What the library calls ---- */

struct vdb_bus *__wrap_vdb_vm_mmio(const struct vdb_vm *vm);
struct vdb_bus *__wrap_vdb_vm_pio(const struct vdb_vm *vm);
int __wrap_vdb_bell_create(struct vdb_vm *vm, const struct vdb_bell_config *config, struct vdb_bell **out);
void __wrap_vdb_bell_destroy(struct vdb_bell *bell);
int __wrap_vdb_bell_move(struct vdb_bell *bell, uint64_t addr);
int __wrap_vdb_bell_fd(const struct vdb_bell *bell);
int __wrap_vdb_irq_create(struct vdb_vm *vm, const struct vdb_irq_config *config, struct vdb_irq **out);
void __wrap_vdb_irq_destroy(struct vdb_irq *irq);
int __wrap_vdb_irq_retarget(struct vdb_irq *irq, uint64_t msi_address, uint32_t msi_data);
int __wrap_vdb_irq_fd(const struct vdb_irq *irq);
int __wrap_vdb_line_create(struct vdb_vm *vm, struct vdb_loop *loop, uint32_t gsi, struct vdb_line **out);
void __wrap_vdb_line_destroy(struct vdb_line *line);
void __wrap_vdb_line_set(struct vdb_line *line, int level);
int __wrap_vdb_gate_wait(struct vdb_gate *gate, int64_t timeout_ns, int64_t *result);

struct vdb_bus *__wrap_vdb_vm_mmio(const struct vdb_vm *vm)
{
	return ((const struct fuzz_vm *)(const void *)vm)->mmio;
}

struct vdb_bus *__wrap_vdb_vm_pio(const struct vdb_vm *vm)
{
	return ((const struct fuzz_vm *)(const void *)vm)->pio;
}

/* Two at one place are refused, as KVM does: one of them would never ring. */
static bool taken(const struct vdb_bell_config *config)
{
	for (uint32_t i = 0; i < BELLS && config->addr != VDB_GPA_ANY; i++) {
		if (rings(&the_vm->bells[i], config->flags & VDB_BELL_PORT, config->addr, config->match,
		          config->len))
			return true;
	}
	return false;
}

int __wrap_vdb_bell_create(struct vdb_vm *vm, const struct vdb_bell_config *config, struct vdb_bell **out)
{
	struct vdb_bell *bell = of(vm)->bells;

	if (fails(of(vm)))
		return -ENOSPC;
	if (taken(config))
		return -EEXIST;
	while (bell->used)
		fuzz_check(++bell < of(vm)->bells + BELLS);
	*bell = (struct vdb_bell){.config = *config, .used = true};
	bell->fd = config->flags & VDB_BELL_FD ? config->fd : take_fd();
	*out = bell;
	return 0;
}

void __wrap_vdb_bell_destroy(struct vdb_bell *bell)
{
	if (!bell)
		return;
	fuzz_check(bell->used);
	bell->used = false;
	if (!(bell->config.flags & VDB_BELL_FD))
		give_fd(bell->fd);
}

int __wrap_vdb_bell_move(struct vdb_bell *bell, uint64_t addr)
{
	bell->config.addr = VDB_GPA_ANY;
	if (addr == VDB_GPA_ANY)
		return 0;
	if (fails(the_vm))
		return -ENOSPC;
	bell->config.addr = addr;
	bell->used = false;
	fuzz_check(!taken(&bell->config));
	bell->used = true;
	return 0;
}

int __wrap_vdb_bell_fd(const struct vdb_bell *bell)
{
	fuzz_check(bell->used);
	return bell->fd;
}

int __wrap_vdb_irq_create(struct vdb_vm *vm, const struct vdb_irq_config *config, struct vdb_irq **out)
{
	struct vdb_irq *irq = of(vm)->irqs;

	if (fails(of(vm)))
		return -ENOSPC;
	while (irq->used)
		fuzz_check(++irq < of(vm)->irqs + IRQS);
	*irq = (struct vdb_irq){.config = *config, .used = true, .fd = take_fd()};
	*out = irq;
	return 0;
}

void __wrap_vdb_irq_destroy(struct vdb_irq *irq)
{
	if (!irq)
		return;
	fuzz_check(irq->used);
	irq->used = false;
	give_fd(irq->fd);
}

int __wrap_vdb_irq_retarget(struct vdb_irq *irq, uint64_t msi_address, uint32_t msi_data)
{
	if (fails(the_vm))
		return -EIO;
	fuzz_check(irq->used);
	irq->config.msi_address = msi_address;
	irq->config.msi_data = msi_data;
	return 0;
}

int __wrap_vdb_irq_fd(const struct vdb_irq *irq)
{
	fuzz_check(irq->used);
	return irq->fd;
}

int __wrap_vdb_line_create(struct vdb_vm *vm, struct vdb_loop *loop, uint32_t gsi, struct vdb_line **out)
{
	(void)loop, (void)gsi;
	if (fails(of(vm)))
		return -ENOTSUP;
	*out = calloc(1, 1);
	fuzz_check(*out);
	of(vm)->lines++;
	return 0;
}

void __wrap_vdb_line_destroy(struct vdb_line *line)
{
	if (line)
		the_vm->lines--;
	free(line);
}

void __wrap_vdb_line_set(struct vdb_line *line, int level)
{
	fuzz_check(line && level >= 0 && level <= 1);
}

int __wrap_vdb_gate_wait(struct vdb_gate *gate, int64_t timeout_ns, int64_t *result)
{
	(void)timeout_ns;
	for (int i = 0; !vdb_gate_peek(gate, result); i++) {
		fuzz_turn();
		fuzz_check(i < PATIENCE);
	}
	return 0;
}
