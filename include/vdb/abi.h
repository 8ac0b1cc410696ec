/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What guest and host share in memory: the doorbell page and the native ring.
 *
 * Freestanding: needs nothing but <stdint.h> and <stddef.h>. All words are
 * little-endian and naturally aligned. docs/protocol.md gives the rules.
 *
 * A ring is one piece of guest memory, 64-byte aligned:
 *
 *     struct vdb_ring (512 bytes, one cache line per writer)
 *     struct vdb_sqe  [sq_entries]
 *     struct vdb_cqe  [cq_entries]
 *
 * The four indices run freely over 32 bits; entry i lies in slot i & (entries-1).
 */
#ifndef VDB_ABI_H
#define VDB_ABI_H

#include <stddef.h>
#include <stdint.h>

#define VDB_ABI_MAGIC 0x50424456u /* "VDBP" */
#define VDB_ABI_MAJOR 1u          /* another major does not understand us */
#define VDB_ABI_MINOR 0u          /* newer minors only add; features say what */
#define VDB_ABI_VERSION (VDB_ABI_MAJOR << 16 | VDB_ABI_MINOR)

#define VDB_RING_ALIGN 64u
#define VDB_RING_MAX_ENTRIES 32768u

/* Features: offered by the device, accepted (a subset) by the driver. */
#define VDB_F_EVENT_IDX (1ull << 0) /* sq_event and cq_event suppress notifications */
#define VDB_F_SG (1ull << 1)        /* VDB_SQE_SG: segment tables */
#define VDB_F_MEMOPS (1ull << 2)    /* VDB_OP_COPY and VDB_OP_FILL */

/* ---- The self-describing doorbell page (read-only to the guest) ---- */

#define VDB_BELL_MMIO 0u /* store the value at guest-physical bell_addr */
#define VDB_BELL_PIO 1u  /* out it to port bell_addr */

/* First 64 bytes of the page. Readers use ring_stride, never sizeof. */
struct vdb_page {
	uint32_t magic;       /* VDB_ABI_MAGIC */
	uint32_t version;     /* VDB_ABI_VERSION of the host */
	uint32_t ring_count;  /* rings that this page describes, 0..63 */
	uint32_t ring_offset; /* bytes from the page's start to the first vdb_page_ring */
	uint32_t ring_stride; /* bytes from one vdb_page_ring to the next */
	uint32_t reserved0;
	uint64_t page_gpa; /* where this page is, for a finder that maps it elsewhere */
	uint64_t reserved1[4];
};

/* One ring behind this page. */
struct vdb_page_ring {
	uint64_t ring_gpa;   /* of struct vdb_ring */
	uint64_t ring_bytes; /* all of it: header and both arrays */
	uint64_t features;   /* offered */
	uint64_t bell_addr;  /* ring here: one plain 32-bit store, or a 32-bit out ... */
	uint32_t bell_kind;  /* VDB_BELL_* */
	uint32_t bell_value; /* ... of this value */
	uint32_t sq_entries; /* power of two */
	uint32_t cq_entries; /* power of two, >= sq_entries */
	uint32_t irq;        /* interrupt: GSI number or MSI vector, 0 = none */
	uint32_t ring_id;    /* the embedder's number for this ring */
	uint32_t reserved[2];
};

/* ---- The ring header ---- */

#define VDB_RING_RESET 0u  /* indices are not looked at; waits for the driver's `ready` */
#define VDB_RING_READY 1u  /* in use */
#define VDB_RING_BROKEN 2u /* stopped for `reason`; only a reset helps */

#define VDB_REASON_NONE 0u
#define VDB_REASON_VERSION 1u  /* driver's major version is not ours */
#define VDB_REASON_FEATURES 2u /* driver accepted what was not offered */
#define VDB_REASON_SQ_INDEX 3u /* sq_tail went backwards or past sq_entries */
#define VDB_REASON_CQ_INDEX 4u /* cq_head is not between what was seen and cq_tail */
#define VDB_REASON_CQ_FULL 5u  /* more requests outstanding than cq_entries */
#define VDB_REASON_MEMORY 6u   /* the ring's memory was removed */
#define VDB_REASON_HOST 7u     /* host failure; a reset may help */
#define VDB_REASON_CHAIN 8u    /* a virtqueue's: a descriptor chain that cannot be, or a head in use */

/* Written by the driver only. */
struct vdb_ring_driver {
	uint32_t
	        reset; /* ask for one, after ready = 0: later than device.generation and than itself; not 0 */
	uint32_t ready;   /* == device.generation: this line is valid, indices are zero */
	uint32_t version; /* VDB_ABI_VERSION of the driver */
	uint32_t reserved0;
	uint64_t features; /* accepted, a subset of device.features */
	uint64_t reserved1[5];
};

/* Written by the device only. */
struct vdb_ring_device {
	uint32_t generation; /* of the last reset: driver.reset; never 0 once a device is there */
	uint32_t state;      /* VDB_RING_*; a change raises an interrupt */
	uint32_t reason;     /* VDB_REASON_*, when broken */
	uint32_t version;    /* VDB_ABI_VERSION of the device */
	uint64_t features;   /* offered */
	uint64_t capacity;   /* bytes of the backend; of one that was resized, since the reset */
	uint32_t block_size; /* offset and len of READ..WRITE_ZEROES are multiples */
	uint32_t max_segments;
	uint32_t max_len; /* bytes of one READ, WRITE or USER, all segments together */
	uint32_t ops;     /* bit n: VDB_OP n is served; bit 31: the USER range */
	uint64_t reserved[2];
};

