/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest behind passt, in a network namespace of its own, whose one interface leads nowhere: an address by
 * DHCP, an answer by ARP; what is said when passt cannot be started; its end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>

#include "../../examples/tinyvmm/passt.c"
#include "leak.h"
#include "nic_rig.h"
#include "suite.h"

#define SKIP 77
#define NO_NAMESPACE 2
#define NO_INTERFACE 3
#define OURS "10.1.2.3"
#define GATEWAY "10.1.2.1"

static char complaint[512];
static uint32_t closed;

int complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(complaint, sizeof(complaint), format, args);
	va_end(args);
	return -1;
}

/* ---- The namespace ---- */

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* Of an ordinary user, or else of root. */
static bool enter_namespace(void)
{
	char user[32], group[32];

	(void)snprintf(user, sizeof(user), "0 %u 1", getuid());
	(void)snprintf(group, sizeof(group), "0 %u 1", getgid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return !unshare(CLONE_NEWNET);
	return put("/proc/self/uid_map", user) && put("/proc/self/setgroups", "deny") &&
	       put("/proc/self/gid_map", group);
}

static bool run(const char *command)
{
	return system(command) == 0;
}

static bool make_interface(void)
{
	if (!run("ip link add out0 type veth peer name out1 2>/dev/null") &&
	    !run("ip link add out0 type dummy 2>/dev/null"))
		return false;
	(void)run("ip link set out1 up 2>/dev/null"); /* a veth's other end */
	return run("ip addr add " OURS "/24 dev out0 && ip link set out0 up && "
	           "ip route add default via " GATEWAY);
}

/* In a child: the program itself stays where it is. NULL: it can be done. */
static const char *missing(void)
{
	pid_t pid = fork();
	int status = 0;

	if (!pid)
		_exit(!enter_namespace() ? NO_NAMESPACE : make_interface() ? 0 : NO_INTERFACE);
	if (waitpid(pid, &status, 0) != pid)
		return "no child can be waited for";
	if (!run("command -v passt >/dev/null"))
		return "passt is not installed";
	if (!run("command -v ip >/dev/null"))
		return "ip (iproute2) is not installed";
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return NULL;
	return WEXITSTATUS(status) == NO_INTERFACE ? "no interface, neither veth nor dummy, can be made"
	                                           : "no network namespace can be made";
}

/* ---- The guest ---- */

static struct vdb_loop *loop;
static struct vdb_netdev *netdev;
static struct nic nic;
static const uint8_t mac[6] = {2, 0, 0, 0, 0, 7}, exchange[4] = {1, 2, 3, 4};

static void on_closed(void *arg, int error)
{
	(void)arg;
	(void)error;
	closed++;
}

static void setup(void)
{
	struct vdb_net_socket_config config = {.size = sizeof(config), .closed = on_closed};

	ck_assert(enter_namespace() && make_interface());
	ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	config.fd = passt_start("net0", 0);
	ck_assert_msg(config.fd >= 0, "%s", complaint);
	loop = test_loop_new();
	ck_assert_msg(vdb_netdev_stream(&config, &netdev) == 0, "%s", vdb_errmsg());
	close(config.fd);
	nic_open(&nic, loop, netdev, NULL);
	nic_fill(&nic, 16, 2048);
}

static void finish(void)
{
	int status;

	nic_close(&nic);
	vdb_netdev_destroy(netdev);
	test_loop_end(loop);
	/* It ends with its socket. It is our child since its first process has ended. */
	ck_assert_int_gt(waitpid(-1, &status, 0), 0);
}

static void put16(uint8_t *at, uint32_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put_checksum(uint8_t *ip)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	put16(ip + 10, ~(sum + (sum >> 16)));
}

static void send_discover(void)
{
	static const uint8_t options[] = {99, 130, 83, 99, 53, 1, 1, 255};
	uint8_t frame[14 + 20 + 8 + 300] = {0}, *ip = frame + 14, *udp = ip + 20, *dhcp = udp + 8;

	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	put16(frame + 12, 0x0800);
	ip[0] = 0x45;
	put16(ip + 2, sizeof(frame) - 14);
	ip[8] = 64;
	ip[9] = 17;
	memset(ip + 16, 0xff, 4);
	put_checksum(ip);
	put16(udp, 68);
	put16(udp + 2, 67);
	put16(udp + 4, sizeof(frame) - 34);
	dhcp[0] = dhcp[1] = 1;
	dhcp[2] = 6;
	memcpy(dhcp + 4, exchange, sizeof(exchange));
	memcpy(dhcp + 28, mac, 6);
	memcpy(dhcp + 236, options, sizeof(options));
	nic_send(&nic, NULL, frame, sizeof(frame));
}

/* Waits for a frame of this type. */
static uint8_t *next_of(uint32_t type)
{
	static uint8_t packet[NIC_SLOT];
	uint8_t *frame = packet + VDB_NET_HDR;

	do
		nic_until(loop, nic_take(&nic, packet));
	while ((uint32_t)(frame[12] << 8 | frame[13]) != type);
	return frame;
}

START_TEST(an_address)
{
	const struct in_addr ours = {inet_addr(OURS)};
	const uint8_t *frame;

	setup();
	send_discover();
	do
		frame = next_of(0x0800);
	while (frame[23] != 17 || memcmp(frame + 42 + 4, exchange, sizeof(exchange)) != 0);
	ck_assert_mem_eq(frame, mac, 6);
	ck_assert_uint_eq(frame[42], 2); /* a reply */
	ck_assert_mem_eq(frame + 42 + 16, &ours, 4);
	finish();
}
END_TEST

START_TEST(the_gateway)
{
	const struct in_addr gateway = {inet_addr(GATEWAY)}, ours = {inet_addr(OURS)};
	static const uint8_t request[] = {0, 1, 8, 0, 6, 4, 0, 1};
	uint8_t frame[42] = {0};
	const uint8_t *reply;

	setup();
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	put16(frame + 12, 0x0806);
	memcpy(frame + 14, request, sizeof(request));
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 28, &ours, 4);
	memcpy(frame + 38, &gateway, 4);
	nic_send(&nic, NULL, frame, sizeof(frame));
	reply = next_of(0x0806);
	ck_assert_uint_eq(reply[21], 2);
	ck_assert_mem_eq(reply + 28, &gateway, 4);
	finish();
}
END_TEST

