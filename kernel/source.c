// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sources of IPv4 packets, validated as the routing would that is spared:
 * fib_validate_source() in net/ipv4/fib_frontend.c, which is not exported.
 * Linux validates no sources of IPv6 packets.
 */

#include <linux/inetdevice.h>
#include <linux/in.h>
#include <net/ip_fib.h>
#include <net/l3mdev.h>
#include <net/xfrm.h>

#include "compat.h"
#include "source.h"

static bool vip_is_martian(__be32 source, const struct net *net,
			   struct in_device *in_dev)
{
	if (ipv4_is_multicast(source) || ipv4_is_lbcast(source) ||
	    ipv4_is_zeronet(source))
		return true;
	return ipv4_is_loopback(source) && !IN_DEV_NET_ROUTE_LOCALNET(in_dev, net);
}

static void vip_reverse(struct sk_buff *skb, const struct nf_hook_state *state,
			struct in_device *in_dev, struct flowi4 *flow)
{
	const struct iphdr *iph = ip_hdr(skb);
	struct flow_keys keys;

	memset(flow, 0, sizeof(*flow));
	flow->daddr = iph->saddr;
	flow->saddr = iph->daddr;
	flow->flowi4_l3mdev = l3mdev_master_ifindex_rcu(state->in);
	flow->flowi4_iif = LOOPBACK_IFINDEX;
	flow->flowi4_tos = vip_route_tos(iph);
	flow->flowi4_uid = sock_net_uid(state->net, NULL);
	flow->flowi4_mark = IN_DEV_SRC_VMARK(in_dev) ? skb->mark : 0;
	if (!fib4_rules_early_flow_dissect(state->net, skb, flow, &keys))
		return;
	swap(flow->fl4_sport, flow->fl4_dport);
}

/**
 * vip_source_is_valid - whether routing would accept a packet for its source
 * @skb:	the packet
 * @state:	of PREROUTING
 *
 * The source must not be the host's own, and have a route if rp_filter says
 * so, in strict mode by the device that the packet has come by.
 */
bool vip_source_is_valid(struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct in_device *in_dev = __in_dev_get_rcu(state->in);
	struct fib_result found;
	struct flowi4 flow;
	int strictness;

	if (!in_dev || vip_is_martian(ip_hdr(skb)->saddr, state->net, in_dev))
		return false;
	strictness = secpath_exists(skb) ? 0 : IN_DEV_RPFILTER(in_dev);
	vip_reverse(skb, state, in_dev, &flow);
	if (fib_lookup(state->net, &flow, &found, 0))
		return !strictness;
	if (found.type != RTN_UNICAST &&
	    !(found.type == RTN_LOCAL && IN_DEV_ACCEPT_LOCAL(in_dev)))
		return false;
	if (!strictness || fib_info_nh_uses_dev(found.fi, state->in))
		return true;
	return strictness == 2 && rcu_access_pointer(in_dev->ifa_list);
}
