/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "engine.h"

#define must(rc) ck_assert_msg((rc) >= 0, "%s: %s", #rc, vdb_errmsg())

static void nap(void)
{
	const struct timespec ns = {.tv_nsec = 50000};

	nanosleep(&ns, NULL);
}

void virtio_rig_wait(const uint32_t *word, uint32_t value)
{
	for (int i = 0; i < 400000; i++) {
		if (__atomic_load_n(word, __ATOMIC_ACQUIRE) >= value)
			return;
		nap();
	}
	ck_abort_msg("waited long for %u, it is %u", value, *word);
}

void virtio_rig_wait_status(struct virtio_rig *rig, uint8_t bits)
{
	for (int i = 0; i < 400000; i++) {
		if ((virtio_rig_status(rig) & bits) == bits)
			return;
		nap();
	}
	ck_abort_msg("waited long for status %#x, it is %#x", bits, virtio_rig_status(rig));
}

static void count(uint32_t *word)
{
	__atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL);
}

void virtio_rig_release(struct virtio_rig *rig)
{
	virtio_echo_release(&rig->echo, rig->loop);
}

/* ---- The device ---- */

static struct vdb_backend *backend_of(void *ctx, uint32_t index)
{
	struct virtio_rig *rig = ctx;

	if (index >= VRIG_MAX_QUEUES)
		abort(); /* Check's own asserts call malloc(), which tests make fail */
	return rig->echo.backend;
}

static int negotiate(void *ctx, uint64_t features)
{
	struct virtio_rig *rig = ctx;

	rig->negotiated = features;
	return features & VRIG_BIT(VRIG_REFUSED) ? -EINVAL : 0;
}

static void config_read(void *ctx, uint32_t offset, void *data, uint32_t len)
{
	struct virtio_rig *rig = ctx;

	for (uint32_t i = 0; i < len; i++)
		((uint8_t *)data)[i] = __atomic_load_n(&rig->config[offset + i], __ATOMIC_ACQUIRE);
}

/* The first byte is a command: the device changes its configuration. */
static void config_write(void *ctx, uint32_t offset, const void *data, uint32_t len)
{
	struct virtio_rig *rig = ctx;

	for (uint32_t i = 0; i < len; i++)
		__atomic_store_n(&rig->config[offset + i], ((const uint8_t *)data)[i], __ATOMIC_RELEASE);
	if (offset == 0)
		vdb_virtio_config_changed(rig->device);
}

static void on_reset(void *ctx)
{
	count(&((struct virtio_rig *)ctx)->resets);
}

static int save(void *ctx, void *buf, size_t *len)
{
	const struct virtio_rig *rig = ctx;

	if (buf && *len < sizeof(rig->config))
		return -ENOSPC;
	if (buf)
		memcpy(buf, rig->config, sizeof(rig->config));
	*len = sizeof(rig->config);
	return 0;
}

static int restore(void *ctx, const void *buf, size_t len)
{
	struct virtio_rig *rig = ctx;

	if (len != sizeof(rig->config))
		return -EINVAL;
	memcpy(rig->config, buf, len);
	return 0;
}

static void on_destroy(void *ctx)
{
	count(&((struct virtio_rig *)ctx)->destroyed);
}

static void on_broken(void *arg, uint32_t queue, uint32_t reason)
{
	struct virtio_rig *rig = arg;

	if (queue >= VRIG_MAX_QUEUES)
		abort();
	__atomic_store_n(&rig->reason, reason, __ATOMIC_RELEASE);
	count(&rig->breaks);
}

