/* SPDX-License-Identifier: Apache-2.0 */
#include "virtq_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "mock.h"

#define CHECK(cond) ((cond) ? (void)0 : failed(__func__, #cond))

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED (1u << VRING_PACKED_DESC_F_USED)
#define WRAP 0x8000u

/* A chain that the device has. */
struct virtq_out {
	uint64_t cookie;
	uint32_t descs; /* 0: not outstanding */
	uint32_t writable;
};

static _Noreturn void failed(const char *function, const char *what)
{
	(void)fprintf(stderr, "%s: not so: %s\n", function, what);
	abort();
}

static bool has(const struct virtq_driver *d, uint32_t flag)
{
	return (d->config.flags & flag) != 0;
}

/* ---- Memory ---- */

static uint64_t up(uint64_t n, uint64_t align)
{
	return (n + align - 1) / align * align;
}

static uint64_t driver_bytes(const struct vdb_virtq_config *c)
{
	return c->flags & VDB_VIRTQ_PACKED ? 4 : 6 + 2 * (uint64_t)c->entries;
}

static uint64_t device_bytes(const struct vdb_virtq_config *c)
{
	return c->flags & VDB_VIRTQ_PACKED ? 4 : 6 + 8 * (uint64_t)c->entries;
}

uint64_t virtq_driver_bytes(const struct vdb_virtq_config *c)
{
	return 16 * (uint64_t)c->entries + up(driver_bytes(c), 4) + up(device_bytes(c), 4);
}

struct vring_desc *virtq_desc(const struct virtq_driver *d, uint32_t i)
{
	return mock_at(d->ram, d->config.desc + 16 * (uint64_t)i);
}

struct vring_packed_desc *virtq_packed_desc(const struct virtq_driver *d, uint32_t i)
{
	return mock_at(d->ram, d->config.desc + 16 * (uint64_t)i);
}

struct vring_avail *virtq_avail(const struct virtq_driver *d)
{
	return mock_at(d->ram, d->config.driver);
}

struct vring_used *virtq_used(const struct virtq_driver *d)
{
	return mock_at(d->ram, d->config.device);
}

uint32_t *virtq_driver_event(const struct virtq_driver *d)
{
	return mock_at(d->ram, d->config.driver);
}

uint32_t *virtq_device_event(const struct virtq_driver *d)
{
	return mock_at(d->ram, d->config.device);
}

static uint16_t *split_used_event(const struct virtq_driver *d)
{
	return &virtq_avail(d)->ring[d->config.entries];
}

static uint16_t *split_avail_event(const struct virtq_driver *d)
{
	return (uint16_t *)(void *)&virtq_used(d)->ring[d->config.entries];
}

/* ---- Life ---- */

static void begin(struct virtq_driver *d)
{
	uint16_t position = has(d, VDB_VIRTQ_PACKED) ? WRAP : 0;

	if (has(d, VDB_VIRTQ_RESUME))
		position = (uint16_t)d->config.position;
	d->added = d->published = d->reaped = position;
	if (has(d, VDB_VIRTQ_PACKED))
		return;
	virtq_avail(d)->idx = virtq_used(d)->idx = position;
}

void virtq_driver_open(struct virtq_driver *d, struct mock_ram *ram, const struct vdb_virtq_config *config)
{
	uint32_t n = config->entries;

	*d = (struct virtq_driver){.ram = ram, .config = *config, .room = n};
	d->config.size = sizeof(d->config);
	if (!d->config.driver)
		d->config.driver = config->desc + 16 * (uint64_t)n;
	if (!d->config.device)
		d->config.device = d->config.driver + up(driver_bytes(config), 4);
	memset(mock_at(ram, d->config.desc), 0, 16 * (size_t)n);
	memset(mock_at(ram, d->config.driver), 0, driver_bytes(config));
	memset(mock_at(ram, d->config.device), 0, device_bytes(config));
	d->out = calloc(n, sizeof(*d->out));
	d->unused = calloc(n, sizeof(*d->unused));
	d->order = calloc(n, sizeof(*d->order));
	CHECK(d->out && d->unused && d->order);
	for (uint32_t i = 0; i < n; i++)
		d->unused[i] = (uint16_t)i;
	begin(d);
}

