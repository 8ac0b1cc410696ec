/* SPDX-License-Identifier: Apache-2.0 */
/* WRAP: vdb__wire_send */
/*
 * What a vhost-user back end answers. The front end's side of the talk is the library's, asked in any order;
 * after each message of it the program decides what comes back: the right answer, one with something wrong,
 * anything, or nothing any more. It cannot hang: the last thing to come is the end of the socket.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost/user.h"

#include "input.h"

#define STEPS 64
#define SPARE 4u

static struct fuzz_input *program;
static int back;    /* the back end's end of the socket */
static int channel; /* and of the other one; -1: none */
static int spare[SPARE];
static bool ended;

struct answer {
	struct vdb__wire_header header;
	uint8_t payload[VDB__WIRE_PAYLOAD + 64];
};

static void put(int fd, const void *bytes, size_t len, uint32_t nfds)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	int fds[16];
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	for (uint32_t i = 0; i < nfds; i++)
		fds[i] = spare[i % SPARE];
	if (nfds) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, nfds * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
	}
	if (len)
		(void)!sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* How many bytes the right answer has; 0: none of its own, but an acknowledgement if that is wanted. */
static uint32_t right_len(const struct vdb__wire_header *asked)
{
	switch (asked->request) {
	case VDB__USER_GET_FEATURES:
	case VDB__USER_GET_PROTOCOL_FEATURES:
	case VDB__USER_GET_QUEUE_NUM:
	case VDB__USER_GET_STATUS:
	case VDB__USER_GET_VRING_BASE:
		return 8;
	case VDB__USER_GET_INFLIGHT_FD:
		return sizeof(struct vdb__user_inflight);
	case VDB__USER_GET_CONFIG:
		return asked->size;
	default:
		return asked->flags & VDB__WIRE_NEED_REPLY ? 8 : 0;
	}
}

static void fill(struct answer *a, const struct vdb__wire_message *asked, uint8_t how)
{
	const uint64_t features = 1ull << 32 | 1ull << VDB__USER_F_PROTOCOL | 1ull << 28, ones = ~0ull;
	const struct vdb__user_inflight inflight = {.len = 4096};

	switch (asked->header.request) {
	case VDB__USER_GET_FEATURES:
		memcpy(a->payload, how & 0x10 ? &ones : &features, 8);
		break;
	case VDB__USER_GET_PROTOCOL_FEATURES:
		memcpy(a->payload, &ones, how & 0x10 ? 2 : 8);
		break;
	case VDB__USER_GET_QUEUE_NUM:
	case VDB__USER_GET_STATUS:
		a->payload[0] = 0xf;
		break;
	case VDB__USER_GET_INFLIGHT_FD:
		memcpy(a->payload, &inflight, sizeof(inflight));
		break;
	case VDB__USER_GET_VRING_BASE:
	case VDB__USER_GET_CONFIG:
		memcpy(a->payload, asked->payload, asked->header.size);
		break;
	default:
		break;
	}
}

static void answer(const struct vdb__wire_message *asked)
{
	uint8_t how = fuzz_u8(program), what = fuzz_u8(program);
	struct answer a = {.header = {.request = asked->header.request,
	                              .flags = VDB__WIRE_VERSION | VDB__WIRE_REPLY,
	                              .size = right_len(&asked->header)}};
	uint32_t nfds = asked->header.request == VDB__USER_GET_INFLIGHT_FD, len;

	if (!a.header.size)
		return;
	fill(&a, asked, how);
	if (how & 1)
		fuzz_bytes(program, a.payload + (what & 15), 8);
	if (how & 2 && what & 1)
		a.header.request = fuzz_u8(program);
	if (how & 2 && what & 2)
		a.header.flags = fuzz_u8(program);
	if (how & 2 && what & 4)
		a.header.size = what & 8 ? fuzz_u32(program) : fuzz_u8(program);
	if (how & 4)
		nfds = fuzz_u8(program) % 17;
	len = (uint32_t)sizeof(a.header) + (a.header.size < sizeof(a.payload) ? a.header.size : 0);
	if (how & 8)
		len -= fuzz_u8(program) % (len + 1);
	put(back, &a, len, nfds);
	ended = ended || how & 8;
}

