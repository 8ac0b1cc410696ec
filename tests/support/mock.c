/* SPDX-License-Identifier: Apache-2.0 */
#include "mock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vdb/error.h>

#include "base/atomic.h"
#include "queue/ring.h"

/* Not libcheck's: these run on any thread, and in programs without a runner. */
#define CHECK(cond) ((cond) ? (void)0 : failed(__func__, #cond))

static _Noreturn void failed(const char *function, const char *what)
{
	(void)fprintf(stderr, "%s: not so: %s; last message: %s\n", function, what, vdb_errmsg());
	abort();
}

/* Room for `len` bytes; nothing of it is there yet. */
static uint8_t *guarded(uint64_t len)
{
	uint8_t *all = mmap(NULL, len + 2 * (uint64_t)MOCK_GUARD, PROT_NONE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(all != MAP_FAILED);
	return all + MOCK_GUARD;
}

void mock_ram_open(struct mock_ram *ram, vdb_gpa_t gpa, uint64_t len)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = gpa, .len = len, .backing = VDB_MEM_HOST};
	void *host = guarded(len);

	CHECK(mprotect(host, len, PROT_READ | PROT_WRITE) == 0);
	ram->host = host;
	ram->gpa = gpa;
	ram->len = len;
	region.host = host;
	CHECK(vdb_mem_create(&ram->mem) == 0);
	CHECK(vdb_mem_add(ram->mem, &region) == 0);
}

void mock_ram_open_shared(struct mock_ram *ram, vdb_gpa_t gpa, uint64_t len)
{
	struct vdb_region_config region = {
	        .size = sizeof(region), .gpa = gpa, .len = len, .backing = VDB_MEM_FD};
	void *host = guarded(len);

	region.fd = memfd_create("mock", MFD_CLOEXEC);
	CHECK(region.fd >= 0 && ftruncate(region.fd, (off_t)len) == 0);
	CHECK(mmap(host, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, region.fd, 0) == host);
	ram->host = host;
	ram->gpa = gpa;
	ram->len = len;
	CHECK(vdb_mem_create(&ram->mem) == 0);
	CHECK(vdb_mem_add(ram->mem, &region) == 0);
	close(region.fd);
}

void mock_ram_close(struct mock_ram *ram)
{
	CHECK(vdb_mem_destroy(ram->mem) == 0);
	CHECK(munmap(ram->host - MOCK_GUARD, ram->len + 2 * (uint64_t)MOCK_GUARD) == 0);
}

void *mock_at(const struct mock_ram *ram, vdb_gpa_t gpa)
{
	CHECK(gpa - ram->gpa < ram->len);
	return ram->host + (gpa - ram->gpa);
}

void mock_bell(struct vdb_guest *g)
{
	struct mock *m = g->user;
	uint64_t one = 1;

	vdb__fetch_add(&m->bells, 1);
	CHECK(write(m->kick, &one, sizeof(one)) == sizeof(one));
}

void mock_reboot(struct mock *m)
{
	uint32_t bell = 0; /* mock_bell() rings instead */

	CHECK(vdb_guest_init(&m->g, &m->desc, mock_at(m->ram, m->config.gpa), &bell) == 0);
	m->g.user = m;
	m->g.bell = NULL;
}

void mock_open(struct mock *m, struct mock_ram *ram, const struct vdb_ring_config *config)
{
	*m = (struct mock){.ram = ram, .config = *config, .kick = -1, .call = -1};
	m->config.size = sizeof(m->config);
	if (m->config.cq_entries == 0)
		m->config.cq_entries = m->config.sq_entries;
	CHECK(vdb_ring_create(ram->mem, &m->config, &m->queue) == 0);
	m->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(m->kick >= 0 && m->call >= 0);
	m->desc = (struct vdb_page_ring){
	        .ring_gpa = m->config.gpa,
	        .ring_bytes = VDB_RING_BYTES(m->config.sq_entries, m->config.cq_entries),
	        .bell_kind = VDB_BELL_MMIO,
	        .sq_entries = m->config.sq_entries,
	        .cq_entries = m->config.cq_entries,
	};
	mock_reboot(m);
}

