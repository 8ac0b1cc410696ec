/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of connections whose every byte is checked, for hosts and guests in the lab: static, and without
 * sanitizers, since it runs in an emulated guest of an emulated guest.
 *
 *   peer serve ADDRESS                        sends back what comes, until it is killed
 *   peer mute ADDRESS                         accepts connections and never reads
 *   peer talk ADDRESS BYTES [COUNT [AT_ONCE]] COUNT connections, so many at once: on each sends BYTES,
 *                                             says that it is the end, and expects the same bytes and the end
 *   peer chat ADDRESS BYTES [COUNT [AT_ONCE]] the same, but says nothing of an end before all has come back:
 *                                             passt of Debian 12 may mix up what follows it
 *   peer stuff ADDRESS BYTES                  sends until nothing more is taken for three seconds, which must
 *                                             be the case before BYTES
 *   peer serve-messages ADDRESS               of a SEQPACKET socket: sends each message back, to one at a
 * time peer messages ADDRESS COUNT               sends messages, from a byte to 60000, and expects them back
 * whole
 *
 * ADDRESS is tcp:IPV4:PORT, vsock:CID:PORT (CID 4294967295 to serve), unix:PATH, or unix:PATH:PORT, which is
 * a guest's port behind a VMM's socket: `CONNECT PORT` is the first line sent, and `OK N` the one that comes.
 * serve, mute and serve-messages return once they listen, say which process it is that goes on, and go on in
 * the background.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHUNK 65536u
#define STEPS 16 /* of one connection, before the others have their turn */
#define NO_PORT UINT64_MAX

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in tcp;
		struct sockaddr_un path;
		struct sockaddr_vm vsock;
	};
	socklen_t len;
	uint64_t port; /* behind a VMM's socket */
	int type;      /* SOCK_STREAM, or SOCK_SEQPACKET */
};

static int fail(const char *what)
{
	fprintf(stderr, "peer: %s: %s\n", what, strerror(errno));
	return -1;
}

static int wrong(const char *text)
{
	fprintf(stderr, "peer: %s\n", text);
	return -1;
}

static bool number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && end != text && !*end;
}

/* ---- Addresses ---- */

static int parse_path(struct address *a, char *path, char *port)
{
	size_t len = strlen(path);

	if (len >= sizeof(a->path.sun_path))
		return wrong("the path is too long");
	a->path.sun_family = AF_UNIX;
	memcpy(a->path.sun_path, path, len + 1);
	a->len = sizeof(a->path);
	return !port || number(port, &a->port) ? 0 : wrong("a port is a number");
}

static int parse_tcp(struct address *a, const char *ip, uint64_t port)
{
	a->tcp.sin_family = AF_INET;
	a->tcp.sin_port = htons((uint16_t)port);
	a->len = sizeof(a->tcp);
	return inet_pton(AF_INET, ip, &a->tcp.sin_addr) == 1 ? 0 : wrong("tcp: wants an IPv4 address");
}

static int parse_vsock(struct address *a, const char *text, uint64_t port)
{
	uint64_t cid;

	if (!number(text, &cid))
		return wrong("vsock: wants a CID");
	a->vsock.svm_family = AF_VSOCK;
	a->vsock.svm_cid = (uint32_t)cid;
	a->vsock.svm_port = (uint32_t)port;
	a->len = sizeof(a->vsock);
	return 0;
}

static int parse(struct address *a, char *text)
{
	char *save, *kind = strtok_r(text, ":", &save), *where = strtok_r(NULL, ":", &save),
	            *port = strtok_r(NULL, ":", &save);
	uint64_t value;

	memset(a, 0, sizeof(*a));
	a->port = NO_PORT;
	a->type = SOCK_STREAM;
	if (kind && where && !strcmp(kind, "unix"))
		return parse_path(a, where, port);
	if (!kind || !where || !port || !number(port, &value))
		return wrong("an address is KIND:WHERE:PORT");
	if (!strcmp(kind, "tcp"))
		return parse_tcp(a, where, value);
	if (!strcmp(kind, "vsock"))
		return parse_vsock(a, where, value);
	return wrong("kinds of addresses are tcp, vsock and unix");
}

