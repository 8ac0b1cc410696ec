/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps for benchmarks, in a network namespace that this process is alone in and that ends with it: nothing of
 * the host's network is touched, and nothing stays behind. What cannot be done ends the program: skipped
 * where rights or devices are missing.
 */
#ifndef BENCH_TAP_H
#define BENCH_TAP_H

#include <stdint.h>

#define TAP_QUEUE 20000u /* frames that a tap holds for its reader */

/* The calling thread, and the threads and processes that it starts from now on, are in a namespace of their
 * own. */
void tap_namespace(void);

/* A tap, up, whose frames have a virtio_net_hdr; it stays until the namespace ends. `mac`: the last byte of
 * its MAC, see guest/net_frames.h. */
void tap_make(const char *name, uint8_t mac);

/* NET_IP_HOST is its address, and NET_GUEST_0 has NET_IP_GUEST. */
void tap_address(const char *name);

/* A bridge, up, with two ports. */
void tap_bridge(const char *name, const char *port1, const char *port2);

/* Frames that came out of the guest, that is: that the host received. */
uint64_t tap_received(const char *name);

/* Frames for the guest that the tap had no room for. */
uint64_t tap_dropped(const char *name);

unsigned tap_index(const char *name);

#endif
