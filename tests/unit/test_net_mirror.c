/* SPDX-License-Identifier: Apache-2.0 */
/* ENGINES */
/* LABELS: tsan */
/* An embedder's netdev, of docs/embedding.md: a mirror, that gives the guest what it sends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ready_rig.h"
#include "run.h"
#include "virtio/net.h"

#define WAIT 64u

struct mirror {
	struct vdb_net_pair *pair;
	struct vdb_req *wait[WAIT]; /* for room in the guest, the first one first */
	uint32_t nwait;
};

static int send_back(struct mirror *m, const struct vdb_req *packet)
{
	return vdb_net_put(m->pair, packet->iov, packet->niov, (uint32_t)packet->readable);
}

static int transmit(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct mirror *m = ctx;
	int err = m->nwait ? -EAGAIN : send_back(m, packet);

	(void)index;
	if (err != -EAGAIN)
		return err ? err : VDB_REQ_DONE;
	if (m->nwait == WAIT)
		return -ENOBUFS;
	m->wait[m->nwait++] = packet;
	vdb_net_wake(m->pair, m->nwait);
	return VDB_REQ_PENDING;
}

static void receive(void *ctx, uint32_t index)
{
	struct mirror *m = ctx;
	uint32_t n = 0;
	int err = 0;

	(void)index;
	while (n < m->nwait && (err = send_back(m, m->wait[n])) != -EAGAIN)
		vdb_net_sent(m->pair, m->wait[n++], err);
	m->nwait -= n;
	memmove(m->wait, m->wait + n, m->nwait * sizeof(m->wait[0]));
	vdb_net_wake(m->pair, m->nwait);
}

static void cancel(void *ctx, uint32_t index, struct vdb_req *packet)
{
	struct mirror *m = ctx;
	uint32_t i = 0;

	(void)index;
	while (m->wait[i] != packet)
		i++;
	memmove(m->wait + i, m->wait + i + 1, (--m->nwait - i) * sizeof(m->wait[0]));
	vdb_net_sent(m->pair, packet, -ECANCELED);
}

static int open_pair(void *ctx, uint32_t index, struct vdb_net_pair *pair, struct vdb_loop *loop)
{
	(void)index, (void)loop;
	((struct mirror *)ctx)->pair = pair;
	return 0;
}

static void close_pair(void *ctx, uint32_t index)
{
	(void)index;
	((struct mirror *)ctx)->pair = NULL;
}

static int mirror_create(struct vdb_netdev **out)
{
	static const struct vdb_netdev_ops ops = {
	        .size = sizeof(ops),
	        .name = "mirror",
	        .open = open_pair,
	        .close = close_pair,
	        .transmit = transmit,
	        .cancel = cancel,
	        .receive = receive,
	        .destroy = free,
	};
	const struct vdb_netdev_info info = {.size = sizeof(info), .pairs = 1};
	struct mirror *m = calloc(1, sizeof(*m));
	int err = m ? vdb_netdev_create(&ops, m, &info, out) : -ENOMEM;

	if (err)
		free(m);
	return err;
}

static struct virtio_rig rig;

static void make_device(void)
{
	struct vdb_virtio_config at = ready_rig_open(&rig);
	struct vdb_net_config config = {.size = sizeof(config), .mac = {2, 0, 0, 0, 0, 1}};
	struct vdb_virtio *device = NULL;
	int err = mirror_create(&config.netdev);

	if (!err)
		err = vdb_net_create(&at, &config, &device);
	vdb_netdev_destroy(config.netdev);
	ck_assert_msg(err == 0, "%s", vdb_errmsg());
	ready_rig_adopt(&rig, device);
	virtio_rig_up(&rig, VRIG_BIT(VIRTIO_NET_F_MRG_RXBUF), 3);
}

static void give(uint32_t queue, uint32_t at, uint32_t len, uint64_t cookie)
{
	const struct virtq_buf buf = {.gpa = ready_rig_data(queue, at), .len = len, .write = queue == 0};

	ck_assert(virtq_add(&rig.driver[queue], &buf, 1, cookie));
	(void)virtq_publish(&rig.driver[queue]);
}

/* With room that is there already, and with room that comes later. */
START_TEST(the_guest_sees_itself)
{
	uint8_t *sent, *got;
	uint32_t len = 0;

	make_device();
	sent = mock_at(&rig.ram, ready_rig_data(1, 0));
	got = mock_at(&rig.ram, ready_rig_data(0, 0));
	for (uint32_t i = 0; i < 100; i++)
		sent[i] = (uint8_t)(i < VDB_NET_HDR ? 0 : i);
	for (uint32_t i = 0; i < 20; i++) {
		if (i % 2)
			give(0, 0, 1600, i);
		give(1, 0, 100, i);
		if (i % 2 == 0)
			give(0, 0, 1600, i);
		ck_assert_uint_eq(ready_rig_reap(&rig, 0, &len), i);
		ck_assert_uint_eq(len, 100);
		ck_assert_mem_eq(got + VDB_NET_HDR, sent + VDB_NET_HDR, 100 - VDB_NET_HDR);
		ck_assert_uint_eq(ready_rig_reap(&rig, 1, &len), i);
	}
	virtio_rig_close(&rig);
}
END_TEST

START_TEST(what_waits_is_given_up)
{
	make_device();
	for (uint32_t i = 0; i < 5; i++)
		give(1, 0, 100, i);
	virtio_rig_reset(&rig);
	virtio_rig_close(&rig);
}
END_TEST

int main(void)
{
	TCase *tc = tcase_create("net_mirror");

	tcase_add_test(tc, the_guest_sees_itself);
	tcase_add_test(tc, what_waits_is_given_up);
	return test_run("net_mirror", tc);
}
