/* SPDX-License-Identifier: Apache-2.0 */
#include "vu_backend.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine.h"
#include "vhost/user.h"

#define BIT(n) (1ull << (n))
/* Not libcheck's: these run on another thread than the test. */
#define must(truth) ((truth) ? (void)0 : failed(#truth, __LINE__))

static _Noreturn void failed(const char *what, int line)
{
	(void)fprintf(stderr, "vu_backend:%d: not so: %s (%s; %s)\n", line, what, strerror(errno),
	              vdb_errmsg());
	abort();
}

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

/* ---- Memory ---- */

static bool still_there(const struct vu_backend *vu, const struct vu_region *region)
{
	for (uint32_t i = 0; i < vu->regions; i++) {
		if (vu->region[i].gpa == region->gpa && vu->region[i].len == region->len)
			return true;
	}
	return false;
}

static void set_memory(struct vu_backend *vu, const struct vdb__wire_message *message)
{
	struct vdb__user_memory table;
	struct vu_region old[VU_REGIONS];
	uint32_t olds = vu->regions;

	memcpy(&table, message->payload, sizeof(table));
	must(table.count <= VU_REGIONS && message->nfds == table.count);
	memcpy(old, vu->region, sizeof(old));
	vu->regions = table.count;
	for (uint32_t i = 0; i < table.count; i++)
		vu->region[i] =
		        (struct vu_region){table.region[i].gpa, table.region[i].len, table.region[i].address};
	for (uint32_t i = 0; i < olds; i++) {
		if (!still_there(vu, &old[i]))
			must(vdb_mem_remove(vu->mem, old[i].gpa, NULL, NULL) == 0);
	}
	for (uint32_t i = 0; i < table.count; i++) {
		const struct vdb_region_config region = {.size = sizeof(region),
		                                         .gpa = table.region[i].gpa,
		                                         .len = table.region[i].len,
		                                         .backing = VDB_MEM_FD,
		                                         .fd = message->fds[i],
		                                         .fd_offset = table.region[i].offset};
		int rc = vdb_mem_add(vu->mem, &region);

		must(rc == 0 || rc == -EEXIST); /* that is: it has it */
	}
	__atomic_store_n(&vu->regions_now, vu->regions, __ATOMIC_RELEASE);
}

static vdb_gpa_t gpa_of(const struct vu_backend *vu, uint64_t address)
{
	for (uint32_t i = 0; i < vu->regions; i++) {
		if (address - vu->region[i].address < vu->region[i].len)
			return vu->region[i].gpa + (address - vu->region[i].address);
	}
	failed("an address that is in the table", __LINE__);
}

/* ---- Rings ---- */

static void start_ring(struct vu_backend *vu, struct vu_ring *ring)
{
	uint64_t features = __atomic_load_n(&vu->agreed, __ATOMIC_ACQUIRE);
	const struct vdb_virtq_config config = {
	        .size = sizeof(config),
	        .flags = VDB_VIRTQ_RESUME | (features & BIT(VIRTIO_F_RING_PACKED) ? VDB_VIRTQ_PACKED : 0) |
	                 (features & BIT(VIRTIO_RING_F_EVENT_IDX) ? VDB_VIRTQ_EVENT_IDX : 0) |
	                 (features & BIT(VIRTIO_RING_F_INDIRECT_DESC) ? VDB_VIRTQ_INDIRECT : 0),
	        .entries = ring->entries,
	        .position = ring->base,
	        .desc = gpa_of(vu, ring->desc),
	        .driver = gpa_of(vu, ring->avail),
	        .device = gpa_of(vu, ring->used),
	        .left_at = &ring->left,
	};
	const struct vdb_lane_config lane = {
	        .size = sizeof(lane), .kick_fd = ring->kick, .call_fd = ring->call};
	struct vdb_queue *queue;

	ring->left = ring->base;
	if (ring->lane || __atomic_load_n(&vu->idle, __ATOMIC_ACQUIRE))
		return;
	must(vdb_virtq_create(vu->mem, &config, &queue) == 0);
	must(vdb_lane_create(vu->loop, queue, vu->echo.backend, &lane, &ring->lane) == 0);
}