void virtq_driver_close(struct virtq_driver *d)
{
	free(d->out);
	free(d->unused);
	free(d->order);
}

/* ---- Free descriptors (split) or ids (packed), in the order in which they were given back ---- */

static uint16_t take(struct virtq_driver *d)
{
	uint16_t i = d->unused[d->unused_head];

	d->unused_head = (d->unused_head + 1) % d->config.entries;
	return i;
}

/* `count`: how many are in the FIFO. */
static void give(struct virtq_driver *d, uint32_t count, uint16_t i)
{
	d->unused[(d->unused_head + count) % d->config.entries] = i;
}

/* ---- Adding ---- */

static void note(struct virtq_driver *d, uint16_t head, uint32_t descs, uint64_t writable, uint64_t cookie)
{
	CHECK(d->out[head].descs == 0);
	d->out[head] =
	        (struct virtq_out){.cookie = cookie,
	                           .descs = descs,
	                           .writable = writable > UINT32_MAX ? UINT32_MAX : (uint32_t)writable};
	d->order[(d->order_head + d->outstanding) % d->config.entries] = head;
	d->outstanding++;
	d->room -= descs;
}

static uint64_t writable(const struct virtq_buf *bufs, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += bufs[i].write ? bufs[i].len : 0;
	return sum;
}

static uint16_t flags_of(const struct virtq_buf *buf, bool more)
{
	return (uint16_t)((buf->write ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0));
}

static void split_fill(struct vring_desc *desc, const struct virtq_buf *buf, uint16_t flags, uint16_t next)
{
	*desc = (struct vring_desc){.addr = buf->gpa, .len = buf->len, .flags = flags, .next = next};
}

static void split_offer(struct virtq_driver *d, uint16_t head)
{
	virtq_avail(d)->ring[d->added & (d->config.entries - 1)] = head;
	d->added++;
}

static void split_add(struct virtq_driver *d, const struct virtq_buf *bufs, uint32_t n, uint16_t extra,
                      uint64_t bytes, uint64_t cookie)
{
	uint16_t head = take(d), at = head, next;

	for (uint32_t i = 0; i < n; i++, at = next) {
		next = i + 1 < n ? take(d) : 0;
		split_fill(virtq_desc(d, at), &bufs[i], (uint16_t)(flags_of(&bufs[i], i + 1 < n) | extra),
		           next);
	}
	note(d, head, n, bytes, cookie);
	split_offer(d, head);
}

static uint16_t forward(const struct virtq_driver *d, uint16_t place, uint32_t n)
{
	uint32_t at = (place & (WRAP - 1)) + n;

	if (at < d->config.entries)
		return (uint16_t)(at | (place & WRAP));
	return (uint16_t)((at - d->config.entries) | ((place & WRAP) ^ WRAP));
}

/* Len, id and flags as one word, as the device takes them: ThreadSanitizer knows no half of a word. */
static uint64_t *packed_rest(const struct virtq_driver *d, uint16_t place)
{
	return (uint64_t *)(void *)&virtq_packed_desc(d, place & (WRAP - 1))->len;
}

static void packed_desc(struct virtq_driver *d, const struct virtq_buf *buf, uint32_t flags, uint16_t id)
{
	uint64_t rest;

	flags |= d->added & WRAP ? F_AVAIL : F_USED;
	rest = buf->len | (uint64_t)id << 32 | (uint64_t)flags << 48;
	vdb__store(&virtq_packed_desc(d, d->added & (WRAP - 1))->addr, buf->gpa);
	/* The batch's first comes last. */
	if (d->batch == 0)
		d->held = rest;
	else
		vdb__store_release(packed_rest(d, d->added), rest);
	d->batch++;
	d->added = forward(d, d->added, 1);
}

static void packed_add(struct virtq_driver *d, const struct virtq_buf *bufs, uint32_t n, uint16_t extra,
                       uint64_t bytes, uint64_t cookie)
{
	uint16_t id = take(d);

	for (uint32_t i = 0; i < n; i++)
		packed_desc(d, &bufs[i], (uint32_t)flags_of(&bufs[i], i + 1 < n) | extra, id);
	note(d, id, n, bytes, cookie);
}

