/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A balloon on the rig of virtio_rig.h, whose memory is not to be discarded, and one more region behind it
 * that may be. Failures abort the test.
 *
 *     balloon_rig_open(&b, &(struct vdb_balloon_config){.flags = ...}, &(struct vdb_region_config){.len =
 * ...}); virtio_rig_up(&b.rig, features, queues); balloon_rig_list(&b, BALLOON_INFLATE, pages, n); there and
 * back balloon_rig_close(&b);
 */
#ifndef BALLOON_RIG_H
#define BALLOON_RIG_H

#include <linux/virtio_balloon.h>

#include "ready_rig.h"

/* The queues, as Linux numbers them without FREE_PAGE_HINT. */
enum { BALLOON_INFLATE, BALLOON_DEFLATE, BALLOON_STATS, BALLOON_REPORT };

#define BALLOON_GPA UINT64_C(0x40000000) /* of the region */
#define BALLOON_PAGE (BALLOON_GPA / VDB_PAGE_SIZE)
#define BALLOON_FILL 0xa5

struct balloon_rig {
	struct virtio_rig rig;
	struct vdb_mem_pin *pin;
	uint8_t *host; /* the region's */
	uint64_t len;
};

/* What is not given is the rig's; region NULL: 4 MiB, anonymous. All of it is BALLOON_FILL, unless read-only.
 */
void balloon_rig_open(struct balloon_rig *b, const struct vdb_balloon_config *config,
                      const struct vdb_region_config *region);
void balloon_rig_close(struct balloon_rig *b);

/* Takes the place of the region that there is. */
void balloon_rig_region(struct balloon_rig *b, const struct vdb_region_config *region);

/* Sends n page numbers by that queue, and waits for them to come back, with length 0. */
void balloon_rig_list(struct balloon_rig *b, uint32_t queue, const uint32_t *pages, uint32_t n);
/* The same for a chain of any kind. */
void balloon_rig_send(struct balloon_rig *b, uint32_t queue, const struct virtq_buf *bufs, uint32_t n);

struct vdb_balloon_info balloon_rig_info(struct balloon_rig *b);

/* True if all bytes of these pages of the region are `byte`. */
bool balloon_rig_all(const struct balloon_rig *b, uint64_t page, uint64_t n, uint8_t byte);
/* How many of these pages of the region are in memory. */
uint64_t balloon_rig_resident(const struct balloon_rig *b, uint64_t page, uint64_t n);

#endif
