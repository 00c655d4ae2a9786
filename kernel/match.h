/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whose a packet is. */
#ifndef VIP_SHIM_MATCH_H
#define VIP_SHIM_MATCH_H

#include <linux/skbuff.h>

#include "state.h"

/* A packet, of which no more is read than its service asks for */
struct vip_packet {
	const struct sk_buff *skb;
	u8 pf;			/* NFPROTO_IPV4 or _IPV6 */
	u32 idle;		/* flag of services that nobody of its IP version serves */
};

#define VIP_PACKET4(skb) { skb, NFPROTO_IPV4, VIP_SHIM_F_IDLE4 }
#define VIP_PACKET6(skb) { skb, NFPROTO_IPV6, VIP_SHIM_F_IDLE6 }

/* @takes: whether the service takes the packet, or but refuses it */
struct vip_match {
	struct vip_service *service;
	const struct vip_config *config;
	bool takes;
};

bool vip_find(const struct vip_state *state, const struct vip_packet *packet,
	      struct vip_match *match);
int vip_transport(const struct vip_packet *packet, int *offset);

#endif