static void make_device(struct virtio_rig *rig, const struct vdb_virtio_config *given)
{
	static const struct vdb_virtio_ops ops = {
	        .size = sizeof(ops),
	        .device_id = VIRTIO_ECHO,
	        .name = "echo",
	        .config_read = config_read,
	        .config_write = config_write,
	        .negotiate = negotiate,
	        .backend = backend_of,
	        .reset = on_reset,
	        .save = save,
	        .restore = restore,
	        .destroy = on_destroy,
	};
	struct vdb_virtio_config config = {0};

	if (given)
		config = *given;
	config.size = sizeof(config);
	config.mem = rig->ram.mem;
	config.loop = config.loops ? NULL : rig->loop;
	config.features |= VRIG_BIT(VRIG_FEATURE) | VRIG_BIT(VRIG_REFUSED);
	config.queues = config.queues ? config.queues : VRIG_QUEUES;
	config.config_len = VRIG_CONFIG;
	config.broken = on_broken;
	config.broken_arg = rig;
	if (rig->remote)
		must(vdb__virtio_create_remote(&ops, &vdb__framing_plain, rig->remote, rig, &config,
		                               &rig->device));
	else
		must(vdb_virtio_create(&ops, rig, &config, &rig->device));
}

static void make_foreign(struct virtio_rig *rig)
{
	const struct vdb_virtio_config at = {.size = sizeof(at),
	                                     .mem = rig->ram.mem,
	                                     .loop = rig->loop,
	                                     .broken = on_broken,
	                                     .broken_arg = rig};

	rig->device = rig->maker(&at, rig->maker_arg);
}

void virtio_rig_renew(struct virtio_rig *rig, const struct vdb_virtio_config *config)
{
	make_device(rig, config);
}

/* ---- The transport ---- */

static void queue_interrupt(void *arg, uint32_t queue)
{
	count(&((struct virtio_rig *)arg)->interrupts[queue]);
}

static void config_interrupt(void *arg)
{
	struct virtio_rig *rig = arg;

	if (rig->on_config_interrupt)
		rig->on_config_interrupt(rig);
	count(&rig->config_interrupts);
}

static int kick_fd(void *arg, uint32_t queue)
{
	return ((struct virtio_rig *)arg)->kick[queue];
}

static void forget(void *arg)
{
	count(&((struct virtio_rig *)arg)->forgotten);
}

static const struct vdb__transport_ops transport = {
        .queue_interrupt = queue_interrupt,
        .config_interrupt = config_interrupt,
        .kick_fd = kick_fd,
        .reset = forget,
};

void virtio_rig_attach(struct virtio_rig *rig)
{
	must(vdb__virtio_attach(rig->device, &transport, rig));
}

/* ---- Life ---- */

