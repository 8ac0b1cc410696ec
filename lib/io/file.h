/* SPDX-License-Identifier: Apache-2.0 */
/* The file backend's own: opened in file_open.c, served in the others. */
#ifndef VDB_IO_FILE_H
#define VDB_IO_FILE_H

#include <pthread.h>
#include <stdbool.h>
#include <vdb/backend.h>

/* Longest piece of one host operation: a copy from the page cache runs on the loop's thread. Without the
 * cache there is no copy. */
#define VDB__FILE_CHUNK (256u * 1024)
#define VDB__FILE_CHUNK_DIRECT (1024u * 1024)

/* FLUSHes of one file, from any number of loops. */
struct vdb__file_sync {
	pthread_mutex_t lock;
	struct vdb_req *running; /* whose fdatasync() is under way; the others behind it by scratch */
	struct vdb_req *waiting; /* came meanwhile: the next one is for them */
	int failed;              /* errno of the first failure, for good */
};

struct vdb__file {
	int fd;
	uint32_t flags;    /* VDB_FILE_* */
	uint64_t capacity; /* when it was opened */
	uint32_t block_size;
	uint32_t io_align;  /* of offsets and lengths, for O_DIRECT; else 1 */
	uint32_t mem_align; /* of buffers; likewise */
	bool regular;
	bool locked;
	uint32_t no_zero_range; /* learnt: not offered by this file system; any thread */
	uint32_t no_punch;
	uint32_t no_nowait; /* learnt likewise, or O_DIRECT */
	/* READs that go the long way before the page cache is tried again, and how many it was after the last
	 * try that failed. Any thread: a count that is lost does no harm. */
	uint32_t nowait_rest, nowait_pause;
	struct vdb__file_sync sync;
};

/* ---- file_open.c ---- */

int vdb__file_open(struct vdb__file *file, const struct vdb_file_config *config);
void vdb__file_unlock(const struct vdb__file *file);
/* Its present size; any thread. */
int vdb__file_size(const struct vdb__file *file, uint64_t *size);
/* -EINVAL: not one that it could be served with. */
int vdb__file_check_size(const struct vdb__file *file, uint64_t size, const char *name);

/* ---- file_rw.c ---- */

int vdb__file_rw(struct vdb__file *file, struct vdb_req *req);

/* ---- file_now.c ---- */

/* Reads what the page cache has, if that is worth trying: bytes from the beginning; 0: go the long way. */
uint64_t vdb__file_now(struct vdb__file *file, struct vdb_req *req);

/* ---- file_bounce.c: by way of a buffer of ours ---- */

/* READ and WRITE whose memory O_DIRECT would refuse, and zeroes for WRITE_ZEROES. */
int vdb__file_bounce(struct vdb__file *file, struct vdb_req *req);

/* ---- file_zero.c ---- */

int vdb__file_discard(struct vdb__file *file, struct vdb_req *req);
int vdb__file_zero(struct vdb__file *file, struct vdb_req *req);

/* ---- file_flush.c ---- */

int vdb__file_flush(struct vdb__file *file, struct vdb_req *req);

/* What no progress inside the capacity means: the image shrank, or its disk is full. */
int vdb__file_stuck(uint8_t op);

#endif
