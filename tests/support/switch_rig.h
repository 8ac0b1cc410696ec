/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A switch with guests at its ports, at a clock that the test sets: the including test says
 * WRAP: clock_gettime timerfd_settime in its head. Guest n has the address 02:00:00:00:00:n.
 */
#ifndef SWITCH_RIG_H
#define SWITCH_RIG_H

#include "fake_clock.h"
#include "nic_rig.h"

#define SWITCH_GUESTS 4u

static struct vdb_loop *loop;
static struct vdb_switch *sw;
static struct nic guest[SWITCH_GUESTS];
static bool switch_rig_open[SWITCH_GUESTS];

static inline struct vdb_loop *switch_rig_loop(void)
{
	struct vdb_loop_config config = test_loop_config();
	struct vdb_loop *made;

	config.poll_mode = VDB_POLL_NEVER; /* its end is a time, and ours stands still */
	ck_assert_int_eq(vdb_loop_create(&config, &made), 0);
	return made;
}

static inline void switch_rig_make(struct vdb_switch_config config)
{
	config.size = sizeof(config);
	loop = switch_rig_loop();
	ck_assert_msg(vdb_switch_create(loop, &config, &sw) == 0, "%s", vdb_errmsg());
}

static inline void switch_rig_plug(uint32_t n, uint32_t flags, bool known, const struct nic_config *nic)
{
	struct vdb_switch_port_config config = {.size = sizeof(config), .flags = flags};
	struct vdb_netdev *port = NULL;

	if (known) {
		config.mac[0] = 2;
		config.mac[5] = (uint8_t)n;
	}
	ck_assert_msg(vdb_switch_port(sw, &config, &port) == 0, "%s", vdb_errmsg());
	nic_open(&guest[n], loop, port, nic);
	vdb_netdev_destroy(port);
	switch_rig_open[n] = true;
}

static inline void switch_rig_unplug(uint32_t n)
{
	if (switch_rig_open[n])
		nic_close(&guest[n]);
	switch_rig_open[n] = false;
}

/* All guests, with nothing special. */
static inline void switch_rig_up(struct vdb_switch_config config)
{
	switch_rig_make(config);
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++)
		switch_rig_plug(n, 0, false, NULL);
}

static inline void switch_rig_down(void)
{
	for (uint32_t n = 0; n < SWITCH_GUESTS; n++)
		switch_rig_unplug(n);
	vdb_switch_destroy(sw);
	test_loop_end(loop);
}

static inline struct vdb_switch_port_stats switch_rig_stats(uint32_t n)
{
	struct vdb_switch_port_stats stats = {.size = sizeof(stats)};

	ck_assert_int_eq(vdb_switch_port_stats(guest[n].netdev, &stats), 0);
	return stats;
}

static inline void switch_rig_send(uint32_t from, uint8_t to, uint8_t source, uint32_t seed)
{
	uint8_t frame[100];

	nic_frame(frame, sizeof(frame), to, source, seed);
	nic_send(&guest[from], NULL, frame, sizeof(frame));
}

static inline void switch_rig_expect(uint32_t at, uint8_t to, uint8_t source, uint32_t seed)
{
	uint8_t frame[100];

	nic_frame(frame, sizeof(frame), to, source, seed);
	nic_expect(&guest[at], NULL, frame, sizeof(frame));
}

#endif
