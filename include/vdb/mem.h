/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: regions of host memory at guest-physical addresses.
 *
 * A `vdb_mem` is an address space. The set of its regions is an immutable
 * *map*; adding or removing a region makes the next version, which each loop
 * takes up at its next turn. A request in flight holds the regions that it
 * uses, so its memory stays mapped until it is complete.
 *
 * Threads: add, remove, reap and destroy belong to a control thread (they make
 * KVM calls that wait), one at a time; everything else is callable anywhere.
 */
#ifndef VDB_MEM_H
#define VDB_MEM_H

#include <sys/uio.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_mem;
struct vdb_mem_pin;

enum {
	VDB_MEM_ANON = 0,  /* anonymous memory, always private to this process */
	VDB_MEM_MEMFD = 1, /* a memfd of the library's, its size sealed, see vdb_mem_fd() */
	VDB_MEM_FD = 2,    /* the caller's file or memfd, `fd` at `fd_offset`; duplicated */
	VDB_MEM_HOST = 3,  /* the caller's mapping at `host`; stays the caller's */
};

#define VDB_REGION_PRIVATE (1u << 0)  /* copy-on-write instead of shared (MEMFD, FD) */
#define VDB_REGION_READONLY (1u << 1) /* neither guest nor device may write */
/* Pages of it may be taken away while it is in use (a balloon, MADV_REMOVE, a hole punched into its file,
 * userfaultfd): VDB_LOOP_REGISTER_MEMORY leaves it alone, as it does read-only and private ones. An io_uring
 * would go on with the old pages. */
#define VDB_REGION_DISCARDABLE (1u << 3)
/* Only a file that nobody can make shorter (a memfd with F_SEAL_SHRINK): -EPERM else. Where it can be, and
 * is, the guest and I/O fail by themselves, but the library that looks at a ring there gets a SIGBUS, and has
 * no handler for it. MEMFD and ANON are like that anyway; of HOST memory nobody knows: -EINVAL. */
#define VDB_REGION_SEALED (1u << 4)
#define VDB_REGION_PREFAULT (1u << 2) /* populate now: -ENOMEM here instead of a fault later */

struct vdb_region_config {
	uint32_t size;
	uint32_t flags;        /* VDB_REGION_* */
	vdb_gpa_t gpa;         /* page-aligned */
	uint64_t len;          /* bytes, > 0, a multiple of the page size in use */
	uint32_t backing;      /* VDB_MEM_* */
	uint32_t hugetlb_log2; /* ANON, MEMFD: 21 = 2 MiB pages, 30 = 1 GiB; 0 = base pages */
	int32_t fd;            /* FD */
	uint32_t reserved;
	uint64_t fd_offset; /* FD: bytes, page-aligned */
	void *host;         /* HOST */
};

/* An empty address space. */
VDB_MUST_CHECK int vdb_mem_create(struct vdb_mem **out);

/* Unmaps everything. -EBUSY while a VM, a queue, a request or a pin uses it, and in
 * a removal's `done`; nothing is destroyed then. NULL is fine. */
VDB_MUST_CHECK int vdb_mem_destroy(struct vdb_mem *mem);

/* Adds a region, in every VM of this memory too. -EEXIST: overlaps another, or, in a VM,
 * a doorbell or (unless read-only) a range of the MMIO bus; -EINVAL: bad size or
 * alignment, or the file is too short; -ENOMEM: no memory or no huge pages; -EOPNOTSUPP:
 * PREFAULT needs Linux 5.14; -errno of mapping the file, or of a VM that refused. Nothing is left
 * behind then. */
VDB_MUST_CHECK int vdb_mem_add(struct vdb_mem *mem, const struct vdb_region_config *config);

/*
 * Removes the region that starts at `gpa`: at once from the VMs and from every
 * new translation. `done(arg)` (may be NULL) is called once, when no request
 * uses the region any more, by the thread that dropped the last use: here, or
 * on a loop thread. The pages are returned by the next vdb_mem_reap(), add,
 * remove or destroy, since unmapping takes long. -ENOENT: no such region.
 */
