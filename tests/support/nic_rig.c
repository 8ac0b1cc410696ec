/* SPDX-License-Identifier: Apache-2.0 */
#include "nic_rig.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "queue/chain.h"

#define RING 0x10000u    /* bytes for each */
#define SLOTS (2 * RING) /* where those of the first ring begin */
#define RAM (SLOTS + 2 * NIC_ENTRIES * NIC_SLOT)

#define must(rc) ck_assert_msg((rc) >= 0, "%s: %s", #rc, vdb_errmsg())

static void ring_bell(void *arg)
{
	const uint64_t one = 1;

	ck_assert_int_eq(write(*(int *)arg, &one, sizeof(one)), sizeof(one));
}

static void nothing(void *arg)
{
	(void)arg;
}

static void on_failed(void *arg, uint32_t queue)
{
	(void)queue;
	((struct nic *)arg)->failed++;
}

/* With the second one the pair may go. */
static void on_gone(void *arg)
{
	struct nic *nic = arg;

	if (++nic->gone == 2)
		ck_assert(vdb__list_empty(&nic->pair->rx.batch.link));
}

static void on_link(void *arg)
{
	struct nic *nic = arg;

	vdb__store(&nic->net.down, vdb__load(&nic->netdev->down));
}

/* ---- Life ---- */

static void open_queue(struct nic *nic, unsigned way, const struct nic_config *config)
{
	struct virtq_driver *d = &nic->driver[way];
	/* A packet to be sent is two buffers, its header and its frame. */
	const struct vdb_virtq_config virtq = {
	        .size = sizeof(virtq),
	        .entries = (config->entries ? config->entries : NIC_ENTRIES) << (way == VDB__NET_TX),
	        .desc = way * RING,
	};
	struct vdb_lane_config lane = {.size = sizeof(lane), .trigger = nothing, .tenant = config->tenant};
	struct vdb_queue *queue = NULL;

	virtq_driver_open(d, &nic->ram, &virtq);
	nic->kick[way] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(nic->kick[way], 0);
	d->bell = ring_bell;
	d->bell_arg = &nic->kick[way];
	lane.kick_fd = nic->kick[way];
	lane.max_inflight = virtq.entries;
	must(vdb__virtq_create(nic->ram.mem, &d->config, &vdb__framing_plain, NULL, &queue));
	must(vdb_lane_create(nic->loop, queue, nic->pair->backends[way], &lane, &nic->lane[way]));
}

void nic_open(struct nic *nic, struct vdb_loop *loop, struct vdb_netdev *netdev,
              const struct nic_config *config)
{
	static const struct nic_config none;
	const struct vdb__netdev_user user = {.link = on_link, .arg = nic};

	if (!config)
		config = &none;
	memset(nic, 0, sizeof(*nic));
	nic->loop = loop;
	nic->netdev = netdev;
	mock_ram_open(&nic->ram, 0, RAM);
	must(vdb__netdev_attach(netdev, &user));
	on_link(nic);
	nic->net = (struct vdb__net){
	        .netdev = netdev,
	        .in_use = 1,
	        .down = nic->net.down,
	        .mergeable = config->mergeable,
	        .offloads = config->offloads,
	        .sends = config->offloads,
	        .longest = VDB_NET_HDR + (config->offloads ? 65550 : 1514),
	        .usual = VDB_NET_HDR + 1514,
	        .failed = on_failed,
	        .arg = nic,
	};
	vdb__net_filter_reset(&nic->net.filter, 0);
	if (netdev->ops.offload)
		must(netdev->ops.offload(netdev->ctx, config->offloads));
	must(vdb__net_pair_make(&nic->net, 0, &nic->pair));
	for (unsigned way = 0; way < 2; way++)
		open_queue(nic, way, config);
	test_settle(loop);
}

void nic_leave(struct nic *nic)
{
	for (unsigned way = 0; way < 2; way++)
		vdb_lane_destroy(nic->lane[way], on_gone, nic);
	nic->left = true;
}

