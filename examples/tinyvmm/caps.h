/* SPDX-License-Identifier: Apache-2.0 */
/* What the VM may have besides its rates, --caps; and where lines go that its guest causes. */
#ifndef TINYVMM_CAPS_H
#define TINYVMM_CAPS_H

#include <vdb/caps.h>

struct run;

/* Which of tinyvmm's lines a guest causes: each has its own share of the cap. */
enum {
	SAYS_BROKEN, /* a queue was stopped */
};

/* KEY=VALUE with commas between. 0, or -1 after a complaint. */
int caps_parse(struct vdb_caps *caps, const char *text);

/* Of a tenant of the VM's that is new. 0, or -errno with vdb_errmsg(). */
int caps_give(const struct run *run, struct vdb_tenant *tenant);

/* What the VM has done on all its loops. */
struct vdb_tenant_stats caps_account(const struct run *run);

#endif