/* Byte by byte: what comes behind the line belongs to the guest. */
static int greet(int fd, uint64_t port, int type)
{
	char line[64];
	size_t len = 0;
	int n = snprintf(line, sizeof(line), "CONNECT %" PRIu64 "\n", port);

	if (send(fd, line, (size_t)n, MSG_NOSIGNAL) != n)
		return fail("CONNECT");
	do {
		ssize_t got = recv(fd, line + len, type == SOCK_STREAM ? 1 : sizeof(line) - 1, 0);

		if (got < 1 || len + (size_t)got >= sizeof(line))
			return wrong("CONNECT was not answered");
		len += (size_t)got;
	} while (line[len - 1] != '\n');
	return len > 3 && !memcmp(line, "OK ", 3) ? 0 : wrong("CONNECT was not answered by OK");
}

static int open_connection(const struct address *a)
{
	const struct timeval patience = {.tv_sec =
	                                         60}; /* Linux has two seconds, which a slow machine needs */
	int fd = socket(a->any.sa_family, a->type | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fail("socket");
	if (a->any.sa_family == AF_VSOCK)
		setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience, sizeof(patience));
	if (connect(fd, &a->any, a->len)) {
		fail("connect");
	} else if (a->port != NO_PORT && greet(fd, a->port, a->type)) {
		/* said */
	} else if (a->type == SOCK_STREAM && fcntl(fd, F_SETFL, O_NONBLOCK)) {
		fail("O_NONBLOCK");
	} else {
		return fd;
	}
	close(fd);
	return -1;
}

static int open_listener(const struct address *a)
{
	int on = 1, fd = socket(a->any.sa_family, a->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &a->any, a->len) || listen(fd, 1024)) {
		fail("listen");
		close(fd);
		return -1;
	}
	return fd;
}

/* The caller of the program goes on once we are ready. */
static int to_background(void)
{
	pid_t pid = fork();
	int null;

	if (pid < 0)
		return fail("fork");
	if (pid > 0) {
		printf("%d\n", (int)pid);
		exit(0);
	}
	setsid();
	null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	return 0;
}

static int watch(int epoll, int fd, uint32_t events, void *what, bool known)
{
	struct epoll_event event = {.events = events, .data.ptr = what};

	return epoll_ctl(epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
}

/* ---- serve, mute ---- */

struct echo {
	int fd;
	bool ended;
	uint32_t events;
	size_t from, len;
	unsigned char bytes[CHUNK];
};

static bool again(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* What to wait for, or 0: it is done with. */
static uint32_t echo_step(struct echo *c)
{
	ssize_t n;

	for (int i = 0; i < STEPS; i++) {
		if (c->len) {
			n = send(c->fd, c->bytes + c->from, c->len, MSG_NOSIGNAL);
			if (n < 0)
				return again() ? EPOLLOUT : 0;
			c->from += (size_t)n;
			c->len -= (size_t)n;
			continue;
		}
		if (c->ended)
			return 0;
		n = recv(c->fd, c->bytes, sizeof(c->bytes), 0);
		if (n < 0)
			return again() ? EPOLLIN : 0;
		c->from = 0;
		c->len = (size_t)n;
		c->ended = n == 0;
	}
	return c->len ? EPOLLOUT : EPOLLIN;
}

static void echo_visit(int epoll, struct echo *c)
{
	uint32_t events = echo_step(c);

	if (events == c->events)
		return;
	if (events && !watch(epoll, c->fd, events, c, true)) {
		c->events = events;
		return;
	}
	close(c->fd);
	free(c);
}

static void echo_accept(int epoll, int listener, bool mute)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct echo *c;

	if (fd < 0 || mute)
		return; /* it stays open, and nobody looks at it */
	c = malloc(sizeof(*c));
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	c->ended = false;
	c->events = EPOLLIN;
	c->from = c->len = 0;
	if (watch(epoll, fd, EPOLLIN, c, false)) {
		close(fd);
		free(c);
	}
}

static int serve(const struct address *a, bool mute)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = open_listener(a);
	struct epoll_event events[64];

	if (epoll < 0 || listener < 0 || watch(epoll, listener, EPOLLIN, NULL, false) || to_background())
		return 1;
	for (;;) {
		int n = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < n; i++)
			if (events[i].data.ptr)
				echo_visit(epoll, events[i].data.ptr);
			else
				echo_accept(epoll, listener, mute);
	}
}

/* ---- talk ---- */

struct talk {
	int fd;
	uint64_t id, total, sent, received;
	uint32_t events;
	bool halves; /* one direction ends before the other */
};