bool virtq_add(struct virtq_driver *d, const struct virtq_buf *bufs, uint32_t n, uint64_t cookie)
{
	CHECK(n > 0);
	if (n > d->room)
		return false;
	if (has(d, VDB_VIRTQ_PACKED))
		packed_add(d, bufs, n, 0, writable(bufs, n), cookie);
	else
		split_add(d, bufs, n, 0, writable(bufs, n), cookie);
	return true;
}

static void fill_table(struct virtq_driver *d, vdb_gpa_t table, const struct virtq_buf *bufs, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		struct vring_desc split;
		struct vring_packed_desc packed = {
		        .addr = bufs[i].gpa, .len = bufs[i].len, .flags = flags_of(&bufs[i], false)};

		split_fill(&split, &bufs[i], flags_of(&bufs[i], i + 1 < n), (uint16_t)(i + 1));
		/* By bytes: a table need not be aligned, nor lie in one page. */
		memcpy(mock_at(d->ram, table + 16 * (uint64_t)i),
		       has(d, VDB_VIRTQ_PACKED) ? (const void *)&packed : &split, 16);
	}
}

bool virtq_add_indirect(struct virtq_driver *d, vdb_gpa_t table, const struct virtq_buf *bufs, uint32_t n,
                        uint64_t cookie)
{
	struct virtq_buf whole = {.gpa = table, .len = 16 * n};

	CHECK(n > 0);
	if (d->room == 0)
		return false;
	fill_table(d, table, bufs, n);
	if (has(d, VDB_VIRTQ_PACKED))
		packed_add(d, &whole, 1, VRING_DESC_F_INDIRECT, writable(bufs, n), cookie);
	else
		split_add(d, &whole, 1, VRING_DESC_F_INDIRECT, writable(bufs, n), cookie);
	return true;
}

/* ---- Notification ---- */

static bool split_bell_wanted(struct virtq_driver *d, uint16_t old)
{
	vdb__fence_full(); /* pairs with the device's, in its arm() */
	if (!has(d, VDB_VIRTQ_EVENT_IDX))
		return !(vdb__load(&virtq_used(d)->flags) & VRING_USED_F_NO_NOTIFY);
	return (uint16_t)(vdb__load(split_avail_event(d)) - old) < (uint16_t)(d->added - old);
}

static bool packed_bell_wanted(struct virtq_driver *d, uint16_t old, uint32_t n)
{
	uint32_t event, at, flags, distance;

	vdb__fence_full(); /* as above */
	event = vdb__load(virtq_device_event(d));
	flags = event >> 16;
	at = event & (WRAP - 1);
	if (flags != VRING_PACKED_EVENT_FLAG_DESC)
		return flags == VRING_PACKED_EVENT_FLAG_ENABLE;
	CHECK(has(d, VDB_VIRTQ_EVENT_IDX) && at < d->config.entries);
	distance = at - (old & (WRAP - 1));
	if ((event ^ old) & WRAP)
		distance += d->config.entries;
	return distance < n;
}

bool virtq_bell_wanted(struct virtq_driver *d)
{
	uint16_t old = d->published;

	if (has(d, VDB_VIRTQ_PACKED))
		return packed_bell_wanted(d, old, 1);
	vdb__fence_full(); /* as above */
	if (!has(d, VDB_VIRTQ_EVENT_IDX))
		return !(vdb__load(&virtq_used(d)->flags) & VRING_USED_F_NO_NOTIFY);
	return vdb__load(split_avail_event(d)) == old;
}

bool virtq_publish(struct virtq_driver *d)
{
	uint16_t old = d->published;
	bool ring;

	if (old == d->added && d->batch == 0)
		return false;
	d->published = d->added;
	if (has(d, VDB_VIRTQ_PACKED)) {
		vdb__store_release(packed_rest(d, old), d->held);
		ring = packed_bell_wanted(d, old, d->batch);
		d->batch = 0;
	} else {
		vdb__store_release(&virtq_avail(d)->idx, d->added);
		ring = split_bell_wanted(d, old);
	}
	if (ring) {
		d->bells++;
		if (d->bell)
			d->bell(d->bell_arg);
	}
	return ring;
}

