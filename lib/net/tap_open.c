/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a tap's queues, and what to say when that fails. */
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/error.h"
#include "net/tap.h"

#define DEVICE "/dev/net/tun"
#define KIND (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

/* Linux 6.2 */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
_Static_assert(VDB_NET_CSUM == TUN_F_CSUM && VDB_NET_TSO4 == TUN_F_TSO4 && VDB_NET_TSO6 == TUN_F_TSO6 &&
                       VDB_NET_ECN == TUN_F_TSO_ECN && VDB_NET_UFO == TUN_F_UFO &&
                       VDB_NET_USO4 == TUN_F_USO4 && VDB_NET_USO6 == TUN_F_USO6,
               "offloads are those of TUNSETOFFLOAD");
#define USO (VDB_NET_USO4 | VDB_NET_USO6)
#define SEGMENTS (TSO | VDB_NET_UFO | USO)
#define TSO (VDB_NET_TSO4 | VDB_NET_TSO6)

/* ---- What is wrong ---- */

static int cannot_open(int err)
{
	if (err == ENOENT || err == ENODEV || err == ENXIO)
		return vdb__fail(ENOENT, "tap: there is no " DEVICE "; load the module (modprobe tun)");
	if (err == EACCES || err == EPERM)
		return vdb__fail(EPERM, "tap: no permission to open " DEVICE
		                        " (its usual mode is 0666; in containers it must be allowed)");
	return vdb__fail_sys(err, "tap: open " DEVICE);
}

static int not_permitted(const char *name)
{
	if (*name && if_nametoindex(name))
		return vdb__fail(
		        EPERM,
		        "tap %s: belongs to another user; to use it needs CAP_NET_ADMIN, or to own it: ip "
		        "tuntap add %s mode tap user USER",
		        name, name);
	return vdb__fail(EPERM,
	                 "tap %s: to create it needs CAP_NET_ADMIN; somebody who has it can create it for "
	                 "you: ip tuntap add %s mode tap user USER",
	                 *name ? name : "(new)", *name ? name : "NAME");
}

static int cannot_have(const char *name, uint32_t pairs, uint32_t have, int err)
{
	if (err == EPERM || err == EACCES)
		return not_permitted(name);
	if (err == EBUSY)
		return vdb__fail(EBUSY, "tap %s: is in use already; end what uses it, or take another", name);
	if (err == E2BIG || err == ENFILE)
		return vdb__fail(EINVAL, "tap %s: has no queue for pair %u of %u", name, have + 1, pairs);
	if (err == EINVAL && *name && if_nametoindex(name))
		return vdb__fail(EINVAL, "tap %s: this interface is no tap", name);
	return vdb__fail_sys(err, "tap %s: TUNSETIFF", name);
}

/* ---- Names ---- */

static int check_name(const char *name)
{
	size_t len = strlen(name);

	if (len >= VDB_TAP_NAME)
		return vdb__fail(EINVAL, "tap %.32s: the name is too long; %u characters at most", name,
		                 VDB_TAP_NAME - 1);
	if (!strcmp(name, ".") || !strcmp(name, "..") || strpbrk(name, "/: \t\r\n\v\f"))
		return vdb__fail(EINVAL, "tap %s: no name for an interface; without blanks, / and :", name);
	return 0;
}

static int take_name(struct vdb__tap *tap, const char *name)
{
	int err = name ? check_name(name) : 0;

	if (!err && name)
		memcpy(tap->name, name, strlen(name) + 1);
	return err;
}

/* ---- Queues that are opened here ---- */

/* 0 or a positive errno; the name is what the kernel says then. */
static int set_interface(struct vdb__tap *tap, int fd, bool multi)
{
	struct ifreq request = {.ifr_flags = (short)(KIND | (multi ? IFF_MULTI_QUEUE : 0))};

	memcpy(request.ifr_name, tap->name, sizeof(tap->name));
	if (ioctl(fd, TUNSETIFF, &request))
		return errno;
	memcpy(tap->name, request.ifr_name, sizeof(tap->name));
	tap->name[VDB_TAP_NAME - 1] = '\0';
	tap->multi = multi;
	return 0;
}

