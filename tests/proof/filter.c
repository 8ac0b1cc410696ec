/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCES: lib/net/filter.c */
/* EVA: -cpp-extra-args=-DOWN_WORDS */
/* BROKEN: no_vlan_mask lib/net/filter.c s/ & (VDB__NET_VLANS - 1)// */
/* BROKEN: no_macs lib/net/filter.c s/i < count; i++) {/i <= count; i++) {/ */
/*
 * Whether a guest wants a packet, whatever that begins with, and whatever control.c has made of the filter.
 */
#include "net/filter.h"

static struct vdb__net_filter filter;

static void any_macs(struct vdb__net_macs *macs)
{
	Frama_C_make_unknown((char *)macs->mac, sizeof(macs->mac));
	macs->count = Frama_C_unsigned_int_interval(0, VDB__NET_MACS);
}

int main(void)
{
	uint8_t frame[16];

	Frama_C_make_unknown((char *)frame, sizeof(frame));
	any_macs(&filter.uni);
	any_macs(&filter.multi);
	Frama_C_make_unknown((char *)filter.vlans, sizeof(filter.vlans));
	filter.modes = any;
	filter.mac = any;
	if (vdb__net_filter_takes(&filter, frame))
		REACHED(taken);
	else
		REACHED(left);
	return 0;
}
