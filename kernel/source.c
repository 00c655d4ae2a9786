// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Validates sources of IPv4 packets, as the kernel's routing would, which is skipped:
 * fib_validate_source() in net/ipv4/fib_frontend.c, which is not exported. Linux does
 * not validate sources of IPv6 packets.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/inetdevice.h>
#include <linux/in.h>
#include <net/ip.h>
#include <net/ip_fib.h>
#include <net/l3mdev.h>
#include <net/xfrm.h>

#include "compat.h"
#include "hook.h"
#include "own.h"
#include "source.h"

static bool vip_is_martian(__be32 source, const struct net *net,
			   struct in_device *in_dev)
{
	if (ipv4_is_multicast(source) || ipv4_is_lbcast(source) ||
	    ipv4_is_zeronet(source))
		return true;
	return ipv4_is_loopback(source) && !IN_DEV_NET_ROUTE_LOCALNET(in_dev, net);
}

/* The ports of a packet, where rules look at them */
static noinline void vip_dissect(struct sk_buff *skb, const struct nf_hook_state *state,
				 struct flowi4 *flow)
{
	struct flow_keys keys;

	if (fib4_rules_early_flow_dissect(state->net, skb, flow, &keys))
		swap(flow->fl4_sport, flow->fl4_dport);
}

/* Looks the source up, as __fib_validate_source() does */
static noinline int vip_source_look_up(struct sk_buff *skb,
				       const struct nf_hook_state *state,
				       struct in_device *in_dev, int strictness)
{
	const struct iphdr *iph = ip_hdr(skb);
	struct fib_result found;
	struct flowi4 flow = {
		.daddr = iph->saddr,
		.saddr = iph->daddr,
		.flowi4_l3mdev = l3mdev_master_ifindex_rcu(state->in),
		.flowi4_iif = LOOPBACK_IFINDEX,
		.flowi4_uid = sock_net_uid(state->net, NULL),
		.flowi4_mark = IN_DEV_SRC_VMARK(in_dev) ? skb->mark : 0,
	};

	vip_flow_set_tos(&flow, iph->tos);
	if (state->net->ipv4.fib_rules_require_fldissect)
		vip_dissect(skb, state, &flow);
	if (fib_lookup(state->net, &flow, &found, 0))
		return strictness ? -EXDEV : 0;
	if (found.type != RTN_UNICAST &&
	    !(found.type == RTN_LOCAL && IN_DEV_ACCEPT_LOCAL(in_dev)))
		return -EINVAL;
	if (!strictness || fib_info_nh_uses_dev(found.fi, state->in))
		return 0;
	return strictness == 2 && rcu_access_pointer(in_dev->ifa_list) ? 0 : -EXDEV;
}

/*
 * Whether nobody has added rules or local routes. Then the addresses alone tell which
 * sources are local, as in fib_validate_source().
 */
static bool vip_own_is_enough(const struct vip_net *vn)
{
	const struct net *net = vn->net;

	return READ_ONCE(vn->own.known) && !fib4_has_custom_rules(net) &&
	       !net->ipv4.fib_has_custom_local_routes;
}

/* -EXDEV if rp_filter refuses the source, -EINVAL if no source can be that address */
static int vip_source_check(const struct vip_net *vn, struct sk_buff *skb,
			    const struct nf_hook_state *state,
			    struct in_device *in_dev)
{
	__be32 source = ip_hdr(skb)->saddr;
	int strictness;

	if (vip_is_martian(source, vn->net, in_dev))
		return -EINVAL;
	strictness = secpath_exists(skb) ? 0 : IN_DEV_RPFILTER(in_dev);
	if (!strictness && IN_DEV_ACCEPT_LOCAL(in_dev))
		return 0;
	if (!strictness && vip_own_is_enough(vn))
		return vip_is_own(&vn->own, source) ? -EINVAL : 0;
	return vip_source_look_up(skb, state, in_dev, strictness);
}

/* Counts and logs a refused source as routing would */
static noinline void vip_source_tell(const struct sk_buff *skb,
				     const struct nf_hook_state *state,
				     struct in_device *in_dev, int err)
{
	const struct iphdr *iph = ip_hdr(skb);

	if (err == -EXDEV)
		NET_INC_STATS(state->net, LINUX_MIB_IPRPFILTER);
	if (IN_DEV_LOG_MARTIANS(in_dev) && net_ratelimit())
		pr_warn("martian source %pI4 from %pI4, on dev %s\n", &iph->daddr,
			&iph->saddr, state->in->name);
}

/**
 * vip_source_is_valid - whether routing would accept a packet for its source
 * @vn:		of the namespace
 * @skb:	the packet
 * @state:	of PREROUTING
 *
 * The source must not be the host's own, and have a route if rp_filter says
 * so, in strict mode by the device that the packet has come by. Broadcast
 * addresses are refused with rp_filter 0 too, where the kernel lets them pass.
 */
bool vip_source_is_valid(const struct vip_net *vn, struct sk_buff *skb,
			 const struct nf_hook_state *state)
{
	struct in_device *in_dev = __in_dev_get_rcu(state->in);
	int err;

	if (!in_dev)
		return false;
	err = vip_source_check(vn, skb, state, in_dev);
	if (err)
		vip_source_tell(skb, state, in_dev, err);
	return !err;
}