/* One index, alone on its cache line. */
struct vdb_ring_index {
	uint32_t value;
	uint32_t reserved[15];
};

struct vdb_ring {
	struct vdb_ring_driver driver;  /*   0 driver */
	struct vdb_ring_device device;  /*  64 device */
	struct vdb_ring_index sq_tail;  /* 128 driver: requests published */
	struct vdb_ring_index sq_head;  /* 192 device: requests taken, their slots are free */
	struct vdb_ring_index sq_event; /* 256 device: ring when sq_tail passes this */
	struct vdb_ring_index cq_tail;  /* 320 device: completions published */
	struct vdb_ring_index cq_head;  /* 384 driver: completions taken */
	struct vdb_ring_index cq_event; /* 448 driver: interrupt when cq_tail passes this */
};

/* ---- Requests and completions ---- */

#define VDB_OP_NOP 0u
#define VDB_OP_READ 1u         /* backend [offset, +len) into memory */
#define VDB_OP_WRITE 2u        /* memory into backend [offset, +len) */
#define VDB_OP_FLUSH 3u        /* every write completed before is on stable storage */
#define VDB_OP_DISCARD 4u      /* backend [offset, +len) may be forgotten */
#define VDB_OP_WRITE_ZEROES 5u /* backend [offset, +len) reads as zeroes */
#define VDB_OP_COPY 6u         /* memory from gpa `offset`, len bytes, to addr; no overlap */
#define VDB_OP_FILL 7u         /* memory at addr: the low byte of `offset`, len times */
#define VDB_OP_USER 128u       /* 128..255 belong to the embedder */

#define VDB_SQE_SG 1u /* addr is the gpa, 8-byte aligned, of a table of `segments` vdb_seg */

/*
 * max_len bounds READ, WRITE and USER. COPY and FILL are done piece by piece and may be as long as
 * their segments are together. SG with an op that has no memory is -EINVAL.
 */
struct vdb_sqe {
	uint8_t op;    /* VDB_OP_* */
	uint8_t flags; /* VDB_SQE_*; unknown bits fail the request with -EINVAL */
	uint16_t segments;
	uint32_t len;    /* bytes; with SG the total, or 0 = whatever the table says */
	uint64_t addr;   /* guest-physical */
	uint64_t offset; /* bytes, in the backend */
	uint64_t user_data;
};

struct vdb_seg {
	uint64_t addr;
	uint32_t len;      /* > 0 */
	uint32_t reserved; /* 0 */
};

/*
 * result: bytes moved by READ and WRITE (always all of them), the embedder's
 * value for USER, 0 for every other op; or -errno (Linux numbers):
 *   EINVAL      misaligned, wraps, too long, unknown flag
 *   ERANGE      beyond the capacity
 *   EFAULT      not memory, or read-only memory that the device would write
 *   E2BIG       more pieces than the device takes
 *   EOPNOTSUPP  this device does not serve the op
 *   EROFS       the backend is read-only
 *   ENOMEM      the host is short of memory: try again
 *   ECANCELED   the device is going away; a part of COPY, FILL and others may be done
 *   EIO, ENOSPC and others: what the backend met
 */
struct vdb_cqe {
	uint64_t user_data;
	int32_t result;
	uint32_t flags; /* 0 */
};

/* Whether an array may have so many entries. */
#define VDB_RING_ENTRIES_OK(n) ((n) != 0 && (n) <= VDB_RING_MAX_ENTRIES && ((n) & ((n)-1)) == 0)

/* Bytes of a ring with these arrays. */
#define VDB_RING_BYTES(sq_entries, cq_entries)                                       \
	(sizeof(struct vdb_ring) + (uint64_t)(sq_entries) * sizeof(struct vdb_sqe) + \
	 (uint64_t)(cq_entries) * sizeof(struct vdb_cqe))

#ifdef __cplusplus
#define VDB_ABI_ASSERT(cond, text) static_assert(cond, text)
#else
#define VDB_ABI_ASSERT(cond, text) _Static_assert(cond, text)
#endif
VDB_ABI_ASSERT(sizeof(struct vdb_page) == 64, "page header");
VDB_ABI_ASSERT(sizeof(struct vdb_page_ring) == 64, "page ring");
VDB_ABI_ASSERT(sizeof(struct vdb_ring_driver) == 64, "driver line");
VDB_ABI_ASSERT(sizeof(struct vdb_ring_device) == 64, "device line");
VDB_ABI_ASSERT(sizeof(struct vdb_ring_index) == 64, "one index a line");
VDB_ABI_ASSERT(offsetof(struct vdb_ring, sq_tail) == 128, "sq_tail");
VDB_ABI_ASSERT(offsetof(struct vdb_ring, cq_event) == 448, "cq_event");
VDB_ABI_ASSERT(sizeof(struct vdb_ring) == 512, "ring header");
VDB_ABI_ASSERT(sizeof(struct vdb_sqe) == 32, "sqe");
VDB_ABI_ASSERT(sizeof(struct vdb_seg) == 16, "seg");
VDB_ABI_ASSERT(sizeof(struct vdb_cqe) == 16, "cqe");

#endif
