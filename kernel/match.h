/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which service a packet is for. */
#ifndef VIP_SHIM_MATCH_H
#define VIP_SHIM_MATCH_H

#include <linux/skbuff.h>

#include "state.h"

/* A packet; its ports are read only if the service needs them */
struct vip_packet {
	const struct sk_buff *skb;
	u8 pf;			/* NFPROTO_IPV4 or _IPV6 */
	u32 idle;		/* VIP_SHIM_F_IDLE4 or _IDLE6, by its IP version */
};

#define VIP_PACKET4(skb) { skb, NFPROTO_IPV4, VIP_SHIM_F_IDLE4 }
#define VIP_PACKET6(skb) { skb, NFPROTO_IPV6, VIP_SHIM_F_IDLE6 }

/* @takes: whether the service takes the packet; if not, it is to be refused */
struct vip_match {
	struct vip_service *service;
	const struct vip_config *config;
	bool takes;
};

bool vip_find(const struct vip_state *state, const struct vip_packet *packet,
	      struct vip_match *match);
int vip_transport(const struct vip_packet *packet, int *offset);
bool vip_is_dropped(const struct vip_state *state, const struct vip_packet *packet,
		    const struct vip_match *match);

#endif
