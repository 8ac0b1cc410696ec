/* SPDX-License-Identifier: Apache-2.0 */
#include "netns.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

static int skip(const char *what, const char *why)
{
	(void)fprintf(stderr, "skipped: %s: %s\n", what, why);
	return 77;
}

/* As root of a user namespace that has nobody else. */
static int enter_as_user(void)
{
	char map[64];
	unsigned uid = getuid(), gid = getgid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return skip("a network namespace (unshare)", strerror(errno));
	(void)write_file("/proc/self/setgroups", "deny");
	(void)snprintf(map, sizeof(map), "0 %u 1", gid);
	if (!write_file("/proc/self/gid_map", map))
		return skip("a user namespace (gid_map)", strerror(errno));
	(void)snprintf(map, sizeof(map), "0 %u 1", uid);
	if (!write_file("/proc/self/uid_map", map))
		return skip("a user namespace (uid_map)", strerror(errno));
	return 0;
}

int netns_enter(void)
{
	int fd, status = 0;

	if (unshare(CLONE_NEWNET))
		status = enter_as_user();
	if (status)
		return status;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return skip("/dev/net/tun", strerror(errno));
	close(fd);
	/* Where there is no IPv6 there are no such files. */
	(void)write_file("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	(void)write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	return 0;
}

int netns_here(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

void netns_go(int fd)
{
	ck_assert_msg(!setns(fd, CLONE_NEWNET), "setns: %s", strerror(errno));
}

int netns_queue(const char *name, short flags)
{
	struct ifreq request = {.ifr_flags = flags};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_lt(strlen(name), sizeof(request.ifr_name));
	memcpy(request.ifr_name, name, strlen(name));
	ck_assert_msg(!ioctl(fd, TUNSETIFF, &request), "%s: %s", name, strerror(errno));
	return fd;
}

void netns_tap(const char *name, bool multi_queue, int owner)
{
	int fd = netns_queue(name, (short)(IFF_TAP | IFF_NO_PI | (multi_queue ? IFF_MULTI_QUEUE : 0)));

	ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	if (owner >= 0)
		ck_assert_msg(!ioctl(fd, TUNSETOWNER, owner), "owner %d: %s", owner, strerror(errno));
	close(fd);
}

static void interface(const char *name, unsigned long what, struct ifreq *request)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_lt(strlen(name), sizeof(request->ifr_name));
	memcpy(request->ifr_name, name, strlen(name));
	ck_assert_msg(!ioctl(fd, what, request), "%s: %s", name, strerror(errno));
	close(fd);
}

bool netns_is_up(const char *name)
{
	struct ifreq request = {0};

	interface(name, SIOCGIFFLAGS, &request);
	return request.ifr_flags & IFF_UP;
}

void netns_up(const char *name, bool up)
{
	struct ifreq request = {0};

	interface(name, SIOCGIFFLAGS, &request);
	request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
	interface(name, SIOCSIFFLAGS, &request);
}

void netns_mtu(const char *name, uint32_t mtu)
{
	struct ifreq request = {.ifr_mtu = (int)mtu};

	interface(name, SIOCSIFMTU, &request);
}

void netns_address(const char *name, const char *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	memcpy(request.ifr_name, name, strlen(name));
	ck_assert_int_eq(inet_pton(AF_INET, address, &in.sin_addr), 1);
	memcpy(&request.ifr_addr, &in, sizeof(in));
	ck_assert_msg(!ioctl(fd, SIOCSIFADDR, &request), "%s: %s", name, strerror(errno));
	in.sin_addr.s_addr = htonl(0xffffff00u);
	memcpy(&request.ifr_netmask, &in, sizeof(in));
	ck_assert_msg(!ioctl(fd, SIOCSIFNETMASK, &request), "%s: %s", name, strerror(errno));
	close(fd);
}

void netns_mac(const char *name, uint8_t mac[6])
{
	struct ifreq request = {0};

	interface(name, SIOCGIFHWADDR, &request);
	memcpy(mac, request.ifr_hwaddr.sa_data, 6);
}

uint32_t netns_index(const char *name)
{
	return if_nametoindex(name);
}

void netns_delete(const char *name)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} request = {
	        .head = {.nlmsg_len = sizeof(request),
	                 .nlmsg_type = RTM_DELLINK,
	                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
	        .info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(name)},
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), error;
	char answer[4096];

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(send(fd, &request, sizeof(request), 0), sizeof(request));
	ck_assert_int_ge(recv(fd, answer, sizeof(answer), 0), sizeof(struct nlmsghdr) + sizeof(error));
	memcpy(&error, answer + sizeof(struct nlmsghdr), sizeof(error));
	ck_assert_msg(!error, "delete %s: %s", name, strerror(-error));
	close(fd);
}

int netns_packets(const char *name, bool vnet)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
	                         .sll_protocol = htons(ETH_P_ALL),
	                         .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
	int bytes = 8 << 20, ignore = 1;

	ck_assert_int_ge(fd, 0);
	if (vnet)
		ck_assert_int_eq(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &ignore, sizeof(ignore)), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

void netns_drop_admin(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	ck_assert_int_eq(syscall(SYS_capget, &head, data), 0);
	data[0].effective &= ~(1u << CAP_NET_ADMIN);
	data[0].permitted &= ~(1u << CAP_NET_ADMIN);
	data[0].inheritable &= ~(1u << CAP_NET_ADMIN);
	ck_assert_int_eq(syscall(SYS_capset, &head, data), 0);
}
