/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network namespace for a test, with taps in it and what is at their other end. Needs root, or a kernel
 * that lets ordinary users have namespaces; else the program is skipped, and says why.
 */
#ifndef TESTS_NETNS_H
#define TESTS_NETNS_H

#include <stdbool.h>
#include <stdint.h>

/* Once, at the beginning of main(), before there are threads: this process's network is empty and its own
 * from now on, without IPv6, so that nothing is sent on a tap but what the test sends. 0, or 77 after a word.
 */
int netns_enter(void);

/* The present one, as an fd; and to go (back) to one that was left by another netns_enter(). */
int netns_here(void);
void netns_go(int fd);

/* A tap that stays until it is deleted; owner -1 = anybody with CAP_NET_ADMIN. */
void netns_tap(const char *name, bool multi_queue, int owner);
void netns_delete(const char *name);

/* An open queue of a tap, as embedders pass them; flags: IFF_VNET_HDR and so on. */
int netns_queue(const char *name, short flags);

void netns_up(const char *name, bool up);
/* Its address, such as 192.0.2.1, with 24 bits of network; and its Ethernet address. */
void netns_address(const char *name, const char *address);
void netns_mac(const char *name, uint8_t mac[6]);
void netns_mtu(const char *name, uint32_t mtu);
/* 0: there is none. */
uint32_t netns_index(const char *name);
bool netns_is_up(const char *name);

/* A packet socket on the interface: what the guest sends is read here, what is sent here the guest receives.
 * `vnet`: with a struct virtio_net_hdr (10 bytes) in front. Non-blocking. */
int netns_packets(const char *name, bool vnet);

/* The calling process gives up CAP_NET_ADMIN. */
void netns_drop_admin(void);

#endif
