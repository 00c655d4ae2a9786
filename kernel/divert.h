/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accepting packets for VIPs: the hooks at PREROUTING and LOCAL_OUT. */
#ifndef VIP_SHIM_DIVERT_H
#define VIP_SHIM_DIVERT_H

#include <linux/netfilter.h>

unsigned int vip_prerouting4(void *priv, struct sk_buff *skb,
			     const struct nf_hook_state *state);
unsigned int vip_prerouting6(void *priv, struct sk_buff *skb,
			     const struct nf_hook_state *state);
unsigned int vip_output4(void *priv, struct sk_buff *skb,
			 const struct nf_hook_state *state);
unsigned int vip_output6(void *priv, struct sk_buff *skb,
			 const struct nf_hook_state *state);

#endif
