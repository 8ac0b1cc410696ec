/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's side of a virtqueue, split or packed, called by the test: a driver
 * that keeps the rules. Its memory is a mock_ram; areas and all are open, for tests that
 * break the rules. What should not happen and does aborts the program: a head that was not
 * outstanding, a use out of order, a wrong index.
 *
 *     virtq_driver_open(&d, &ram, &(struct vdb_virtq_config){.entries = 8, .desc = 0x1000, .flags = ...});
 *     vdb_virtq_create(ram.mem, &d.config, &queue)        or give d.config's addresses to a device
 *     virtq_add(&d, bufs, n, cookie); virtq_publish(&d);  the bell rings if the device asked for it
 *     while (virtq_reap(&d, &cookie, &len)) ...
 *     virtq_driver_close(&d);
 */
#ifndef VIRTQ_DRIVER_H
#define VIRTQ_DRIVER_H

#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <vdb/virtq.h>

struct mock_ram;

/* One buffer of a chain; those to be read come first. */
struct virtq_buf {
	vdb_gpa_t gpa;
	uint32_t len;
	bool write; /* by the device */
};

struct virtq_driver {
	struct mock_ram *ram;
	struct vdb_virtq_config config; /* what the device is to be given */
	void (*bell)(void *arg);        /* NULL: only counted */
	void *bell_arg;
	uint64_t bells;
	uint32_t outstanding; /* chains added and not reaped */

	/* Its own, in host memory. */
	struct virtq_out *out;      /* by head or id */
	uint16_t *unused;           /* FIFO of descriptors (split) or ids (packed) */
	uint32_t unused_head, room; /* room: descriptors that are free */
	uint16_t *order;            /* FIFO of heads, for IN_ORDER */
	uint32_t order_head;
	uint16_t added, published, reaped; /* split: running; packed: place, with wrap in bit 15 */
	uint32_t batch;                    /* packed: descriptors added since the last publish */
	uint64_t held;                     /* packed: of the batch's first, what is written last */
};

/*
 * Zeroes the areas. config.desc is where they lie, one after the other, unless `driver` and `device` are
 * given too. With RESUME it goes on from config.position.
 */
void virtq_driver_open(struct virtq_driver *d, struct mock_ram *ram, const struct vdb_virtq_config *config);
void virtq_driver_close(struct virtq_driver *d);
/* Bytes that the areas take up when only config.desc is given. */
uint64_t virtq_driver_bytes(const struct vdb_virtq_config *config);

/* Adds a chain of n buffers. False: there is no room. */
bool virtq_add(struct virtq_driver *d, const struct virtq_buf *bufs, uint32_t n, uint64_t cookie);
/* The same behind one INDIRECT descriptor; the table is made at gpa `table`. */
bool virtq_add_indirect(struct virtq_driver *d, vdb_gpa_t table, const struct virtq_buf *bufs, uint32_t n,
                        uint64_t cookie);
/* Shows the device what was added; rings if it asked for that, and says so. */
bool virtq_publish(struct virtq_driver *d);
/* The next chain, of one buffer, would ring; what was added is published. */
bool virtq_bell_wanted(struct virtq_driver *d);
/* Takes the next use. */
bool virtq_reap(struct virtq_driver *d, uint64_t *cookie, uint32_t *len);
/* Asks for an interrupt at the next use; true: there is one already. */
bool virtq_arm(struct virtq_driver *d);
/* Asks for none (with EVENT_IDX and split: leaves the event behind). */
void virtq_hush(struct virtq_driver *d);

/* ---- Guest memory, for tests that break the rules ---- */

struct vring_desc *virtq_desc(const struct virtq_driver *d, uint32_t i);
struct vring_packed_desc *virtq_packed_desc(const struct virtq_driver *d, uint32_t i);
struct vring_avail *virtq_avail(const struct virtq_driver *d);
struct vring_used *virtq_used(const struct virtq_driver *d);
/* Packed: the words of event suppression. */
uint32_t *virtq_driver_event(const struct virtq_driver *d);
uint32_t *virtq_device_event(const struct virtq_driver *d);

#endif