static void open_gate(void *gate)
{
	vdb_gate_open(gate, 0);
}

static void stop_ring(struct vu_ring *ring)
{
	struct vdb_gate *gate;
	int64_t result;

	if (!ring->lane)
		return;
	must(vdb_gate_create(&gate) == 0);
	vdb_lane_destroy(ring->lane, open_gate, gate);
	must(vdb_gate_wait(gate, -1, &result) == 0);
	vdb_gate_unref(gate);
	ring->lane = NULL;
}

static void take_fd(int *to, struct vdb__wire_message *message)
{
	uint64_t value;

	memcpy(&value, message->payload, sizeof(value));
	if (*to >= 0)
		close(*to);
	*to = -1;
	if (value & 0x100)
		return;
	must(message->nfds == 1);
	__atomic_store_n(to, message->fds[0], __ATOMIC_RELEASE); /* vu_give_up() */
	message->nfds = 0;
}

static void set_addr(struct vu_ring *ring, const struct vdb__wire_message *message)
{
	struct vdb__user_addr addr;

	memcpy(&addr, message->payload, sizeof(addr));
	ring->desc = addr.desc;
	ring->avail = addr.avail;
	ring->used = addr.used;
}

/* The front end has gone, or it begins anew. */
static void forget_all(struct vu_backend *vu)
{
	for (uint32_t i = 0; i < VU_QUEUES; i++) {
		struct vu_ring *ring = &vu->ring[i];
		int *fds[] = {&ring->kick, &ring->call, &ring->err};

		stop_ring(ring);
		for (int f = 0; f < 3; f++) {
			if (*fds[f] >= 0)
				close(*fds[f]);
			*fds[f] = -1;
		}
	}
	for (uint32_t i = 0; i < vu->regions; i++)
		must(vdb_mem_remove(vu->mem, vu->region[i].gpa, NULL, NULL) == 0);
	vu->regions = 0;
	__atomic_store_n(&vu->status, 0, __ATOMIC_RELEASE);
	pthread_mutex_lock(&vu->config_lock);
	if (vu->channel >= 0)
		close(vu->channel);
	vu->channel = -1;
	pthread_mutex_unlock(&vu->config_lock);
}

/* ---- Answers ---- */

static void send_raw(struct vu_backend *vu, const void *bytes, size_t len)
{
	(void)!send(vu->sock, bytes, len, MSG_NOSIGNAL);
}

static void answer(struct vu_backend *vu, const struct vdb__wire_message *to, const void *payload,
                   uint32_t len, const int *fds, uint32_t nfds)
{
	struct vdb__wire_message message = {.header = {.request = to->header.request,
	                                               .flags = VDB__WIRE_VERSION | VDB__WIRE_REPLY,
	                                               .size = len},
	                                    .nfds = nfds};

	memcpy(message.payload, payload, len);
	if (nfds)
		memcpy(message.fds, fds, nfds * sizeof(*fds));
	(void)vdb__wire_send(vu->sock, &message, vdb__wire_deadline(20000));
}

static void answer64(struct vu_backend *vu, const struct vdb__wire_message *to, uint64_t value)
{
	answer(vu, to, &value, sizeof(value), NULL, 0);
}

static void answer_config(struct vu_backend *vu, const struct vdb__wire_message *to)
{
	struct vdb__user_config config;

	memcpy(&config, to->payload, sizeof(config));
	must(config.offset + config.len <= VU_CONFIG);
	pthread_mutex_lock(&vu->config_lock);
	memcpy(config.bytes, vu->config + config.offset, config.len);
	pthread_mutex_unlock(&vu->config_lock);
	answer(vu, to, &config, to->header.size, NULL, 0);
}

/* The first half is the device's alone. */
static void take_config(struct vu_backend *vu, const struct vdb__wire_message *message)
{
	struct vdb__user_config config;

	memcpy(&config, message->payload, sizeof(config));
	must(config.offset + config.len <= VU_CONFIG);
	pthread_mutex_lock(&vu->config_lock);
	for (uint32_t i = 0; i < config.len; i++) {
		if (config.offset + i >= VU_CONFIG / 2)
			vu->config[config.offset + i] = config.bytes[i];
	}
	pthread_mutex_unlock(&vu->config_lock);
}