/* The bytes of connection `id` from `offset` on, until the next call. */
static unsigned char *pattern(uint64_t id, uint64_t offset, size_t len)
{
	static uint64_t words[CHUNK / 8 + 2];
	uint64_t first = offset / 8;

	for (size_t i = 0; i < (offset % 8 + len + 7) / 8; i++) {
		uint64_t x = (first + i + 1) * 0x9e3779b97f4a7c15 + id;

		words[i] = x ^ x >> 29;
	}
	return (unsigned char *)words + offset % 8;
}

static size_t at_most(uint64_t n)
{
	return n < CHUNK ? (size_t)n : CHUNK;
}

/* 1: something was sent, 0: not now, -1: it failed. */
static int talk_send(struct talk *c)
{
	size_t len = at_most(c->total - c->sent);
	ssize_t n;

	if (!len)
		return 0;
	n = send(c->fd, pattern(c->id, c->sent, len), len, MSG_NOSIGNAL);
	if (n < 0)
		return again() ? 0 : fail("send");
	c->sent += (uint64_t)n;
	if (c->halves && c->sent == c->total && shutdown(c->fd, SHUT_WR))
		return fail("shutdown");
	return 1;
}

/* The same, and 2: the end has come, where it should. */
static int talk_receive(struct talk *c)
{
	static unsigned char bytes[CHUNK];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

	if (n < 0)
		return again() ? 0 : fail("recv");
	if (!n)
		return c->received == c->total ? 2 : wrong("the end came too early");
	if ((uint64_t)n > c->sent - c->received)
		return wrong("more came back than was sent");
	if (memcmp(bytes, pattern(c->id, c->received, (size_t)n), (size_t)n) != 0)
		return wrong("other bytes came back than were sent");
	c->received += (uint64_t)n;
	return !c->halves && c->received == c->total ? 2 : 1;
}

/* 1: done, 0: not yet, -1: it failed. */
static int talk_step(int epoll, struct talk *c)
{
	uint32_t events;

	for (int i = 0; i < STEPS; i++) {
		int sent = talk_send(c), received = sent < 0 ? -1 : talk_receive(c);

		if (received < 0 || received == 2)
			return received < 0 ? -1 : 1;
		if (!sent && !received)
			break;
	}
	events = EPOLLIN | (c->sent < c->total ? EPOLLOUT : 0);
	if (events != c->events && watch(epoll, c->fd, events, c, true))
		return fail("epoll_ctl");
	c->events = events;
	return 0;
}

struct talks {
	const struct address *address;
	uint64_t bytes, count, at_once;
	uint64_t begun, open, done;
	struct talk *all; /* at_once of them; those with fd < 0 are free */
	int epoll;
	bool halves;
};

static int begin(struct talks *t)
{
	struct talk *c = t->all;

	while (c->fd >= 0)
		c++;
	*c = (struct talk){
	        .fd = open_connection(t->address), .id = ++t->begun, .total = t->bytes, .halves = t->halves};
	c->events = EPOLLIN | EPOLLOUT;
	if (c->fd < 0)
		return -1;
	if (!t->bytes && shutdown(c->fd, SHUT_WR))
		return fail("shutdown");
	t->open++;
	return watch(t->epoll, c->fd, c->events, c, false) ? fail("epoll_ctl") : 0;
}

/* Which, and how far they have come. */
static int stalled(const struct talks *t)
{
	unsigned told = 0;

	for (uint64_t i = 0; i < t->at_once && told < 20; i++) {
		const struct talk *c = &t->all[i];

		if (c->fd < 0)
			continue;
		fprintf(stderr, "peer: connection %" PRIu64 ": sent %" PRIu64 ", back %" PRIu64 "\n", c->id,
		        c->sent, c->received);
		told++;
	}
	return wrong("nothing has come or gone for two minutes");
}

static int go_on(struct talks *t)
{
	struct epoll_event events[64];
	int n = epoll_wait(t->epoll, events, 64, 120000);

	if (n <= 0)
		return stalled(t);
	for (int i = 0; i < n; i++) {
		struct talk *c = events[i].data.ptr;
		int rc = talk_step(t->epoll, c);

		if (rc < 0)
			return -1;
		if (!rc)
			continue;
		close(c->fd);
		c->fd = -1;
		t->open--;
		t->done++;
	}
	return 0;
}

static int converse(struct talks *t)
{
	while (t->done < t->count) {
		while (t->open < t->at_once && t->begun < t->count)
			if (begin(t))
				return -1;
		if (go_on(t))
			return -1;
	}
	return 0;
}

