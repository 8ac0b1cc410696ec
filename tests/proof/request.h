/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request as a lane hands it to a backend: what the guest gave to be read, in two pieces of any lengths,
 * and a byte behind it that may be written, or not. A piece ends where its array does.
 */
#ifndef PROOF_REQUEST_H
#define PROOF_REQUEST_H

#include "io/request.h"

static unsigned char piece_first[READABLE_MAX], piece_second[READABLE_MAX], piece_written[1];
static struct vdb__request request;

static uint32_t add_piece(struct iovec *iov, unsigned char *end, uint64_t len)
{
	if (!len)
		return 0; /* lanes have no empty ones */
	*iov = (struct iovec){end - len, len};
	return 1;
}

/* The byte at `at` of what is to be read. */
static unsigned char *request_byte(uint64_t at)
{
	const struct iovec *iov = request.pub.iov;

	if (at < iov[0].iov_len)
		return (unsigned char *)iov[0].iov_base + at;
	return (unsigned char *)iov[1].iov_base + (at - iov[0].iov_len);
}

/* Eva sees each by itself. */
static uint64_t any_cut(uint64_t readable)
{
	uint64_t cut = any;

	if (cut >= readable)
		cut = 0;
	/*@ split cut; */
	return cut;
}

/* `cut` bytes of what is to be read are in the first piece. */
static struct vdb_req *any_request(uint64_t readable, uint64_t cut, bool writable)
{
	struct iovec *iov = vdb__request_iov(&request);
	uint32_t n = 0;

	n += add_piece(&iov[n], piece_first + sizeof(piece_first), cut);
	n += add_piece(&iov[n], piece_second + sizeof(piece_second), readable - cut);
	n += add_piece(&iov[n], piece_written + sizeof(piece_written), writable);
	Frama_C_make_unknown((char *)piece_first, sizeof(piece_first));
	Frama_C_make_unknown((char *)piece_second, sizeof(piece_second));
	request.nmapped = n;
	request.pub.op = VDB_OP_USER;
	request.pub.niov = n;
	request.pub.iov = iov;
	request.pub.readable = readable;
	request.pub.len = readable + writable;
	return &request.pub;
}

static uint64_t any_readable(uint64_t least, uint64_t most)
{
	uint64_t readable = any;

	if (readable < least || readable > most)
		readable = most;
	/*@ split readable; */
	return readable;
}

#endif
