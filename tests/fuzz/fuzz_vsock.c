/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-vsock: packets of every kind for connections that are there or not, credit that lies, buffers too
 * small, and host programs that connect, write, read and leave.
 */
#include <errno.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "device.h"

#define PACKET DEVICE_DATA
#define ROOM (DEVICE_DATA + 0x1000u)
#define CID 77u
#define ENDS 8u

enum { RX, TX, EVENT };

static int ends[ENDS]; /* host programs; -1: none */
static uint32_t last_port;

static int *free_end(void)
{
	for (uint32_t i = 0; i < ENDS; i++) {
		if (ends[i] < 0)
			return &ends[i];
	}
	return NULL;
}

/* The guest connects: somebody listens at even ports. */
static int connect_type(uint32_t port, int type)
{
	int pair[2], *end = free_end();

	if (port & 1 || !end)
		return -ECONNREFUSED;
	fuzz_check(!socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	*end = pair[0];
	return pair[1];
}

static int connect_to(void *arg, uint32_t port)
{
	(void)arg;
	return connect_type(port, SOCK_STREAM);
}

static int connect_seqpacket(void *arg, uint32_t port)
{
	(void)arg;
	return connect_type(port, SOCK_SEQPACKET);
}

static struct sockaddr_un address;
static socklen_t address_len;

/* Abstract, with a name of the kernel's choice. */
static int listener(void)
{
	static int fd = -1;

	if (fd >= 0)
		return fd;
	address.sun_family = AF_UNIX;
	address_len = sizeof(address);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(fd > 0 && !bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) && !listen(fd, 16));
	fuzz_check(!getsockname(fd, (struct sockaddr *)&address, &address_len));
	return fd;
}

/* What the last input left waiting. */
static void drain_listener(void)
{
	int fd;

	while ((fd = accept4(listener(), NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

static void host_connects(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	int *end = free_end();
	char text[32];
	int len = how & 1 ? 0 : snprintf(text, sizeof(text), "CONNECT %u\n", how & 2 ? fuzz_u32(in) : 1024u);

	if (!end)
		return;
	*end = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(*end >= 0);
	if (connect(*end, (struct sockaddr *)&address, address_len)) {
		close(*end);
		*end = -1;
		return;
	}
	if (how & 1)
		fuzz_bytes(in, text, sizeof(text));
	len = how & 1 ? (int)sizeof(text) : len;
	(void)!send(*end, text, (size_t)(how & 4 ? len / 2 : len), MSG_NOSIGNAL);
}

static void host_does(struct fuzz_input *in)
{
	static char bytes[8192];
	uint8_t how = fuzz_u8(in);
	int *end = &ends[how & 7];
	size_t len = how & 0x80 ? sizeof(bytes) : fuzz_u8(in);

	if (*end < 0)
		return;
	switch (how >> 3 & 7) {
	case 0:
	case 1:
		(void)!send(*end, bytes, len, MSG_NOSIGNAL);
		break;
	case 2:
	case 3:
		(void)!recv(*end, bytes, len, 0);
		break;
	case 4:
		shutdown(*end, SHUT_WR);
		break;
	case 5:
		shutdown(*end, SHUT_RD);
		break;
	default:
		close(*end);
		*end = -1;
	}
}

static void packet(struct device *d, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), op = fuzz_u8(in), more = fuzz_u8(in);
	uint32_t len = op == VIRTIO_VSOCK_OP_RW || how & 0x40 ? fuzz_u8(in) * (more & 1 ? 40u : 1u) : 0;
	struct virtio_vsock_hdr header = {
	        .src_cid = how & 1 ? fuzz_u64(in) : CID,
	        .dst_cid = how & 2 ? fuzz_u64(in) : 2,
	        .src_port = 1024u + (more >> 1 & 3),
	        .dst_port = how & 4 ? last_port : (how & 8 ? fuzz_u32(in) : 5u * (more >> 3 & 3)),
	        .len = how & 0x10 ? fuzz_u32(in) : len,
	        .type = more & 0x20 ? fuzz_u8(in) : VIRTIO_VSOCK_TYPE_STREAM,
	        .op = op < 0xe0 ? op % 8 : op,
	        .flags = more >> 6,
	        .buf_alloc = how & 0x20 ? fuzz_u32(in) : 4096,
	        .fwd_cnt = how & 0x20 ? fuzz_u32(in) : 0,
	};
	struct device_buf bufs[] = {{PACKET, sizeof(header), false}, {PACKET + sizeof(header), len, false}};

	fuzz_ram_put(PACKET, &header, sizeof(header));
	if (how & 0x80) {
		bufs[0].len = fuzz_u8(in) % 64u;
		bufs[1].gpa = fuzz_gpa(in);
	}
	fuzz_device_chain(d, TX, bufs, len || how & 0x80 ? 2 : 1);
}

static void give(struct device *d, struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct device_buf bufs[] = {{ROOM + 0x400u * (how & 7), how & 8 ? fuzz_len(in) : 1024, true},
	                            {how & 0x10 ? fuzz_gpa(in) : ROOM + 0x4000u, 64, true}};

	fuzz_device_chain(d, how & 0x20 ? EVENT : RX, bufs, how & 0x40 ? 2 : 1);
}

/* What came last from the host tells the port of its end. */
static void look(void)
{
	struct virtio_vsock_hdr header;

	for (uint32_t i = 0; i < 8; i++) {
		memcpy(&header, fuzz_ram_at(ROOM + 0x400u * i, sizeof(header)), sizeof(header));
		if (header.op == VIRTIO_VSOCK_OP_REQUEST)
			last_port = header.src_port;
	}
}

static void step(struct device *d, uint8_t kind, struct fuzz_input *in)
{
	switch (kind < 16 ? 0xff : kind % 8) {
	case 0:
	case 1:
	case 2:
		packet(d, in);
		break;
	case 3:
		give(d, in);
		break;
	case 4:
		host_connects(in);
		break;
	case 5:
	case 6:
		host_does(in);
		break;
	case 7:
		fuzz_settle();
		look();
		break;
	default:
		fuzz_device_step(d, kind, in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	const struct vdb_virtio_config at = fuzz_device_at(&in);
	uint8_t how = fuzz_u8(&in);
	const struct vdb_vsock_config config = {
	        .size = sizeof(config),
	        .cid = CID,
	        .listen_fd = listener(),
	        .max_connections = how & 1 ? 2 : 8,
	        .buf_bytes = how & 2 ? VDB_VSOCK_MIN_BUFFER : 0,
	        .connect = connect_to,
	        .flags = how & 4 ? VDB_VSOCK_SEQPACKET : 0,
	        .connect_seqpacket = how & 4 ? connect_seqpacket : NULL,
	};
	struct vdb_vsock_stats stats = {.size = sizeof(stats)};
	struct vdb_virtio *vsock;
	struct device d;

	memset(ends, -1, sizeof(ends));
	last_port = 0;
	fuzz_check(vdb_vsock_create(&at, &config, &vsock) == 0);
	fuzz_device_open(&d, vsock, &in);
	for (int i = 0; i < DEVICE_STEPS && fuzz_more(&in); i++)
		step(&d, fuzz_u8(&in) % 32, &in);
	fuzz_check(!vdb_vsock_stats(vsock, &stats) && stats.connections <= config.max_connections);
	for (uint32_t i = 0; i < ENDS; i++) {
		if (ends[i] >= 0)
			close(ends[i]);
	}
	fuzz_device_close(&d);
	drain_listener();
	return 0;
}
