/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of a serial port or console: bytes both ways, each way through a bounded FIFO, so
 * that neither a guest that floods nor a peer that never reads costs memory or stops a
 * loop. Full output makes the device wait (the guest sees a busy transmitter), full input makes
 * the host wait.
 */
#ifndef VDB_CHARDEV_H
#define VDB_CHARDEV_H

#include <stddef.h>
#include <vdb/loop.h>
#include <vdb/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vdb_chardev;

struct vdb_chardev_config {
	uint32_t size;
	/* > 0: what the guest writes goes there; pipe, terminal, file (at its position), socket. Pipes
	 * and terminals are opened anew, others duplicated; where they cannot be opened the caller's
	 * description is O_NONBLOCK while the chardev lives. Neither this nor output: it goes nowhere. */
	int32_t out_fd;
	/* > 0, likewise: what comes from there goes to the guest. Standard input is 0, so give a dup() of it,
	 * which can be closed at once. */
	int32_t in_fd;
	uint32_t fifo; /* bytes each way; 0 = 64 KiB */
	/* Instead of out_fd: take up to len bytes, return how many; fewer than all: call
	 * vdb_chardev_writable() when there is room. Loop's thread. */
	size_t (*output)(void *arg, const void *data, size_t len);
	/* Between in_fd and the guest, in place: returns how many of the `len` bytes are left for the
	 * guest. For escape sequences. Loop's thread. NULL: all. */
	size_t (*filter)(void *arg, char *data, size_t len);
	/* in_fd ended or failed (0 or errno), out_fd failed: from then on, output goes nowhere. No SIGPIPE
	 * comes of it. Loop's thread. NULL: nothing to do. */
	void (*closed)(void *arg, int output, int error);
	void *arg;
};

/* Any thread. */
VDB_MUST_CHECK int vdb_chardev_create(struct vdb_loop *loop, const struct vdb_chardev_config *config,
                                      struct vdb_chardev **out);

/* Writes out what it still has if that does not block, then lets go; done(arg) (may be NULL)
 * on the loop's thread. Its device must be gone. NULL is fine. Any thread. */
void vdb_chardev_destroy(struct vdb_chardev *chardev, vdb_done_fn done, void *arg);

/* Input for the guest, from the embedder. Returns how many bytes fitted. Any thread. */
size_t vdb_chardev_input(struct vdb_chardev *chardev, const void *data, size_t len);

/* `output` has room again. Any thread. */
void vdb_chardev_writable(struct vdb_chardev *chardev);

#ifdef __cplusplus
}
#endif
#endif
