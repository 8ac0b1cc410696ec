/* SPDX-License-Identifier: Apache-2.0 */
/* A netdev of one's own: a network of one host, which answers ARP and ping. */
#ifndef ECHO_H
#define ECHO_H

#include <stdint.h>
#include <vdb/netdev.h>

/* The host has this address, and 02:00:00:00:00:01 on the wire. Goes with the device that has it, and with
 * the caller's vdb_netdev_destroy(). */
int echo_create(const uint8_t ip[4], struct vdb_netdev **out);

#endif