/* A tap that was made for several queues does for one; not the other way round. */
static int first_interface(struct vdb__tap *tap, int fd)
{
	bool several = tap->pairs > 1;
	int err = set_interface(tap, fd, several);

	if (err != EINVAL || set_interface(tap, fd, !several))
		return err;
	if (!several)
		return 0;
	vdb__fail(EINVAL,
	          "tap %s: has one queue, not %u; create it with: ip tuntap add %s mode tap multi_queue",
	          tap->name, tap->pairs, tap->name);
	return -EINVAL;
}

static int open_queue(struct vdb__tap *tap, uint32_t index)
{
	int fd = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC), err;

	if (fd < 0)
		return cannot_open(errno);
	err = index ? set_interface(tap, fd, true) : first_interface(tap, fd);
	if (err > 0)
		err = cannot_have(tap->name, tap->pairs, index, err);
	if (!err)
		err = vdb__netfd_open(fd, &tap->queues[index].fd);
	close(fd);
	return err;
}

/* ---- Queues that are given ---- */

/* The kernel does not tell of IFF_NO_PI: TUNGETIFF has another meaning for that bit. */
static int check_given(int fd, const char *name, short flags, bool several)
{
	const short kind = IFF_TAP | IFF_VNET_HDR;

	if ((flags & kind) != kind)
		return vdb__fail(EINVAL,
		                 "tap %s: fd %d must be open with IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", name,
		                 fd);
	if (several && !(flags & IFF_MULTI_QUEUE))
		return vdb__fail(EINVAL, "tap %s: has one queue; several need IFF_MULTI_QUEUE", name);
	return 0;
}

static int take_queue(struct vdb__tap *tap, uint32_t index, int fd)
{
	struct ifreq request = {0};
	int flags = fcntl(fd, F_GETFL), err;

	if (flags < 0 || ioctl(fd, TUNGETIFF, &request))
		return vdb__fail(EINVAL, "tap: fd %d is no queue of a tap (%s)", fd, strerror(errno));
	request.ifr_name[VDB_TAP_NAME - 1] = '\0';
	err = check_given(fd, request.ifr_name, request.ifr_flags, tap->pairs > 1);
	if (!err && index && strcmp(request.ifr_name, tap->name) != 0)
		err = vdb__fail(EINVAL, "tap: fd %d is of %s, the first one of %s", fd, request.ifr_name,
		                tap->name);
	if (!err && fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		err = vdb__fail_sys(errno, "tap: fd %d: O_NONBLOCK", fd);
	if (!err)
		err = vdb__netfd_open(fd, &tap->queues[index].fd);
	memcpy(tap->name, request.ifr_name, sizeof(tap->name));
	tap->multi = request.ifr_flags & IFF_MULTI_QUEUE;
	return err;
}

/* ---- How packets look ---- */

static int set_header(const struct vdb__tap *tap, int fd)
{
	int size = VDB_NET_HDR, little = 1;

	if (ioctl(fd, TUNSETVNETHDRSZ, &size))
		return vdb__fail_sys(errno, "tap %s: headers of %u bytes (TUNSETVNETHDRSZ)", tap->name,
		                     VDB_NET_HDR);
	/* Unknown before Linux 4.1: then they are the host's, which is the same here. */
	if (ioctl(fd, TUNSETVNETLE, &little) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return vdb__fail_sys(errno, "tap %s: little-endian headers (TUNSETVNETLE)", tap->name);
	return 0;
}

static bool takes(int fd, uint32_t offloads)
{
	return !ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads);
}

/* One by one: each kernel knows more than the one before. Some come with others only. */
static uint32_t probe_offloads(int fd)
{
	static const uint32_t each[] = {VDB_NET_TSO4, VDB_NET_TSO6, VDB_NET_UFO, USO};
	uint32_t all = VDB_NET_CSUM;

	if (!takes(fd, all))
		return 0;
	for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++)
		if (takes(fd, VDB_NET_CSUM | each[i]))
			all |= each[i];
	if (all & TSO && takes(fd, all | VDB_NET_ECN))
		all |= VDB_NET_ECN;
	return all;
}