static void answer_inflight(struct vu_backend *vu, const struct vdb__wire_message *to)
{
	struct vdb__user_inflight inflight;
	int fd = memfd_create("inflight", MFD_CLOEXEC);

	must(fd >= 0 && ftruncate(fd, 4096) == 0);
	memcpy(&inflight, to->payload, sizeof(inflight));
	must(inflight.queues >= 1 && inflight.entries >= 1);
	inflight.len = 4096;
	answer(vu, to, &inflight, sizeof(inflight), &fd, 1);
	close(fd);
}

static void answer_base(struct vu_backend *vu, const struct vdb__wire_message *to)
{
	struct vdb__user_state state;

	memcpy(&state, to->payload, sizeof(state));
	must(state.index < VU_QUEUES);
	stop_ring(&vu->ring[state.index]);
	state.num = vu->ring[state.index].left;
	answer(vu, to, &state, sizeof(state), NULL, 0);
}

static bool has_answer(uint32_t request)
{
	static const uint32_t known[] = {
	        VU_GET_FEATURES, VU_GET_PROTOCOL_FEATURES, VU_GET_QUEUE_NUM, VU_GET_STATUS,
	        VU_GET_CONFIG,   VU_GET_INFLIGHT_FD,       VU_GET_VRING_BASE};

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i] == request)
			return true;
	}
	return false;
}

/* True: it is one that has an answer, which it has had. */
static bool ask(struct vu_backend *vu, const struct vdb__wire_message *m)
{
	switch (m->header.request) {
	case VU_GET_FEATURES:
		answer64(vu, m, vu->features);
		return true;
	case VU_GET_PROTOCOL_FEATURES:
		answer64(vu, m, vu->protocol);
		return true;
	case VU_GET_QUEUE_NUM:
		answer64(vu, m, vu->queues);
		return true;
	case VU_GET_STATUS:
		answer64(vu, m, __atomic_load_n(&vu->status, __ATOMIC_ACQUIRE));
		return true;
	case VU_GET_CONFIG:
		answer_config(vu, m);
		return true;
	case VU_GET_INFLIGHT_FD:
		answer_inflight(vu, m);
		return true;
	case VU_GET_VRING_BASE:
		answer_base(vu, m);
		return true;
	default:
		return false;
	}
}

static void tell_ring(struct vu_backend *vu, struct vdb__wire_message *m)
{
	struct vdb__user_state state;
	struct vu_ring *ring;

	memcpy(&state, m->payload, sizeof(state));
	must((state.index & 0xff) < VU_QUEUES);
	ring = &vu->ring[state.index & 0xff];
	switch (m->header.request) {
	case VU_SET_VRING_NUM:
		ring->entries = state.num;
		break;
	case VU_SET_VRING_BASE:
		ring->base = state.num;
		break;
	case VU_SET_VRING_ADDR:
		set_addr(ring, m);
		break;
	case VU_SET_VRING_KICK:
		take_fd(&ring->kick, m);
		if (!(vu->agreed & BIT(VDB__USER_F_PROTOCOL)))
			start_ring(vu, ring);
		break;
	case VU_SET_VRING_CALL:
		take_fd(&ring->call, m);
		break;
	case VU_SET_VRING_ERR:
		take_fd(&ring->err, m);
		break;
	default:
		must(m->header.request == VU_SET_VRING_ENABLE);
		if (state.num)
			start_ring(vu, ring);
		break;
	}
}

static void take_channel(struct vu_backend *vu, struct vdb__wire_message *m)
{
	must(m->nfds == 1);
	pthread_mutex_lock(&vu->config_lock);
	vu->channel = m->fds[0];
	pthread_mutex_unlock(&vu->config_lock);
	m->nfds = 0;
}