VDB_MUST_CHECK int vdb_mem_remove(struct vdb_mem *mem, vdb_gpa_t gpa, vdb_done_fn done, void *arg);

/* Unmaps removed regions that nobody uses any more. Returns how many are still
 * in use. */
int vdb_mem_reap(struct vdb_mem *mem);

/* The fd behind the region that contains gpa (MEMFD, FD), still the library's,
 * and the offset of gpa in it (`offset` may be NULL). -ENOENT, -EBADF if it has none. */
VDB_MUST_CHECK int vdb_mem_fd(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t *offset);

/* Copies between guest memory and host memory, across adjacent regions.
 * -EFAULT: some byte is not memory, or not writable; nothing was copied then.
 * vdb_mem_write() marks the pages dirty. */
VDB_MUST_CHECK int vdb_mem_read(struct vdb_mem *mem, vdb_gpa_t gpa, void *to, uint64_t len);
VDB_MUST_CHECK int vdb_mem_write(struct vdb_mem *mem, vdb_gpa_t gpa, const void *from, uint64_t len);

/* Words shared with a running guest: naturally aligned, exactly one access,
 * acquire on load, release on store. -EFAULT, -EINVAL if misaligned. */
VDB_MUST_CHECK int vdb_mem_load32(struct vdb_mem *mem, vdb_gpa_t gpa, uint32_t *value);
VDB_MUST_CHECK int vdb_mem_load64(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t *value);
VDB_MUST_CHECK int vdb_mem_store32(struct vdb_mem *mem, vdb_gpa_t gpa, uint32_t value);
VDB_MUST_CHECK int vdb_mem_store64(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t value);

/*
 * Gives the host back the pages of [gpa, +len), which lies inside one region: they are dirty, and zeroes when
 * somebody looks next. Whole pages of what the region is made of; what lies beside them stays. Returns how
 * many bytes that were. -ENOENT: no such range; -EPERM: the region is not VDB_REGION_DISCARDABLE, or is
 * read-only, or a file that is not memory (tmpfs, hugetlbfs), or PRIVATE with a file of yours: the file's
 * bytes would come back; else what the kernel said. Of HOST memory only what is private and anonymous is
 * given back. I/O in flight to such a page ends in the old page or in the new one. Any thread; takes long for
 * much memory.
 */
VDB_MUST_CHECK int64_t vdb_mem_discard(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len);

/*
 * Builds host iovecs for guest memory [gpa, gpa+len) and pins the regions behind
 * them until vdb_mem_unpin(). `writable`: the host will write there. Returns the
 * number of iovecs; -EFAULT, or -E2BIG if more than `max` were needed. len 0
 * gives 0 iovecs and a pin of nothing.
 */
VDB_MUST_CHECK int vdb_mem_pin(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len, int writable,
                               struct iovec *iov, unsigned max, struct vdb_mem_pin **out);

/* Ends a pin; a writable one marks its pages dirty first. NULL is fine. */
void vdb_mem_unpin(struct vdb_mem_pin *pin);

/*
 * Dirty tracking of what the *host* writes (devices, the library, vdb_mem_write).
 * What the guest writes is in KVM's log: vdb_vm_dirty_log_harvest(). A page is marked
 * after its data is in memory and before the completion is published.
 * start: begins with a clean bitmap; -EBUSY if started already, or what membarrier() says if it was
 * allowed when the memory was created and is not now. stop: ends it.
 * harvest: moves the bits of [gpa, gpa+len) out (bit 0 of bitmap[0] = page of gpa)
 * and clears them; gpa and len page-aligned, inside one region, bitmap of
 * (len / 4096 + 63) / 64 words. Returns the number of dirty pages; -ENOENT, or
 * -EINVAL when not started.
 */
VDB_MUST_CHECK int vdb_mem_dirty_start(struct vdb_mem *mem);
void vdb_mem_dirty_stop(struct vdb_mem *mem);
VDB_MUST_CHECK int64_t vdb_mem_dirty_harvest(struct vdb_mem *mem, vdb_gpa_t gpa, uint64_t len,
                                             uint64_t *bitmap);

#ifdef __cplusplus
}
#endif
#endif