/* The front end says something: its fds are closed, but for the channel's. */
int __wrap_vdb__wire_send(int fd, const struct vdb__wire_message *message, uint64_t deadline);
int __wrap_vdb__wire_send(int fd, const struct vdb__wire_message *message, uint64_t deadline)
{
	(void)fd, (void)deadline;
	fuzz_check(message->header.size <= VDB__WIRE_PAYLOAD && message->nfds <= VDB__WIRE_FDS);
	if (message->header.request == VDB__USER_SET_CHANNEL && message->nfds) {
		if (channel >= 0)
			close(channel);
		channel = dup(message->fds[0]);
	}
	if (!fuzz_more(program))
		ended = true;
	if (!ended)
		answer(message);
	if (ended)
		(void)shutdown(back, SHUT_WR);
	return 0;
}

/* What a back end says by itself; as much as a channel carries, and then it ends. */
static void say(struct fuzz_input *in)
{
	struct answer a = {
	        .header = {.request = fuzz_u8(in) & 3, .flags = fuzz_u8(in), .size = fuzz_u8(in) & 31}};
	uint8_t how = fuzz_u8(in);

	if (channel < 0)
		return;
	put(channel, &a, sizeof(a.header) + a.header.size, how & 3);
	if (how & 0x80 || !(a.header.flags & 3)) {
		close(channel);
		channel = -1;
	}
}

static struct vdb__user *make(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct vdb__user *user = calloc(1, sizeof(*user));
	int pair[2];

	fuzz_check(user && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	back = pair[1];
	channel = -1;
	ended = false;
	user->peer.ops = &vdb__user_peer_ops;
	user->name = "fuzz";
	user->timeout_ms = 1;
	user->queues = how & 7;
	user->entries = 16;
	user->reconnects = how >> 3 & 1;
	user->sock = pair[0];
	user->channel = user->inflight_fd = -1;
	user->config_len = how & 0x10 ? 16 : 0;
	user->asked = user->config_len;
	user->from = VDB__USER_CONFIG;
	user->config = calloc(1, user->config_len + 1);
	fuzz_check(user->config);
	pthread_mutex_init(&user->lock, NULL);
	return user;
}

static int step(struct vdb__user *user, struct fuzz_input *in)
{
	static const struct vdb__peer_memory memory = {
	        .count = 2,
	        .region = {{.len = 4096, .host = 4096, .fd = 1}, {.gpa = 8192, .len = 4096, .fd = 1}}};
	struct vdb__peer_queue queue = {.index = fuzz_u8(in) & 3, .entries = 16, .kick_fd = 1, .call_fd = 1};
	struct vdb__peer *peer = &user->peer;
	struct pollfd fds[VDB__PEER_FDS] = {{.fd = user->sock}, {.fd = user->channel}};
	uint32_t position;

	queue.err_fd = queue.index & 1 ? -1 : 1;
	switch (fuzz_u8(in) % 10) {
	case 0:
		return peer->ops->features(peer, 1ull << 32);
	case 1:
		return peer->ops->memory(peer, &memory);
	case 2:
		return peer->ops->start(peer, &queue);
	case 3:
		return peer->ops->ready(peer);
	case 4:
		return peer->ops->stop(peer, queue.index, &position);
	case 5:
		return peer->ops->reset(peer);
	case 6:
		user->from = 0;
		user->to = user->config_len && user->asked ? 1 : 0;
		return peer->ops->poked(peer);
	case 7:
		user->renewed = true;
		return peer->ops->poked(peer);
	case 8:
		say(in);
		fds[1].revents = channel >= 0 && user->channel >= 0 ? POLLIN : 0;
		return peer->ops->heard(peer, fds, 2);
	default:
		return peer->ops->resumes(peer) ? 0 : peer->ops->ready(peer);
	}
}

static void make_spare(void)
{
	for (uint32_t i = 0; i < SPARE && !spare[i]; i++) {
		spare[i] = memfd_create("spare", MFD_CLOEXEC);
		fuzz_check(spare[i] > 0 && !ftruncate(spare[i], 2048 * (long)i));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = fuzz_input(data, size);
	struct vdb__user *user = make(&in);
	int rc, was;

	make_spare();
	was = dup(back); /* the lowest number that is free */
	close(was);
	program = &in;
	rc = vdb__user_connect(user);
	for (int i = 0; !rc && i < STEPS && fuzz_more(&in); i++)
		rc = step(user, &in);
	fuzz_check(rc <= 0);
	vdb__user_destroy(user);
	if (channel >= 0)
		close(channel);
	rc = dup(back);
	fuzz_check(rc <= was); /* no fd of the back end's is left */
	close(rc);
	close(back);
	return 0;
}
