/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses. Each port has so many entries of its own, and no more: a guest that sends from ever new
 * addresses makes the switch forget its own ones.
 */
#include "base/atomic.h"
#include "net/switch.h"

#define SECOND 1000000000ull

uint64_t vdb__switch_mac(const uint8_t bytes[6])
{
	uint64_t mac = 0;

	for (unsigned i = 6; i-- > 0;)
		mac = mac << 8 | bytes[i];
	return mac;
}

static struct vdb__mac **bucket_of(const struct vdb_switch *sw, uint64_t mac)
{
	return &sw->buckets[(mac * sw->key) >> (64 - sw->bits)];
}

static struct vdb__mac *look_up(const struct vdb_switch *sw, uint64_t mac)
{
	struct vdb__mac *entry = *bucket_of(sw, mac);

	while (entry && entry->mac != mac)
		entry = entry->next;
	return entry;
}

static void insert(struct vdb__mac *entry, struct vdb__port *port, uint64_t mac)
{
	struct vdb__mac **bucket = bucket_of(port->sw, mac);

	entry->port = port;
	entry->mac = mac;
	entry->seen = port->sw->now;
	entry->next = *bucket;
	*bucket = entry;
	vdb__count(&port->stats.macs, 1u);
}

static void drop(struct vdb__mac *entry)
{
	struct vdb__mac **at = bucket_of(entry->port->sw, entry->mac);

	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	entry->mac = 0;
	entry->fixed = false;
	vdb__store(&entry->port->stats.macs, entry->port->stats.macs - 1);
}

static bool is_old(const struct vdb_switch *sw, const struct vdb__mac *entry)
{
	return !entry->fixed && sw->now - entry->seen >= sw->config.age_s * SECOND;
}

/* A free entry of the port's, or its oldest. NULL: all are fixed. */
static struct vdb__mac *entry_for(struct vdb__port *port)
{
	struct vdb__mac *oldest = NULL;

	for (uint32_t i = 0; i < port->config.macs; i++) {
		struct vdb__mac *entry = &port->macs[i];

		if (!entry->mac)
			return entry;
		if (!entry->fixed && (!oldest || entry->seen < oldest->seen))
			oldest = entry;
	}
	if (oldest)
		drop(oldest);
	return oldest;
}

/* It is that of a port whose guest is away at the moment. */
static bool is_reserved(struct vdb_switch *sw, const struct vdb__port *port, uint64_t mac)
{
	bool found = false;

	pthread_mutex_lock(&sw->lock);
	for (uint32_t i = 0; i < sw->config.ports && !found; i++) {
		const struct vdb__port *other = sw->ports[i];

		found = other && other != port && vdb__switch_mac(other->config.mac) == mac;
	}
	pthread_mutex_unlock(&sw->lock);
	return found;
}

bool vdb__switch_learn(struct vdb__port *port, uint64_t mac)
{
	struct vdb__mac *entry = look_up(port->sw, mac);

	if (entry && entry->port == port) {
		entry->seen = port->sw->now;
		return true;
	}
	if (entry && entry->fixed)
		return false;
	if (entry)
		drop(entry); /* it has moved */
	else if (is_reserved(port->sw, port, mac))
		return false;
	entry = entry_for(port);
	if (entry)
		insert(entry, port, mac);
	return true;
}

void vdb__switch_fix(struct vdb__port *port, uint64_t mac)
{
	struct vdb__mac *entry = look_up(port->sw, mac);

	if (entry)
		drop(entry);
	entry = entry_for(port);
	insert(entry, port, mac);
	entry->fixed = true;
}

void vdb__switch_forget(struct vdb__port *port)
{
	for (uint32_t i = 0; i < port->config.macs; i++) {
		if (port->macs[i].mac)
			drop(&port->macs[i]);
	}
}

struct vdb__port *vdb__switch_find(struct vdb_switch *sw, uint64_t mac)
{
	struct vdb__mac *entry = look_up(sw, mac);

	if (entry && is_old(sw, entry)) {
		drop(entry);
		entry = NULL;
	}
	return entry ? entry->port : NULL;
}