static void tell(struct vu_backend *vu, struct vdb__wire_message *m)
{
	uint64_t value = 0;

	memcpy(&value, m->payload, m->header.size < sizeof(value) ? m->header.size : sizeof(value));
	switch (m->header.request) {
	case VU_SET_FEATURES:
		__atomic_store_n(&vu->agreed, value, __ATOMIC_RELEASE);
		break;
	case VU_SET_PROTOCOL_FEATURES:
		must(!(value & ~vu->protocol));
		vu->protocol_now = value;
		break;
	case VU_SET_MEM_TABLE:
		set_memory(vu, m);
		break;
	case VU_SET_CHANNEL:
		take_channel(vu, m);
		break;
	case VU_SET_CONFIG:
		take_config(vu, m);
		break;
	case VU_SET_STATUS:
		__atomic_store_n(&vu->status, value, __ATOMIC_RELEASE);
		break;
	case VU_SET_OWNER:
	case VU_SET_INFLIGHT_FD:
	case VU_RESET_DEVICE:
		break;
	default:
		tell_ring(vu, m);
		break;
	}
}

/* ---- Faults ---- */

static void wait_for_hang_up(struct vu_backend *vu)
{
	struct pollfd fds[] = {{.fd = vu->sock}, {.fd = vu->quit_fd, .events = POLLIN}};

	while (poll(fds, 2, -1) < 0)
		must(errno == EINTR);
}

static void send_fds(struct vu_backend *vu, uint32_t request, uint32_t n)
{
	struct vdb__wire_header header = {request, VDB__WIRE_VERSION | VDB__WIRE_REPLY, 8};
	uint64_t value = 0;
	struct iovec iov[] = {{&header, sizeof(header)}, {&value, sizeof(value)}};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = iov,
	                     .msg_iovlen = 2,
	                     .msg_control = &control,
	                     .msg_controllen = CMSG_SPACE(n * sizeof(int))};

	memset(&control, 0, sizeof(control));
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(n * sizeof(int));
	for (uint32_t i = 0; i < n; i++)
		memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &vu->quit_fd, sizeof(int));
	(void)!sendmsg(vu->sock, &msg, MSG_NOSIGNAL);
}

/* Faster than anybody listens, until the front end hangs up. */
static void chatter(const struct vu_backend *vu)
{
	struct vdb__wire_header messages[1024];

	for (unsigned i = 0; i < 1024; i++)
		messages[i] =
		        (struct vdb__wire_header){VDB__USER_CHANNEL_CONFIG_CHANGE, VDB__WIRE_VERSION, 0};
	while (send(vu->channel, messages, sizeof(messages), MSG_NOSIGNAL) > 0)
		;
}

static void misbehave(struct vu_backend *vu, uint32_t fault, const struct vdb__wire_message *m)
{
	struct vdb__wire_header header = {m->header.request, VDB__WIRE_VERSION | VDB__WIRE_REPLY, 8};
	const bool number = has_answer(m->header.request) && m->header.request != VU_GET_VRING_BASE;
	const uint64_t no = number ? 0 : ~0ull;

	switch (fault) {
	case VU_HANGS:
		count(&vu->hangs);
		wait_for_hang_up(vu);
		break;
	case VU_BABBLES:
		send_raw(vu, "this is not a message, nor will it ever be one", 46);
		break;
	case VU_MISTAKES:
		header.request ^= 32;
		send_raw(vu, &header, sizeof(header));
		send_raw(vu, &no, sizeof(no));
		break;
	case VU_SHORT:
		send_raw(vu, &header, sizeof(header) / 2);
		break;
	case VU_HUGE:
		header.size = 1u << 20;
		send_raw(vu, &header, sizeof(header));
		break;
	case VU_GIVES:
		send_fds(vu, m->header.request, 3);
		break;
	case VU_FLOODS:
		send_fds(vu, m->header.request, 30);
		break;
	case VU_CHATTERS:
		chatter(vu);
		break;
	case VU_REFUSES:
		header.size = sizeof(no);
		send_raw(vu, &header, sizeof(header));
		send_raw(vu, &no, sizeof(no));
		break;
	default:
		break;
	}
}