static int talk(struct talks t)
{
	int failed;

	t.epoll = epoll_create1(EPOLL_CLOEXEC);
	t.all = calloc(t.at_once, sizeof(*t.all));
	if (t.epoll < 0 || !t.all)
		return fail("memory") != 0;
	for (uint64_t i = 0; i < t.at_once; i++)
		t.all[i].fd = -1;
	failed = converse(&t);
	printf("peer: %" PRIu64 " of %" PRIu64 " connections, %" PRIu64 " bytes each\n", t.done, t.count,
	       t.bytes);
	free(t.all);
	return failed != 0;
}

/* ---- stuff ---- */

static int stuff(const struct address *a, uint64_t bytes)
{
	struct pollfd fd = {.fd = open_connection(a), .events = POLLOUT};
	uint64_t sent = 0;

	if (fd.fd < 0)
		return 1;
	while (sent < bytes && poll(&fd, 1, 3000) > 0) {
		size_t len = at_most(bytes - sent);
		ssize_t n = send(fd.fd, pattern(1, sent, len), len, MSG_NOSIGNAL);

		if (n < 0 && !again())
			return fail("send") != 0;
		sent += n > 0 ? (uint64_t)n : 0;
	}
	close(fd.fd);
	printf("peer: %" PRIu64 " bytes were taken\n", sent);
	return sent == bytes;
}

/* ---- serve-messages, messages. They block: Linux may send a part of a message before it says EAGAIN. ----
 */

static int serve_messages(const struct address *a)
{
	static unsigned char bytes[CHUNK];
	struct pollfd listener = {.fd = open_listener(a), .events = POLLIN};
	ssize_t n;
	int fd;

	if (listener.fd < 0 || to_background())
		return 1;
	while (poll(&listener, 1, -1) > 0) {
		fd = accept4(listener.fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		do
			n = recv(fd, bytes, sizeof(bytes), 0);
		while (n > 0 && send(fd, bytes, (size_t)n, MSG_NOSIGNAL) == n);
		close(fd);
	}
	return 1;
}

static size_t message_len(uint64_t i)
{
	return i & 1 ? 1 + i * 7919 % 60000 : 1 + i % 9;
}

static int expect_message(int fd, uint64_t i)
{
	static unsigned char bytes[CHUNK];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	if (n < 0)
		return fail("recv");
	if ((size_t)n != message_len(i))
		return wrong("a message came back with another length");
	return memcmp(bytes, pattern(i, 0, (size_t)n), (size_t)n) ? wrong("a message came back changed") : 0;
}

/* Two at a time, so that one could run into the other. */
static int messages(const struct address *a, uint64_t count)
{
	const struct timeval patience = {.tv_sec = 120};
	int fd = open_connection(a), failed = fd < 0;

	if (!failed && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		return fail("SO_RCVTIMEO") != 0;
	for (uint64_t i = 0; i < count && !failed; i++) {
		size_t len = message_len(i);

		if (send(fd, pattern(i, 0, len), len, MSG_NOSIGNAL) != (ssize_t)len)
			return fail("send") != 0;
		failed = i && expect_message(fd, i - 1);
	}
	failed = failed || (count && expect_message(fd, count - 1));
	if (fd >= 0)
		close(fd);
	return failed;
}

static int command(int words, char **word)
{
	uint64_t values[3] = {0, 1, 1};
	struct address a;

	if (words < 2 || words > 5 || parse(&a, word[1]))
		return 2;
	for (int i = 2; i < words; i++)
		if (!number(word[i], &values[i - 2]))
			return 2;
	if (!strcmp(word[0], "serve") || !strcmp(word[0], "mute"))
		return serve(&a, word[0][0] == 'm');
	if (strstr(word[0], "messages")) {
		a.type = SOCK_SEQPACKET;
		return words == 2 ? serve_messages(&a) : messages(&a, values[0]);
	}
	if (words == 3 && !strcmp(word[0], "stuff"))
		return stuff(&a, values[0]);
	if (words >= 3 && (!strcmp(word[0], "talk") || (!strcmp(word[0], "chat") && values[0])) && values[2])
		return talk((struct talks){.address = &a,
		                           .bytes = values[0],
		                           .count = values[1],
		                           .at_once = values[2],
		                           .halves = word[0][0] == 't'});
	return 2;
}

int main(int argc, char **argv)
{
	struct rlimit files;
	int status;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	status = command(argc - 1, argv + 1);
	if (status == 2)
		fprintf(stderr, "usage: peer serve|mute|talk|chat|stuff ADDRESS [BYTES [COUNT [AT_ONCE]]]\n");
	return status;
}
