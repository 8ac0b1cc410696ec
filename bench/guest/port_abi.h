/* SPDX-License-Identifier: Apache-2.0 */
/* How a guest talks where there is nothing but ports: text by the one, its end by the other. QEMU has them
 * as isa-debugcon and isa-debug-exit. */
#ifndef BENCH_PORT_ABI_H
#define BENCH_PORT_ABI_H

#define PORT_TEXT 0xe9u
#define PORT_END 0xf4u

#endif