void mock_close(struct mock *m)
{
	vdb_queue_destroy(m->queue);
	close(m->kick);
	close(m->call);
}

void mock_wait_ready(struct mock *m, uint64_t features)
{
	int ready;

	vdb_guest_reset(&m->g, features);
	while ((ready = vdb_guest_poll_ready(&m->g)) == 0)
		usleep(100);
	CHECK(ready == 1);
}

bool mock_prepare(struct mock *m, uint8_t op, vdb_gpa_t addr, uint32_t len, uint64_t offset,
                  uint64_t user_data)
{
	struct vdb_sqe *sqe = vdb_guest_sqe(&m->g);

	if (!sqe)
		return false;
	sqe->op = op;
	sqe->addr = addr;
	sqe->len = len;
	sqe->offset = offset;
	sqe->user_data = user_data;
	return true;
}

bool mock_submit(struct mock *m, uint8_t op, vdb_gpa_t addr, uint32_t len, uint64_t offset,
                 uint64_t user_data)
{
	if (!mock_prepare(m, op, addr, len, offset, user_data))
		return false;
	(void)vdb_guest_submit(&m->g);
	return true;
}

void mock_expect(struct mock *m, uint64_t user_data, int32_t result)
{
	struct vdb_cqe cqe = {0};

	CHECK(vdb_guest_reap(&m->g, &cqe) == 1);
	CHECK(cqe.user_data == user_data);
	CHECK(cqe.result == result);
	CHECK(cqe.flags == 0);
}

/* ---- The device ---- */

void mock_attach(struct mock *m)
{
	struct vdb__queue_identity identity = {.capacity = 1 << 20, .block_size = 512, .ops = 0x800000ffu};

	m->queue->ops->attach(m->queue, &identity);
}

bool mock_publish(struct mock *m)
{
	bool interrupt = m->queue->ops->publish(m->queue);

	m->interrupts += interrupt;
	return interrupt;
}

bool mock_ready(struct mock *m)
{
	bool ready = m->queue->ops->ready(m->queue, m->inflight);

	(void)mock_publish(m);
	return ready;
}

bool mock_take(struct mock *m, struct vdb__elem *elem, struct vdb__seg *segs)
{
	bool popped = m->queue->ops->pop(m->queue, elem, segs);

	m->inflight += popped;
	return popped;
}

void mock_done(struct mock *m, uint64_t cookie, int64_t result)
{
	m->inflight--;
	m->queue->ops->complete(m->queue, cookie, result, 0);
}

uint32_t mock_serve(struct mock *m)
{
	struct vdb__seg segs[MOCK_MAX_SEGS];
	struct vdb__elem elem;
	uint32_t n = 0;

	if (m->queue->ops->ready(m->queue, m->inflight)) {
		for (; mock_take(m, &elem, segs); n++)
			mock_done(m, elem.cookie, elem.error ? elem.error : (int64_t)elem.len);
	}
	(void)mock_publish(m);
	return n;
}

void mock_connect(struct mock *m, uint64_t features)
{
	mock_attach(m);
	vdb_guest_reset(&m->g, features);
	mock_serve(m);
	CHECK(vdb_guest_poll_ready(&m->g) == 0);
	mock_serve(m);
	CHECK(vdb_guest_poll_ready(&m->g) == 1);
}

void mock_jump(struct mock *m, uint32_t index)
{
	struct vdb__ring *ring = vdb__ring(m->queue);
	struct vdb_ring *shared = ring->shared;

	CHECK(ring->inflight == 0 && vdb_guest_outstanding(&m->g) == 0);
	ring->sq_head = ring->sq_published = ring->sq_tail = index;
	ring->cq_head = ring->cq_published = ring->cq_tail = index;
	m->g.sq_head = m->g.sq_published = m->g.sq_tail = index;
	m->g.cq_head = m->g.cq_published = m->g.cq_tail = index;
	shared->sq_tail.value = shared->sq_head.value = shared->sq_event.value = index;
	shared->cq_tail.value = shared->cq_head.value = shared->cq_event.value = index;
}
