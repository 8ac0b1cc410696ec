/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends: who does the work of a request. An embedder's own is one file that
 * fills a `struct vdb_backend_ops`.
 */
#ifndef VDB_BACKEND_H
#define VDB_BACKEND_H

#include <vdb/abi.h>
#include <vdb/io.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_backend;

/*
 * A request as its backend sees it, checked: op is one the backend serves, never
 * NOP, COPY or FILL; [offset, +len) is inside the capacity and block-aligned and,
 * but for FLUSH and USER, not empty. READ, WRITE and USER: iov is guest memory of
 * exactly len bytes in at most 1024 pieces that stays mapped until completion;
 * USER's may be written, but for the first `readable` bytes of a virtqueue's, which are only to be
 * read (and end at the end of an iovec), and iov[-1] is the backend's: room for a header of its own ahead of
 * what is read. Another thread of the guest may change the memory at any time.
 * Read-only but for io and scratch, which are the backend's while it has the request.
 */
struct vdb_req {
	uint8_t op;   /* VDB_OP_* */
	uint8_t more; /* to start(): the next of its queue is there, and most likely started at once; a hint
	               */
	uint8_t reserved[2];
	uint32_t niov;
	uint64_t offset;
	uint64_t len;
	const struct iovec *iov;
	struct vdb_loop *loop;
	uint64_t readable; /* USER of a virtqueue: bytes that the driver gave to be read; else 0 */
	uint32_t file;     /* of what ops.file said, in `loop`: for vdb_io.file */
	uint32_t reserved_too;
	struct vdb_io io;
	uint64_t scratch[6];
};

/* What start() answers. Negative: the request failed with that -errno. */
enum {
	/* Finished at once, with a good result. READ and WRITE moved all bytes; of USER the result is 0, and
	 * the driver of a virtqueue is told that all it gave to be written has been. */
	VDB_REQ_DONE = 0,
	VDB_REQ_PENDING = 1, /* vdb_req_complete() will be called, once */
	VDB_REQ_INLINE = 2,  /* step() is to be called until it is done; then as DONE */
};

struct vdb_backend_ops {
	uint32_t size;
	uint32_t reserved;
	const char *name;
	/* Starts one request, on the loop's thread. Must not block. The tenant is charged
	 * for all bytes of READ, WRITE and USER at once, however long they take (a debt that
	 * it works off in later turns); for what is INLINE, as it is worked on. */
	int (*start)(void *ctx, struct vdb_req *req);
	/* For VDB_REQ_INLINE: work on 1..max bytes; return how many, or -errno. Done, with
	 * a good result, when the returns add up to req->len. NULL if not used. May be the last
	 * at any time: the request is -ECANCELED when its lane is destroyed or its ring reset
	 * meanwhile (a virtio device's quiesce waits for its end), so keep in scratch what needs no
	 * end. */
	int64_t (*step)(void *ctx, struct vdb_req *req, uint64_t max);
	/* After the last lane has let go. NULL: nothing to do. */
	void (*destroy)(void *ctx);
	/* Somebody waits for the end of this pending request (its queue is reset, or its lane
	 * destroyed or moved): complete it soon, here or later, with -ECANCELED or its result. For requests
	 * that wait for the outside, such as a console's input: a disk's had better end as they are, since
	 * a virtio device that is quiesced is asked too, and its guest will go on. Not called once the
	 * request was completed; a vdb_req_complete_post() of the same moment may cross it, so look
	 * the request up before touching what belongs to it. NULL: they end by themselves. Loop's thread. */
	void (*cancel)(void *ctx, struct vdb_req *req);
	/*
	 * For queues whose requests wait for the outside (a network's receive buffers): how many more the
	 * backend takes now. A few loads, no side effect. While it is 0 they stay in the queue, whose
	 * doorbell is not asked for; when it has become more, call vdb_backend_wake(). Such a backend serves
	 * one virtqueue at a time, with as many requests at once as the queue has entries, and its tenant is
	 * charged for a request, not for its bytes: vdb_req_charge() says what has come. NULL: all there are.
	 */
	uint32_t (*wants)(void *ctx);
	/* A lane serves its queue on `loop` from now on; and no more: nothing of it is with the backend then.
	 * In turns, for each queue that has it. The loop's thread, or the one that destroys the loop. NULL:
	 * it does not matter. */
	void (*opened)(void *ctx, struct vdb_loop *loop);
	void (*closed)(void *ctx);
	/* The fd that most requests go to, open as long as the backend lives: each lane tells its
	 * loop of it. NULL, or negative: there is none. */
	int (*file)(void *ctx);
};

#define VDB_BACKEND_READONLY (1u << 0)
/* It belongs to one loop (has timers, fds or other state there): its lanes cannot be moved. */
#define VDB_BACKEND_FIXED (1u << 1)

