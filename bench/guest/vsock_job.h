/* SPDX-License-Identifier: Apache-2.0 */
/* What guest and host know of each other without saying it. */
#ifndef BENCH_VSOCK_JOB_H
#define BENCH_VSOCK_JOB_H

#define VSOCK_JOB_PORT 1000u  /* of the host's program */
#define VSOCK_JOB_MOST 65536u /* bytes of one packet */

#endif
