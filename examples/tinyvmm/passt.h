/* SPDX-License-Identifier: Apache-2.0 */
/* passt, the guest's way to the network of an ordinary user: a program that speaks Ethernet on a socket. */
#ifndef TINYVMM_PASST_H
#define TINYVMM_PASST_H

#include <stdint.h>

/*
 * Starts it, and waits until it serves: it goes into the background then, and ends when the socket is closed,
 * so with this process at the latest. `id` is for messages; mtu 0: passt's own, which the guest learns by
 * DHCP. The socket, or -1 after a complaint.
 */
int passt_start(const char *id, uint32_t mtu);

#endif