/* F22 */
START_TEST(passt_dies)
{
	char path[64], text[64] = "";
	int fd, status;

	setup();
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		ck_abort_msg("passt is not a child of ours");
	close(fd);
	ck_assert_int_eq(kill(atoi(text), SIGKILL), 0);
	ck_assert_int_gt(waitpid(-1, &status, 0), 0);
	nic_until(loop, closed);
	ck_assert_uint_eq(nic.net.down, 1);
	send_discover();
	nic_drain(&nic);
	nic_close(&nic);
	vdb_netdev_destroy(netdev);
	test_loop_end(loop);
}
END_TEST

/* ---- What is said ---- */

START_TEST(it_is_not_installed)
{
	int fds = leak_fds();

	ck_assert_int_eq(setenv("PATH", "/nowhere", 1), 0);
	ck_assert_int_eq(passt_start("net0", 0), -1);
	ck_assert_str_eq(complaint,
	                 "net0: --net user needs passt, which is not installed: apt install passt");
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

START_TEST(there_is_no_route)
{
	int fds = leak_fds();

	ck_assert(enter_namespace());
	ck_assert_int_eq(passt_start("net0", 0), -1);
	ck_assert_ptr_ne(strstr(complaint, "net0: passt finds no interface with a route"), NULL);
	ck_assert_int_eq(leak_fds(), fds);
}
END_TEST

START_TEST(an_mtu_that_passt_refuses)
{
	ck_assert(enter_namespace() && make_interface());
	ck_assert_int_eq(passt_start("net0", 70000), -1);
	ck_assert_ptr_ne(strstr(complaint, "net0: passt has not started: "), NULL);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {an_address,          the_gateway,       passt_dies,
	                              it_is_not_installed, there_is_no_route, an_mtu_that_passt_refuses};
	const char *reason = missing();

	if (!reason)
		return suite_run("net_passt", tests, sizeof(tests) / sizeof(tests[0]));
	(void)fprintf(stderr, "SKIPPED: passt with a guest: %s\n", reason);
	return SKIP;
}