static void make(struct virtio_rig *rig, const struct vdb_virtio_config *config)
{
	struct vdb_loop_config loop = test_loop_config();

	if (rig->maker)
		mock_ram_open_shared(&rig->ram, 0, VRIG_MAX_QUEUES * VRIG_STRIDE);
	else
		mock_ram_open(&rig->ram, 0, VRIG_MAX_QUEUES * VRIG_STRIDE);
	for (uint32_t i = 0; i < VRIG_MAX_QUEUES; i++) {
		rig->kick[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ck_assert_int_ge(rig->kick[i], 0);
	}
	must(vdb_loop_create(&loop, &rig->loop));
	must(vdb_loop_start(rig->loop, -1, NULL));
	arena_begin_case(rig->loop);
	virtio_echo_open(&rig->echo);
	if (rig->maker)
		make_foreign(rig);
	else
		make_device(rig, config);
}

void virtio_rig_make(struct virtio_rig *rig, const struct vdb_virtio_config *config)
{
	memset(rig, 0, sizeof(*rig));
	make(rig, config);
}

void virtio_rig_open_remote(struct virtio_rig *rig, struct vdb__remote *remote)
{
	memset(rig, 0, sizeof(*rig));
	rig->remote = remote;
	make(rig, NULL);
	virtio_rig_attach(rig);
}

void virtio_rig_open_foreign(struct virtio_rig *rig, virtio_rig_maker *maker, void *arg)
{
	memset(rig, 0, sizeof(*rig));
	rig->maker = maker;
	rig->maker_arg = arg;
	make(rig, NULL);
	virtio_rig_attach(rig);
}

void virtio_rig_open(struct virtio_rig *rig, const struct vdb_virtio_config *config)
{
	virtio_rig_make(rig, config);
	virtio_rig_attach(rig);
}

void virtio_rig_end_loop(struct virtio_rig *rig)
{
	arena_end_case(rig->loop);
	must(vdb_loop_join(rig->loop));
	must(vdb_loop_destroy(rig->loop));
	rig->no_loop = true;
}

static void on_gone(void *arg)
{
	count(arg);
}

void virtio_rig_unplug(struct virtio_rig *rig)
{
	uint32_t gone = 0;

	vdb__virtio_detach(rig->device);
	vdb_virtio_destroy(rig->device, on_gone, &gone);
	virtio_rig_wait(&gone, 1);
	ck_assert_uint_eq(rig->destroyed, rig->maker ? 0 : 1);
	rig->device = NULL;
}

void virtio_rig_close(struct virtio_rig *rig)
{
	if (rig->device)
		virtio_rig_unplug(rig);
	if (!rig->no_loop)
		virtio_rig_end_loop(rig);
	vdb_backend_destroy(rig->echo.backend);
	for (uint32_t i = 0; i < VRIG_MAX_QUEUES; i++) {
		virtio_rig_forget(rig, i);
		close(rig->kick[i]);
	}
	mock_ram_close(&rig->ram); /* aborts if anybody still uses it */
}

/* ---- The driver ---- */

uint8_t virtio_rig_status(struct virtio_rig *rig)
{
	return vdb__virtio_status(rig->device);
}

void virtio_rig_set(struct virtio_rig *rig, uint8_t status)
{
	vdb__virtio_set_status(rig->device, status, NULL);
}

void virtio_rig_reset(struct virtio_rig *rig)
{
	struct vdb_gate *gate;
	int64_t result;

	vdb__virtio_set_status(rig->device, 0, &gate);
	if (gate)
		must(vdb_gate_wait(gate, 20000000000, &result));
	vdb_gate_unref(gate);
	ck_assert_uint_eq(virtio_rig_status(rig), 0);
}

void virtio_rig_accept(struct virtio_rig *rig, uint64_t features)
{
	vdb__virtio_accept(rig->device, 0, (uint32_t)features);
	vdb__virtio_accept(rig->device, 1, (uint32_t)(features >> 32));
}

void virtio_rig_negotiate(struct virtio_rig *rig, uint64_t features)
{
	virtio_rig_reset(rig);
	virtio_rig_set(rig, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	virtio_rig_set(rig, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	virtio_rig_accept(rig, features);
	virtio_rig_set(rig, 0xb);
	ck_assert_uint_eq(virtio_rig_status(rig), 0xb);
}

static void write64(struct virtio_rig *rig, uint32_t queue, enum vdb__queue_area area, uint64_t value)
{
	vdb__virtio_queue_set_addr(rig->device, queue, area, 0, (uint32_t)value);
	vdb__virtio_queue_set_addr(rig->device, queue, area, 1, (uint32_t)(value >> 32));
}

void virtio_rig_place(struct virtio_rig *rig, uint32_t queue, const struct vdb_virtq_config *config)
{
	vdb__virtio_queue_set_size(rig->device, queue, (uint16_t)config->entries);
	write64(rig, queue, VDB__QUEUE_DESC, config->desc);
	write64(rig, queue, VDB__QUEUE_DRIVER, config->driver);
	write64(rig, queue, VDB__QUEUE_DEVICE, config->device);
}

static void ring_bell(void *arg)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(*(int *)arg, &one, sizeof(one)), sizeof(one));
}

static uint32_t flags_of(struct virtio_rig *rig)
{
	uint64_t features = vdb__virtio_driver_features(rig->device, 0) |
	                    (uint64_t)vdb__virtio_driver_features(rig->device, 1) << 32;

	return (features & VRIG_BIT(VIRTIO_F_RING_PACKED) ? VDB_VIRTQ_PACKED : 0) |
	       (features & VRIG_BIT(VIRTIO_RING_F_EVENT_IDX) ? VDB_VIRTQ_EVENT_IDX : 0) |
	       (features & VRIG_BIT(VIRTIO_RING_F_INDIRECT_DESC) ? VDB_VIRTQ_INDIRECT : 0) |
	       (features & VRIG_BIT(VIRTIO_F_IN_ORDER) ? VDB_VIRTQ_IN_ORDER : 0);
}

void virtio_rig_forget(struct virtio_rig *rig, uint32_t queue)
{
	if (rig->driven[queue])
		virtq_driver_close(&rig->driver[queue]);
	rig->driven[queue] = false;
}

void virtio_rig_queue(struct virtio_rig *rig, uint32_t queue, uint32_t entries)
{
	struct virtq_driver *d = &rig->driver[queue];
	struct vdb_virtq_config config = {
	        .size = sizeof(config),
	        .flags = flags_of(rig),
	        .entries = entries,
	        .desc = queue * VRIG_STRIDE,
	};

	virtio_rig_forget(rig, queue);
	virtq_driver_open(d, &rig->ram, &config);
	d->bell = ring_bell;
	d->bell_arg = &rig->kick[queue];
	rig->driven[queue] = true;
	virtio_rig_place(rig, queue, &d->config);
	vdb__virtio_queue_enable(rig->device, queue);
	ck_assert(vdb__virtio_queue_enabled(rig->device, queue));
}

void virtio_rig_ok(struct virtio_rig *rig)
{
	virtio_rig_set(rig, 0xf);
	ck_assert_uint_eq(virtio_rig_status(rig), 0xf);
}

void virtio_rig_up(struct virtio_rig *rig, uint64_t features, uint32_t queues)
{
	virtio_rig_negotiate(rig, features | VRIG_V1);
	for (uint32_t i = 0; i < queues; i++)
		virtio_rig_queue(rig, i, 16);
	virtio_rig_ok(rig);
}

/* A place for each value: 16 bytes, there and back. */
static vdb_gpa_t place_of(uint32_t queue, uint64_t value)
{
	return queue * VRIG_STRIDE + VRIG_DATA + value % 64 * 16;
}

void virtio_rig_send(struct virtio_rig *rig, uint32_t queue, uint64_t value)
{
	vdb_gpa_t gpa = place_of(queue, value);
	const struct virtq_buf bufs[] = {{.gpa = gpa, .len = 8}, {.gpa = gpa + 8, .len = 8, .write = true}};

	memcpy(mock_at(&rig->ram, gpa), &value, sizeof(value));
	memset(mock_at(&rig->ram, gpa + 8), 0, 8);
	ck_assert(virtq_add(&rig->driver[queue], bufs, 2, value));
	(void)virtq_publish(&rig->driver[queue]);
}

void virtio_rig_receive(struct virtio_rig *rig, uint32_t queue, uint64_t value)
{
	uint64_t cookie = 0;
	uint32_t len = 0;
	int tries = 0;

	while (!virtq_reap(&rig->driver[queue], &cookie, &len)) {
		ck_assert_msg(++tries < 400000, "queue %u: no answer to %llu", queue,
		              (unsigned long long)value);
		nap();
	}
	ck_assert_uint_eq(cookie, value);
	ck_assert_uint_eq(len, 8);
	ck_assert_mem_eq(mock_at(&rig->ram, place_of(queue, value) + 8), &value, sizeof(value));
}

void virtio_rig_echo(struct virtio_rig *rig, uint32_t queue)
{
	static uint64_t value;

	value++;
	virtio_rig_send(rig, queue, value);
	virtio_rig_receive(rig, queue, value);
}
