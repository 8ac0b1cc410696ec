/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "net_frames.h"

/* One request to the interface's configuration. */
static void configure(unsigned long request, void *arg, const char *what)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, request, arg))
		bench_die(errno == EPERM || errno == ENOPKG ? BENCH_SKIPPED : BENCH_FAILED, "%s: %s", what,
		          strerror(errno));
	close(fd);
}

static struct ifreq of(const char *name)
{
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ifr;
}

static void bring_up(const char *name)
{
	struct ifreq ifr = of(name);

	ifr.ifr_flags = IFF_UP;
	configure(SIOCSIFFLAGS, &ifr, "bringing an interface up");
}

/* No router solicitations among the frames. */
static void forbid_ipv6(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			fprintf(stderr, "bench: IPv6 stays on\n");
		close(fd);
	}
}

void tap_namespace(void)
{
	if (unshare(CLONE_NEWNET))
		bench_die(errno == EPERM ? BENCH_SKIPPED : BENCH_FAILED,
		          "a network namespace of its own: %s; be root (CAP_SYS_ADMIN)", strerror(errno));
	forbid_ipv6();
	bring_up("lo");
}

/* ---- Taps ---- */

static void make_device(const char *name)
{
	struct ifreq ifr = of(name);
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		bench_die(BENCH_SKIPPED, "/dev/net/tun: %s", strerror(errno));
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETPERSIST, 1))
		bench_die(errno == EPERM ? BENCH_SKIPPED : BENCH_FAILED,
		          "making a tap: %s; be root (CAP_NET_ADMIN)", strerror(errno));
	close(fd);
}

void tap_make(const char *name, uint8_t mac)
{
	struct ifreq ifr = of(name);

	make_device(name);
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	net_mac((uint8_t *)ifr.ifr_hwaddr.sa_data, mac);
	configure(SIOCSIFHWADDR, &ifr, "a tap's MAC");
	ifr = of(name);
	ifr.ifr_qlen = TAP_QUEUE;
	configure(SIOCSIFTXQLEN, &ifr, "a tap's queue");
	bring_up(name);
}

static struct sockaddr_in ip(uint32_t address)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
}

void tap_address(const char *name)
{
	struct ifreq ifr = of(name);
	struct sockaddr_in host = ip(NET_IP_HOST), guest = ip(NET_IP_GUEST), mask = ip(0xffffff00u);
	struct arpreq arp = {.arp_flags = ATF_COM | ATF_PERM};

	memcpy(&ifr.ifr_addr, &host, sizeof(host));
	configure(SIOCSIFADDR, &ifr, "a tap's address");
	memcpy(&ifr.ifr_netmask, &mask, sizeof(mask));
	configure(SIOCSIFNETMASK, &ifr, "a tap's netmask");
	memcpy(&arp.arp_pa, &guest, sizeof(guest));
	arp.arp_ha.sa_family = ARPHRD_ETHER;
	net_mac((uint8_t *)arp.arp_ha.sa_data, NET_GUEST_0);
	snprintf(arp.arp_dev, sizeof(arp.arp_dev), "%s", name);
	configure(SIOCSARP, &arp, "a guest's address");
}

unsigned tap_index(const char *name)
{
	unsigned index = if_nametoindex(name);

	if (!index)
		bench_die(BENCH_FAILED, "%s: %s", name, strerror(errno));
	return index;
}

static void add_port(const char *bridge, const char *port)
{
	struct ifreq ifr = of(bridge);

	ifr.ifr_ifindex = (int)tap_index(port);
	configure(SIOCBRADDIF, &ifr, "a port of a bridge");
}

void tap_bridge(const char *name, const char *port1, const char *port2)
{
	struct ifreq ifr = of(name);

	configure(SIOCBRADDBR, ifr.ifr_name, "a bridge (is there a module \"bridge\"?)");
	add_port(name, port1);
	add_port(name, port2);
	bring_up(name);
}

/* ---- Counters ---- */

/* The field'th number behind the interface's name; sysfs shows other namespaces. */
static uint64_t counter(const char *name, int field)
{
	FILE *file = fopen("/proc/thread-self/net/dev", "re");
	char line[512];
	const char *at;
	uint64_t value = 0;
	size_t len = strlen(name);

	if (!file)
		bench_die(BENCH_FAILED, "/proc/thread-self/net/dev: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		at = line + strspn(line, " ");
		if (strncmp(at, name, len) != 0 || at[len] != ':')
			continue;
		at += len + 1;
		for (int n = 0, i = 0; i <= field && sscanf(at, "%" SCNu64 "%n", &value, &n) == 1; i++)
			at += n;
		fclose(file);
		return value;
	}
	bench_die(BENCH_FAILED, "no counters of %s", name);
}

uint64_t tap_received(const char *name)
{
	return counter(name, 1);
}

uint64_t tap_dropped(const char *name)
{
	return counter(name, 11);
}