struct vdb_backend_info {
	uint32_t size;
	uint32_t flags;      /* VDB_BACKEND_* */
	uint64_t capacity;   /* bytes */
	uint32_t block_size; /* power of two; 0 = 512 */
	uint32_t ops;        /* bit n: VDB_OP n (READ..WRITE_ZEROES); bit 31: the USER range */
};

/* A backend of the embedder's: ops and info are copied. Any thread. -E2BIG, -EINVAL. */
VDB_MUST_CHECK int vdb_backend_create(const struct vdb_backend_ops *ops, void *ctx,
                                      const struct vdb_backend_info *info, struct vdb_backend **out);

/* Drops the caller's reference; lanes hold their own. NULL is fine. Any thread. */
void vdb_backend_destroy(struct vdb_backend *backend);

/* Set info->size first. Any thread. */
VDB_MUST_CHECK int vdb_backend_query(const struct vdb_backend *backend, struct vdb_backend_info *info);

/* The backend has `capacity` bytes from now on, as its owner has seen to: requests that start later
 * are held to it. -EINVAL: not a multiple of its block size. Any thread. Devices in front of it
 * want to hear of it: vdb_blk_resized(). A native ring tells it from its next reset on. To take
 * something away, resize first, and wait for what is in flight. */
VDB_MUST_CHECK int vdb_backend_resize(struct vdb_backend *backend, uint64_t capacity);

/* Finishes a pending request: `result` as in struct vdb_cqe, for READ and WRITE the
 * bytes moved (less than all is -EIO to the guest), for USER of a virtqueue those written. Once; also from
 * within start(), which then returns VDB_REQ_PENDING. Loop's thread; req is gone afterwards. */
void vdb_req_complete(struct vdb_req *req, int32_t result);

/* The same from any other thread, by a post. */
void vdb_req_complete_post(struct vdb_req *req, int32_t result);

/* ops.wants says more than 0 again: the queue is served in this turn, as the budget of its tenant allows.
 * Harmless if no lane has it. Loop's thread. */
void vdb_backend_wake(struct vdb_backend *backend);

/* Counts work against the tenant that len does not show: zeroes written for
 * WRITE_ZEROES, a copy made on the way. Loop's thread. */
void vdb_req_charge(struct vdb_req *req, uint64_t bytes);

/* ---- Backends of the library ---- */

#define VDB_FILE_READONLY (1u << 0)
/* O_DIRECT: no page cache. Guest buffers that the file would refuse go by way of
 * one of 64 KiB, allocated while the request lasts. */
#define VDB_FILE_DIRECT (1u << 1)
/* An open-file-description lock (fcntl F_OFD_SETLK) while the backend lives: shared if READONLY,
 * exclusive else, against other processes and other VMs of this one. Of an fd it is the caller's own
 * description that is locked: give each to one backend. -EBUSY: somebody else has it; -ENOLCK: the
 * file system cannot lock. */
#define VDB_FILE_LOCK (1u << 2)

struct vdb_file_config {
	uint32_t size;
	uint32_t flags;   /* VDB_FILE_* */
	const char *path; /* regular file or block device; NULL: use fd */
	int32_t fd; /* > 0, instead of path; duplicated. No O_APPEND, no O_NONBLOCK; O_DIRECT as in flags */
	uint32_t block_size; /* 0 = 512, or what O_DIRECT needs */
};

/*
 * An image file or block device of fixed size. FLUSH: fdatasync has succeeded; after
 * it failed once every later FLUSH fails too, since the page cache may be clean
 * but lost. Lanes of several loops may share one: each FLUSH waits for the one before it,
 * so all of these loops must run, or be destroyed. DISCARD is advice: 0 also where the file cannot.
 * WRITE_ZEROES: fallocate, or zeroes written. -EISDIR, -EINVAL: empty or not a multiple of the block size,
 * not fit for O_DIRECT; or what open() said.
 */
VDB_MUST_CHECK int vdb_backend_file(const struct vdb_file_config *config, struct vdb_backend **out);

/* Takes up the present size of the file behind a file backend, which may have grown or shrunk, and returns
 * it in bytes. -EINVAL: not a file backend, or its size is no multiple of the block size. Any thread. */
VDB_MUST_CHECK int64_t vdb_backend_file_resize(struct vdb_backend *backend);

/* Host memory, the caller's, `len` bytes, a multiple of 512: it must outlive the backend. */
VDB_MUST_CHECK int vdb_backend_memory(void *memory, uint64_t len, struct vdb_backend **out);

/* Completes everything at once; reads leave the buffer alone. For measuring. */
VDB_MUST_CHECK int vdb_backend_null(uint64_t capacity, struct vdb_backend **out);

#ifdef __cplusplus
}
#endif
#endif
