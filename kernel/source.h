/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sources of IPv4 packets. */
#ifndef VIP_SHIM_SOURCE_H
#define VIP_SHIM_SOURCE_H

#include <linux/netfilter.h>

struct vip_net;

bool vip_source_is_valid(const struct vip_net *vn, struct sk_buff *skb,
			 const struct nf_hook_state *state);

#endif