static uint32_t fault_for(struct vu_backend *vu, uint32_t request)
{
	if (__atomic_load_n(&vu->fault_at, __ATOMIC_ACQUIRE) != request)
		return VU_GOOD;
	__atomic_store_n(&vu->fault_at, 0, __ATOMIC_RELEASE);
	return __atomic_load_n(&vu->fault, __ATOMIC_ACQUIRE);
}

/* ---- The thread ---- */

/* False: the end of this connection. */
static bool handle(struct vu_backend *vu)
{
	struct vdb__wire_message message;
	uint32_t request, fault;

	if (vdb__wire_receive(vu->sock, -1, &message, vdb__wire_deadline(20000)))
		return false;
	request = message.header.request;
	must(request < VU_REQUESTS);
	count(&vu->asked[request]);
	fault = fault_for(vu, request);
	if (fault == VU_HURRIES) {
		vu_renew(vu, 5, 55);
		fault = VU_GOOD;
	}
	if (fault == VU_GIVES && !has_answer(request)) {
		tell(vu, &message);
		send_fds(vu, request, 3);
		count(&vu->faults);
	} else if (fault) {
		misbehave(vu, fault, &message);
		vdb__wire_drop_fds(&message);
		count(&vu->faults);
		if (fault != VU_DIES && fault != VU_SHORT)
			wait_for_hang_up(vu); /* the front end must do so by itself */
		return false;
	} else if (!ask(vu, &message)) {
		tell(vu, &message);
		if (message.header.flags & VDB__WIRE_NEED_REPLY)
			answer64(vu, &message, 0);
	}
	vdb__wire_drop_fds(&message);
	return true;
}

/* One connection: false when the test wants the end. */
static bool serve(struct vu_backend *vu)
{
	struct pollfd fds[] = {{.fd = vu->sock, .events = POLLIN},
	                       {.fd = vu->drop_fd, .events = POLLIN},
	                       {.fd = vu->quit_fd, .events = POLLIN}};
	uint64_t counted;

	for (;;) {
		must(poll(fds, 3, -1) > 0 || errno == EINTR);
		if (fds[2].revents)
			return false;
		if (fds[1].revents) {
			must(read(vu->drop_fd, &counted, sizeof(counted)) == sizeof(counted));
			return true;
		}
		if (fds[0].revents && !handle(vu))
			return true;
	}
}

static void *run(void *arg)
{
	struct vu_backend *vu = arg;
	struct pollfd fds[] = {{.fd = vu->listener, .events = POLLIN}, {.fd = vu->quit_fd, .events = POLLIN}};
	bool more = true;

	while (more) {
		must(poll(fds, 2, -1) > 0 || errno == EINTR);
		if (fds[1].revents)
			break;
		vu->sock = accept4(vu->listener, NULL, NULL, SOCK_CLOEXEC);
		if (vu->sock < 0)
			continue;
		count(&vu->connections);
		more = serve(vu);
		forget_all(vu);
		close(vu->sock);
	}
	return NULL;
}

/* ---- The test's thread ---- */

static void write_event(int fd)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
}

void vu_spoil(struct vu_backend *vu, uint32_t request, enum vu_fault fault)
{
	__atomic_store_n(&vu->fault, fault, __ATOMIC_RELEASE);
	__atomic_store_n(&vu->fault_at, request, __ATOMIC_RELEASE);
}

void vu_settle(struct vu_backend *vu)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char byte;

	memcpy(addr.sun_path, vu->path, sizeof(vu->path));
	must(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	must(shutdown(fd, SHUT_WR) == 0 && read(fd, &byte, 1) == 0);
	close(fd);
}

void vu_drop(struct vu_backend *vu)
{
	write_event(vu->drop_fd);
}

static void say(struct vu_backend *vu, uint32_t request, uint32_t flags)
{
	struct vdb__wire_message message = {
	        .header = {.request = request, .flags = VDB__WIRE_VERSION | flags},
	        .nfds = flags ? 1 : 0,
	        .fds = {vu->quit_fd}};

	ck_assert_int_ge(vu->channel, 0);
	ck_assert_int_eq(vdb__wire_send(vu->channel, &message, vdb__wire_deadline(20000)), 0);
}

