/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/net/header.c lib/net/vnet.c */
/* BROKEN: no_checksum lib/net/header.c s/ && at + sizeof(uint16_t) <= len// */
/* BROKEN: no_size lib/net/header.c s/header->flags && size &&/header->flags \&\&/ */
/* BROKEN: no_segments lib/net/header.c s,len / size < MAX_SEGMENTS &&,, */
/* BROKEN: no_header_length lib/net/header.c s/ && le16toh(header->hdr_len) <= len// */
/*
 * A virtio-net header, any twelve bytes, of a packet of any length: what is let through can be acted on.
 */
#include "net/pair.h"
#include <endian.h>

#define SMALL 6u /* packets of at most so many bytes: each length, and each checksum's place, by itself */
#define LARGE 65535u

static bool check(struct virtio_net_hdr_v1 *header, uint32_t len)
{
	bool passed = vdb__net_header_check(header, len, any);

	if (passed) {
		CLAIM(header->num_buffers == 0);
		CLAIM(!(header->flags & ~VIRTIO_NET_HDR_F_NEEDS_CSUM));
		CLAIM(header->gso_type == VIRTIO_NET_HDR_GSO_NONE || header->flags);
	}
	return passed;
}

/* The checksum and what the header calls headers lie in the packet. */
static void checksum(struct virtio_net_hdr_v1 *header)
{
	unsigned char packet[SMALL];
	uint32_t len = any, from;

	if (len > SMALL)
		return;
	/*@ split len; */
	if (header->csum_start <= SMALL) {
		/*@ split header->csum_start; */
		;
	}
	if (!check(header, len))
		return;
	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		CLAIM(le16toh(header->hdr_len) <= len);
	if (!header->flags)
		return;
	from = SMALL - len + le16toh(header->csum_start) + le16toh(header->csum_offset);
	packet[from] = packet[from + 1] = 0;
	REACHED(checksum);
}

/* A large packet becomes no more segments than that: of 32 bytes at least. */
static void segments(struct virtio_net_hdr_v1 *header)
{
	if (header->gso_size < 36) {
		/*@ split header->gso_size; */
		;
	}
	if (!check(header, LARGE) || header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return;
	CLAIM(le16toh(header->gso_size) >= LARGE / 2047);
	REACHED(segments);
}

int main(void)
{
	struct virtio_net_hdr_v1 header;

	Frama_C_make_unknown((char *)&header, sizeof(header));
	switch (any) {
	case 0:
		checksum(&header);
		break;
	case 1:
		segments(&header);
		break;
	default:
		(void)check(&header, any);
		REACHED(any);
	}
	return 0;
}
