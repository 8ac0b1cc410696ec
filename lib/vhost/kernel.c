/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost/kernel.h"

#include <fcntl.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vdb/virtio.h>

#include "base/error.h"

static struct vdb__kernel *kernel_of(struct vdb__peer *peer)
{
	return (struct vdb__kernel *)peer;
}

int vdb__kernel_fail(const struct vdb__kernel *kernel, const char *what)
{
	return vdb__fail_sys(errno, "%s: %s: %s", kernel->name, kernel->ops->path, what);
}

static int tell(const struct vdb__kernel *kernel, unsigned long request, void *arg, const char *what)
{
	return ioctl(kernel->fd, request, arg) ? vdb__kernel_fail(kernel, what) : 0;
}

/* ---- Life ---- */

static int open_device(const struct vdb__kernel *kernel)
{
	int fd = open(kernel->ops->path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return vdb__fail_sys(errno, "%s: %s; modprobe %s", kernel->name, kernel->ops->path,
		                     kernel->ops->module);
	if (errno == EACCES || errno == EPERM)
		return vdb__fail_sys(errno, "%s: %s; be root, or of its group", kernel->name,
		                     kernel->ops->path);
	return vdb__kernel_fail(kernel, "open");
}

void vdb__kernel_close(struct vdb__kernel *kernel)
{
	if (kernel->fd >= 0)
		close(kernel->fd);
	kernel->fd = -1;
	kernel->runs = false;
	kernel->started = 0;
}

int vdb__kernel_open(struct vdb__kernel *kernel)
{
	int rc;

	kernel->fd = open_device(kernel);
	if (kernel->fd < 0)
		return kernel->fd;
	rc = tell(kernel, VHOST_SET_OWNER, NULL, "VHOST_SET_OWNER");
	if (!rc)
		rc = tell(kernel, VHOST_GET_FEATURES, &kernel->features, "VHOST_GET_FEATURES");
	if (!rc && !(kernel->features >> VIRTIO_F_VERSION_1 & 1))
		rc = vdb__fail(EPROTO, "%s: %s knows legacy drivers only", kernel->name, kernel->ops->path);
	if (!rc && kernel->ops->set_up)
		rc = kernel->ops->set_up(kernel);
	if (rc)
		vdb__kernel_close(kernel);
	return rc;
}

static bool has(const struct vdb__kernel *kernel, unsigned feature)
{
	return kernel->features >> feature & 1;
}

uint32_t vdb__kernel_flags(const struct vdb__kernel *kernel, uint32_t flags)
{
	flags |= VDB_VIRTIO_NO_RING_RESET; /* it cannot stop one queue alone */
	if (!has(kernel, VIRTIO_F_RING_PACKED))
		flags |= VDB_VIRTIO_NO_PACKED;
	if (!has(kernel, VIRTIO_RING_F_EVENT_IDX))
		flags |= VDB_VIRTIO_NO_EVENT_IDX;
	if (!has(kernel, VIRTIO_RING_F_INDIRECT_DESC))
		flags |= VDB_VIRTIO_NO_INDIRECT;
	return flags;
}

static int connect(struct vdb__peer *peer)
{
	return vdb__kernel_open(kernel_of(peer));
}

static void disconnect(struct vdb__peer *peer)
{
	vdb__kernel_close(kernel_of(peer));
}

/* ---- A driver's life ---- */

static int features(struct vdb__peer *peer, uint64_t accepted)
{
	struct vdb__kernel *kernel = kernel_of(peer);
	uint64_t all = accepted & kernel->features;

	return tell(kernel, VHOST_SET_FEATURES, &all, "VHOST_SET_FEATURES");
}

static int memory(struct vdb__peer *peer, const struct vdb__peer_memory *memory)
{
	/* struct vhost_memory, whose regions have no bound. */
	struct {
		uint32_t count, padding;
		struct vhost_memory_region region[VDB__VHOST_REGIONS];
	} table;

	memset(&table, 0, sizeof(table));
	table.count = memory->count;
	for (uint32_t i = 0; i < memory->count; i++) {
		table.region[i].guest_phys_addr = memory->region[i].gpa;
		table.region[i].memory_size = memory->region[i].len;
		table.region[i].userspace_addr = memory->region[i].host;
	}
	return tell(kernel_of(peer), VHOST_SET_MEM_TABLE, &table, "VHOST_SET_MEM_TABLE");
}

int vdb__kernel_run(struct vdb__kernel *kernel, bool on)
{
	bool runs = on && kernel->started == kernel->queues;
	int rc = kernel->runs == runs ? 0 : kernel->ops->run(kernel, runs);

	if (!rc)
		kernel->runs = runs;
	return rc;
}

/* A driver's queues come one after the other. */
static int ready(struct vdb__peer *peer)
{
	return vdb__kernel_run(kernel_of(peer), true);
}

static int reset(struct vdb__peer *peer)
{
	return vdb__kernel_run(kernel_of(peer), false);
}

/* ---- Queues ---- */

static int set_state(struct vdb__kernel *kernel, unsigned long request, uint32_t index, uint32_t num,
                     const char *what)
{
	struct vhost_vring_state state = {.index = index, .num = num};

	return tell(kernel, request, &state, what);
}

static int set_fd(struct vdb__kernel *kernel, unsigned long request, uint32_t index, int fd, const char *what)
{
	struct vhost_vring_file file = {.index = index, .fd = fd};

	return tell(kernel, request, &file, what);
}

static int set_addr(struct vdb__kernel *kernel, const struct vdb__peer_queue *queue)
{
	struct vhost_vring_addr addr = {.index = queue->index,
	                                .desc_user_addr = queue->desc,
	                                .used_user_addr = queue->device,
	                                .avail_user_addr = queue->driver};

	return tell(kernel, VHOST_SET_VRING_ADDR, &addr, "VHOST_SET_VRING_ADDR");
}

static int start(struct vdb__peer *peer, const struct vdb__peer_queue *queue)
{
	struct vdb__kernel *kernel = kernel_of(peer);
	uint32_t index = queue->index;
	int rc = vdb__kernel_run(kernel, false);

	if (!rc)
		rc = set_state(kernel, VHOST_SET_VRING_NUM, index, queue->entries, "VHOST_SET_VRING_NUM");
	if (!rc)
		rc = set_state(kernel, VHOST_SET_VRING_BASE, index, queue->position, "VHOST_SET_VRING_BASE");
	if (!rc)
		rc = set_addr(kernel, queue);
	if (!rc)
		rc = set_fd(kernel, VHOST_SET_VRING_CALL, index, queue->call_fd, "VHOST_SET_VRING_CALL");
	if (!rc)
		rc = set_fd(kernel, VHOST_SET_VRING_ERR, index, queue->err_fd, "VHOST_SET_VRING_ERR");
	if (!rc)
		rc = set_fd(kernel, VHOST_SET_VRING_KICK, index, queue->kick_fd, "VHOST_SET_VRING_KICK");
	if (!rc)
		kernel->started |= 1u << index;
	return rc;
}

/* The device has no stop for one queue: all that ran together end together. */
static int stop(struct vdb__peer *peer, uint32_t index, uint32_t *position)
{
	struct vdb__kernel *kernel = kernel_of(peer);
	struct vhost_vring_state state = {.index = index};
	int rc = vdb__kernel_run(kernel, false);

	kernel->started &= ~(1u << index);
	if (!rc)
		rc = tell(kernel, VHOST_GET_VRING_BASE, &state, "VHOST_GET_VRING_BASE");
	if (!rc)
		rc = set_fd(kernel, VHOST_SET_VRING_KICK, index, VHOST_FILE_UNBIND, "VHOST_SET_VRING_KICK");
	if (!rc)
		rc = set_fd(kernel, VHOST_SET_VRING_CALL, index, VHOST_FILE_UNBIND, "VHOST_SET_VRING_CALL");
	if (!rc)
		*position = state.num;
	return rc;
}

static void destroy(struct vdb__peer *peer)
{
	struct vdb__kernel *kernel = kernel_of(peer);

	kernel->ops->destroy(kernel);
}

const struct vdb__peer_ops vdb__kernel_peer_ops = {
        .regions = VDB__VHOST_REGIONS,
        .connect = connect,
        .disconnect = disconnect,
        .features = features,
        .memory = memory,
        .start = start,
        .ready = ready,
        .stop = stop,
        .reset = reset,
        .destroy = destroy,
};