void vu_renew(struct vu_backend *vu, uint32_t offset, uint8_t value)
{
	pthread_mutex_lock(&vu->config_lock);
	vu->config[offset] = value;
	say(vu, VDB__USER_CHANNEL_CONFIG_CHANGE, 0);
	pthread_mutex_unlock(&vu->config_lock);
}

uint64_t vu_babble(struct vu_backend *vu)
{
	struct vdb__wire_message message;
	uint64_t result;

	pthread_mutex_lock(&vu->config_lock);
	say(vu, 77, VDB__WIRE_NEED_REPLY);
	ck_assert_int_eq(vdb__wire_receive(vu->channel, -1, &message, vdb__wire_deadline(20000)), 0);
	pthread_mutex_unlock(&vu->config_lock);
	ck_assert_uint_eq(message.header.request, 77);
	memcpy(&result, message.payload, sizeof(result));
	return result;
}

void vu_give_up(struct vu_backend *vu, uint32_t ring)
{
	write_event(__atomic_load_n(&vu->ring[ring].err, __ATOMIC_ACQUIRE));
}

void vu_return(struct vu_backend *vu)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	memcpy(addr.sun_path, vu->path, sizeof(vu->path));
	vu->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_ge(vu->listener, 0);
	ck_assert_int_eq(bind(vu->listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(vu->listener, 4), 0);
	ck_assert_int_eq(pthread_create(&vu->thread, NULL, run, vu), 0);
}

void vu_leave(struct vu_backend *vu)
{
	uint64_t counted;

	unlink(vu->path);
	write_event(vu->quit_fd);
	pthread_join(vu->thread, NULL);
	ck_assert_int_eq(read(vu->quit_fd, &counted, sizeof(counted)), sizeof(counted));
	close(vu->listener);
}

static void set_defaults(struct vu_backend *vu)
{
	if (!vu->features)
		vu->features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) |
		               BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_RING_F_INDIRECT_DESC) |
		               BIT(VDB__USER_F_RING_RESET) | BIT(VDB__USER_F_PROTOCOL) | BIT(5);
	if (!vu->protocol)
		vu->protocol = vu->features & BIT(VDB__USER_F_PROTOCOL) ? VU_ALL : 0;
	if (!vu->queues)
		vu->queues = VU_QUEUES;
	vu->channel = -1;
	for (uint32_t i = 0; i < VU_QUEUES; i++)
		vu->ring[i].kick = vu->ring[i].call = vu->ring[i].err = -1;
}

void vu_open(struct vu_backend *vu)
{
	struct vdb_loop_config loop = test_loop_config();

	set_defaults(vu);
	pthread_mutex_init(&vu->config_lock, NULL);
	(void)snprintf(vu->path, sizeof(vu->path), "/tmp/vu-%d-%p.sock", getpid(), (void *)vu);
	unlink(vu->path);
	vu->quit_fd = eventfd(0, EFD_CLOEXEC);
	vu->drop_fd = eventfd(0, EFD_CLOEXEC);
	ck_assert(vu->quit_fd >= 0 && vu->drop_fd >= 0);
	ck_assert_int_eq(vdb_mem_create(&vu->mem), 0);
	ck_assert_int_eq(vdb_loop_create(&loop, &vu->loop), 0);
	ck_assert_int_eq(vdb_loop_start(vu->loop, -1, NULL), 0);
	virtio_echo_open(&vu->echo);
	vu_return(vu);
}

void vu_close(struct vu_backend *vu)
{
	vu_leave(vu);
	ck_assert_int_eq(vdb_loop_join(vu->loop), 0);
	ck_assert_int_eq(vdb_loop_destroy(vu->loop), 0);
	virtio_echo_close(&vu->echo);
	ck_assert_int_eq(vdb_mem_destroy(vu->mem), 0);
	close(vu->quit_fd);
	close(vu->drop_fd);
	pthread_mutex_destroy(&vu->config_lock);
}
