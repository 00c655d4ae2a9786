/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Refusing what IPVS did not take: the hooks at LOCAL_IN. */
#ifndef VIP_SHIM_LEFTOVER_H
#define VIP_SHIM_LEFTOVER_H

#include <linux/netfilter.h>

unsigned int vip_left_over4(void *priv, struct sk_buff *skb,
			    const struct nf_hook_state *state);
unsigned int vip_left_over6(void *priv, struct sk_buff *skb,
			    const struct nf_hook_state *state);

#endif
