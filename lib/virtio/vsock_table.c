/* SPDX-License-Identifier: Apache-2.0 */
/* Connections by their pair of ports: a hash with a secret multiplier, so that nobody can choose
 * ports that all fall into one slot. */
#include <stdlib.h>
#include <sys/random.h>

#include "base/error.h"
#include "virtio/vsock.h"

static struct vdb__vconn **slot_of(const struct vdb__vsock *v, uint32_t host_port, uint32_t guest_port)
{
	uint64_t key = (uint64_t)host_port << 32 | guest_port;

	/* The upper half of a product depends on all of the number; two, since one keeps differences. */
	key = (key ^ key >> 32) * v->table_key;
	key = (key ^ key >> 29) * v->table_key;
	return &v->table[key >> (64 - v->table_bits)];
}

int vdb__vsock_table_init(struct vdb__vsock *v)
{
	unsigned bits = 4;

	while (1u << bits < v->config.max_connections)
		bits++;
	v->table = calloc((size_t)1 << bits, sizeof(*v->table));
	if (!v->table)
		return vdb__fail(ENOMEM, "vsock: no memory for a table of %u connections", 1u << bits);
	v->table_bits = bits;
	if (getrandom(&v->table_key, sizeof(v->table_key), GRND_NONBLOCK) != sizeof(v->table_key))
		v->table_key = vdb__vsock_now() * 0x9e3779b97f4a7c15u; /* the host has only just booted */
	v->table_key |= 1;
	return 0;
}

struct vdb__vconn *vdb__vsock_find(const struct vdb__vsock *v, uint32_t host_port, uint32_t guest_port)
{
	struct vdb__vconn *c = *slot_of(v, host_port, guest_port);

	while (c && (c->host_port != host_port || c->guest_port != guest_port))
		c = c->chain;
	return c;
}

void vdb__vconn_enter(struct vdb__vconn *c)
{
	struct vdb__vconn **slot = slot_of(c->vsock, c->host_port, c->guest_port);

	c->chain = *slot;
	*slot = c;
}

void vdb__vconn_leave(struct vdb__vconn *c)
{
	struct vdb__vconn **at = slot_of(c->vsock, c->host_port, c->guest_port);

	while (*at && *at != c)
		at = &(*at)->chain;
	if (*at)
		*at = c->chain;
	c->chain = NULL;
}

/* There are more ports than connections. */
uint32_t vdb__vsock_free_port(struct vdb__vsock *v, uint32_t guest_port)
{
	do {
		if (v->next_port < VDB__VSOCK_PORTS || v->next_port == VDB__VSOCK_ANY_PORT)
			v->next_port = VDB__VSOCK_PORTS;
	} while (vdb__vsock_find(v, v->next_port++, guest_port));
	return v->next_port - 1;
}