/* ---- Reaping ---- */

static bool packed_is_used(const struct virtq_driver *d)
{
	uint32_t flags = (uint32_t)(vdb__load_acquire(packed_rest(d, d->reaped)) >> 48);
	bool wrap = d->reaped & WRAP;

	return ((flags & F_AVAIL) != 0) == wrap && ((flags & F_USED) != 0) == wrap;
}

static bool has_use(const struct virtq_driver *d)
{
	if (!d->outstanding)
		return false;
	if (has(d, VDB_VIRTQ_PACKED))
		return packed_is_used(d);
	return vdb__load_acquire(&virtq_used(d)->idx) != d->reaped;
}

static void split_free(struct virtq_driver *d, uint16_t head, uint32_t n)
{
	uint16_t at = head;

	for (uint32_t i = 0; i < n; i++, at = virtq_desc(d, at)->next)
		give(d, d->room + i, at);
}

static uint16_t split_use(struct virtq_driver *d, uint32_t *len)
{
	const vring_used_elem_t *elem = &virtq_used(d)->ring[d->reaped & (d->config.entries - 1)];

	CHECK(elem->id < d->config.entries);
	*len = elem->len;
	d->reaped++;
	return (uint16_t)elem->id;
}

static uint16_t packed_use(struct virtq_driver *d, uint32_t *len)
{
	uint64_t rest = vdb__load(packed_rest(d, d->reaped));
	uint16_t id = (uint16_t)(rest >> 32);

	CHECK(id < d->config.entries && d->out[id].descs);
	*len = rest >> 48 & VRING_DESC_F_WRITE ? (uint32_t)rest : 0;
	d->reaped = forward(d, d->reaped, d->out[id].descs);
	return id;
}

bool virtq_reap(struct virtq_driver *d, uint64_t *cookie, uint32_t *len)
{
	uint32_t n;
	uint16_t id;

	if (!has_use(d))
		return false;
	id = has(d, VDB_VIRTQ_PACKED) ? packed_use(d, len) : split_use(d, len);
	n = d->out[id].descs;
	CHECK(n != 0); /* else it was not outstanding */
	CHECK(*len <= d->out[id].writable);
	if (has(d, VDB_VIRTQ_IN_ORDER))
		CHECK(d->order[d->order_head] == id);
	d->order_head = (d->order_head + 1) % d->config.entries;
	if (has(d, VDB_VIRTQ_PACKED))
		give(d, d->config.entries - d->outstanding, id);
	else
		split_free(d, id, n);
	d->outstanding--;
	d->room += n;
	d->out[id].descs = 0;
	*cookie = d->out[id].cookie;
	return true;
}

bool virtq_arm(struct virtq_driver *d)
{
	uint32_t event = VRING_PACKED_EVENT_FLAG_ENABLE << 16;

	if (!has(d, VDB_VIRTQ_PACKED)) {
		vdb__store(&virtq_avail(d)->flags, (uint16_t)0);
		if (has(d, VDB_VIRTQ_EVENT_IDX))
			vdb__store(split_used_event(d), d->reaped);
	} else {
		if (has(d, VDB_VIRTQ_EVENT_IDX))
			event = d->reaped | VRING_PACKED_EVENT_FLAG_DESC << 16;
		vdb__store(virtq_driver_event(d), event);
	}
	vdb__fence_full(); /* pairs with the device's, in its publish() */
	return has_use(d);
}

void virtq_hush(struct virtq_driver *d)
{
	if (has(d, VDB_VIRTQ_PACKED))
		vdb__store(virtq_driver_event(d), VRING_PACKED_EVENT_FLAG_DISABLE << 16);
	else if (has(d, VDB_VIRTQ_EVENT_IDX))
		vdb__store(split_used_event(d), (uint16_t)(d->reaped - 1));
	else
		vdb__store(&virtq_avail(d)->flags, (uint16_t)VRING_AVAIL_F_NO_INTERRUPT);
}