void nic_close(struct nic *nic)
{
	if (!nic->left)
		nic_leave(nic);
	while (nic->loop && nic->gone < 2)
		test_turn(nic->loop);
	ck_assert_uint_eq(nic->gone, 2);
	vdb__net_pair_drop(nic->pair);
	vdb__netdev_detach(nic->netdev);
	for (unsigned way = 0; way < 2; way++) {
		virtq_driver_close(&nic->driver[way]);
		close(nic->kick[way]);
	}
	mock_ram_close(&nic->ram); /* aborts if anybody still uses it */
}

/* ---- Packets ---- */

void nic_frame(uint8_t *frame, uint32_t len, uint8_t to, uint8_t from, uint32_t seed)
{
	const uint8_t addresses[12] = {2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from};

	for (uint32_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(seed + i * 7);
	memcpy(frame, addresses, sizeof(addresses));
	frame[12] = 0x88; /* of local experiments */
	frame[13] = 0xb5;
}

static vdb_gpa_t slot_of(unsigned way, uint32_t slot)
{
	return SLOTS + (way * NIC_ENTRIES + slot) * (vdb_gpa_t)NIC_SLOT;
}

void nic_fill(struct nic *nic, uint32_t n, uint32_t len)
{
	for (; n; n--) {
		uint32_t slot = nic->given++ % NIC_ENTRIES;
		const struct virtq_buf buf = {slot_of(VDB__NET_RX, slot), len, true};

		ck_assert_uint_le(len, NIC_SLOT);
		nic->room[slot] = len;
		ck_assert(virtq_add(&nic->driver[VDB__NET_RX], &buf, 1, slot));
	}
	(void)virtq_publish(&nic->driver[VDB__NET_RX]);
}

void nic_send(struct nic *nic, const uint8_t *header, const void *frame, uint32_t len)
{
	struct virtq_driver *d = &nic->driver[VDB__NET_TX];
	uint32_t slot = nic->sent++ % NIC_ENTRIES;
	vdb_gpa_t at = slot_of(VDB__NET_TX, slot);
	const struct virtq_buf bufs[] = {{at, VDB_NET_HDR, false}, {at + VDB_NET_HDR, len, false}};

	ck_assert_uint_le(VDB_NET_HDR + len, NIC_SLOT);
	memset(mock_at(&nic->ram, at), 0, VDB_NET_HDR);
	if (header)
		memcpy(mock_at(&nic->ram, at), header, VDB_NET_HDR);
	memcpy(mock_at(&nic->ram, at + VDB_NET_HDR), frame, len);
	ck_assert(virtq_add(d, bufs, 2, slot));
	(void)virtq_publish(d);
}

void *nic_sent_at(struct nic *nic, uint32_t n)
{
	return mock_at(&nic->ram, slot_of(VDB__NET_TX, n) + VDB_NET_HDR);
}

uint32_t nic_reclaim(struct nic *nic)
{
	uint64_t cookie;
	uint32_t len, n = 0;

	while (virtq_reap(&nic->driver[VDB__NET_TX], &cookie, &len))
		n++;
	return n;
}

void nic_drain(struct nic *nic)
{
	nic_until(nic->loop, (nic_reclaim(nic), !nic->driver[VDB__NET_TX].outstanding));
}

uint32_t nic_take(struct nic *nic, uint8_t *packet)
{
	uint64_t slot;
	uint32_t len = 0;

	if (!virtq_reap(&nic->driver[VDB__NET_RX], &slot, &len))
		return 0;
	ck_assert_uint_le(len, nic->room[slot]);
	memcpy(packet, mock_at(&nic->ram, slot_of(VDB__NET_RX, (uint32_t)slot)), len);
	return len;
}

void nic_expect(struct nic *nic, const uint8_t *header, const void *frame, uint32_t len)
{
	static const uint8_t zeroes[VDB_NET_HDR];
	uint8_t packet[NIC_SLOT];
	uint32_t got = 0;

	nic_until(nic->loop, (got = nic_take(nic, packet)));
	ck_assert_uint_eq(got, VDB_NET_HDR + len);
	ck_assert_mem_eq(packet, header ? header : zeroes, VDB_NET_HDR - 2);
	ck_assert_mem_eq(packet + VDB_NET_HDR, frame, len);
}

void nic_expect_none(struct nic *nic)
{
	uint8_t packet[NIC_SLOT];

	test_settle(nic->loop);
	ck_assert_uint_eq(nic_take(nic, packet), 0);
}