int vdb__tap_offload(struct vdb__tap *tap, uint32_t offloads)
{
	uint32_t kernel = offloads & tap->offloads;

	if ((kernel & USO) != USO) /* both, or it does the work itself */
		kernel &= ~USO;
	/* From before they may come until after they no longer may. */
	if (kernel & SEGMENTS)
		vdb__store(&tap->segments, 1u);
	if (takes(tap->queues[0].fd->fd, kernel) || errno == EBADFD) {
		vdb__store(&tap->segments, (uint32_t)((kernel & SEGMENTS) != 0));
		return 0;
	}
	return vdb__fail_sys(errno, "tap %s: offloads %#x (TUNSETOFFLOAD)", tap->name, kernel);
}

/* ---- The interface ---- */

int vdb__tap_attach(struct vdb__tap_queue *queue, bool attach)
{
	struct ifreq request = {.ifr_flags = (short)(attach ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE)};

	if (!queue->tap->multi || queue->attached == attach)
		return 0;
	if (ioctl(queue->fd->fd, TUNSETQUEUE, &request) && errno != EBADFD && !vdb__load(&queue->tap->gone))
		return -errno;
	queue->attached = attach;
	return 0;
}

bool vdb__tap_is_gone(struct vdb__tap *tap)
{
	struct ifreq request = {0};

	if (!vdb__load(&tap->gone) && ioctl(tap->queues[0].fd->fd, TUNGETIFF, &request) && errno == EBADFD)
		vdb__tap_gone(tap);
	return vdb__load(&tap->gone);
}

/* 0 or a positive errno. In this thread's network namespace, as are those who ask. */
static int request_of(const struct vdb__tap *tap, unsigned long what, struct ifreq *request)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return errno;
	memcpy(request->ifr_name, tap->name, sizeof(tap->name));
	err = ioctl(fd, what, request) ? errno : 0;
	close(fd);
	return err;
}

int vdb__tap_set_mtu(const struct vdb__tap *tap, uint32_t mtu)
{
	struct ifreq request = {.ifr_mtu = (int)mtu};
	int err = request_of(tap, SIOCSIFMTU, &request);

	if (err == EPERM)
		return vdb__fail(EPERM,
		                 "tap %s: to change its MTU to %u needs CAP_NET_ADMIN: ip link set %s "
		                 "mtu %u",
		                 tap->name, mtu, tap->name, mtu);
	return err ? vdb__fail_sys(err, "tap %s: MTU %u", tap->name, mtu) : 0;
}

int vdb__tap_up(const struct vdb__tap *tap)
{
	struct ifreq request = {0};
	int err = request_of(tap, SIOCGIFFLAGS, &request);

	if (!err && !(request.ifr_flags & IFF_UP)) {
		request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
		err = request_of(tap, SIOCSIFFLAGS, &request);
	}
	if (err == EPERM)
		return vdb__fail(EPERM, "tap %s: to bring it up needs CAP_NET_ADMIN: ip link set %s up",
		                 tap->name, tap->name);
	return err ? vdb__fail_sys(err, "tap %s: bring it up", tap->name) : 0;
}

/* ---- All of it ---- */

int vdb__tap_open(struct vdb__tap *tap, const struct vdb_tap_config *config)
{
	int err = config->fds ? 0 : take_name(tap, config->name);

	for (uint32_t i = 0; i < tap->pairs && !err; i++) {
		err = config->fds ? take_queue(tap, i, config->fds[i]) : open_queue(tap, i);
		if (!err)
			err = set_header(tap, tap->queues[i].fd->fd);
		tap->queues[i].attached = true;
	}
	if (err)
		return err;
	tap->offloads = probe_offloads(tap->queues[0].fd->fd);
	(void)vdb__tap_offload(tap, 0);
	for (uint32_t i = 0; i < tap->pairs && !err; i++)
		err = vdb__tap_attach(&tap->queues[i], false);
	return err ? vdb__fail_sys(-err, "tap %s: detach a queue (TUNSETQUEUE)", tap->name) : 0;
}
