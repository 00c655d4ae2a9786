// SPDX-License-Identifier: GPL-2.0-or-later
/* The hooks of a namespace that accepts packets, and the routes that these get. */

#include <linux/inetdevice.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/ip6_route.h>
#include <net/netfilter/ipv4/nf_defrag_ipv4.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>
#include <net/route.h>

#include "divert.h"
#include "hook.h"
#include "leftover.h"

/*
 * The routes lack RTCF_LOCAL. With it, ICMP errors about a packet would have the
 * packet's destination, the VIP, as source, and would not be sent, as that is not in
 * table local. Without it they have an address of the host.
 */

/*
 * Behind mangle, where others set marks, and behind NAT, which may change the
 * destination: to a VIP, or from one to the host whose source it had translated
 */
#define VIP_PRIORITY_DIVERT	(NF_IP_PRI_NAT_DST + 10)
/* Before IPVS, which has NF_IP_PRI_NAT_DST + 1 and + 2 there */
#define VIP_PRIORITY_SENT	NF_IP_PRI_MANGLE
/* Behind IPVS, which has NF_IP_PRI_NAT_SRC - 2 and - 1 */
#define VIP_PRIORITY_LEFT_OVER	NF_IP_PRI_NAT_SRC

#define VIP_HOOK(function, family, at, order) { \
	.hook = function, \
	.pf = family, \
	.hooknum = at, \
	.priority = order, \
}

static const struct nf_hook_ops vip_hooks[VIP_HOOKS] = {
	VIP_HOOK(vip_prerouting4, NFPROTO_IPV4, NF_INET_PRE_ROUTING, VIP_PRIORITY_DIVERT),
	VIP_HOOK(vip_output4, NFPROTO_IPV4, NF_INET_LOCAL_OUT, VIP_PRIORITY_SENT),
	VIP_HOOK(vip_left_over4, NFPROTO_IPV4, NF_INET_LOCAL_IN, VIP_PRIORITY_LEFT_OVER),
	VIP_HOOK(vip_prerouting6, NFPROTO_IPV6, NF_INET_PRE_ROUTING, VIP_PRIORITY_DIVERT),
	VIP_HOOK(vip_output6, NFPROTO_IPV6, NF_INET_LOCAL_OUT, VIP_PRIORITY_SENT),
	VIP_HOOK(vip_left_over6, NFPROTO_IPV6, NF_INET_LOCAL_IN, VIP_PRIORITY_LEFT_OVER),
};

/* With ipv6.disable=1 the hooks of IPv6 cannot be registered: only the first half is */
static unsigned int vip_hooks_count(void)
{
	return ipv6_mod_enabled() ? VIP_HOOKS : VIP_HOOKS / 2;
}

/* An input route to this host, without RTCF_LOCAL: see above */
static struct rtable *vip_route4(struct net *net)
{
	struct rtable *route;

	route = rt_dst_alloc(net->loopback_dev, RTCF_LOCAL, RTN_LOCAL, true);
	if (!route)
		return NULL;
	route->dst.input = ip_local_deliver;
	route->rt_is_input = 1;
	route->rt_flags &= ~RTCF_LOCAL;
	return route;
}

/*
 * ICMPv6 asks the host for its addresses, not the route. TCP asks the route before it
 * takes a SYN: of a packet for a VIP that IPVS has readdressed to this host, too.
 */
static struct rt6_info *vip_route6(struct net *net)
{
	struct rt6_info *route = ip6_dst_alloc(net, net->loopback_dev, DST_NOPOLICY);

	if (!route)
		return NULL;
	route->dst.input = ip6_input;
	route->rt6i_flags |= RTF_LOCAL;
	route->rt6i_idev = in6_dev_get(net->loopback_dev);
	return route;
}

static int vip_routes_new(struct vip_net *vn)
{
	vn->route4 = vip_route4(vn->net);
	if (!vn->route4)
		return -ENOMEM;
	if (!ipv6_mod_enabled())
		return 0;
	vn->route6 = vip_route6(vn->net);
	return vn->route6 ? 0 : -ENOMEM;
}

static void vip_routes_free(struct vip_net *vn)
{
	if (vn->route4) {
		dst_dev_put(&vn->route4->dst);
		dst_release(&vn->route4->dst);
	}
	if (vn->route6) {
		dst_dev_put(&vn->route6->dst);
		dst_release(&vn->route6->dst);
	}
	vn->route4 = NULL;
	vn->route6 = NULL;
}

/**
 * vip_hook_start - make a namespace accept, if it does not yet
 * @vn:		whose lock is held
 * @extack:	for the reason of a failure
 */
int vip_hook_start(struct vip_net *vn, struct netlink_ext_ack *extack)
{
	unsigned int i;
	int err;

	lockdep_assert_held(&vn->lock);
	if (vn->hooked)
		return 0;
	err = vip_routes_new(vn);
	if (err)
		goto free_routes;
	err = vip_own_start(vn);
	if (err)
		goto free_routes;
	for (i = 0; i < ARRAY_SIZE(vip_hooks); i++) {
		vn->hooks[i] = vip_hooks[i];
		vn->hooks[i].priv = vn;
	}
	err = nf_register_net_hooks(vn->net, vn->hooks, vip_hooks_count());
	if (err) {
		NL_SET_ERR_MSG(extack, "the netfilter hooks cannot be registered");
		goto stop_own;
	}
	vn->hooked = true;
	return 0;

stop_own:
	vip_own_stop(vn);
free_routes:
	vip_routes_free(vn);
	return err;
}

/**
 * vip_hook_stop - make a namespace accept nothing any more
 * @vn:		whose lock is held; it has no state any more
 *
 * No reader is in the hooks when this returns.
 */
void vip_hook_stop(struct vip_net *vn)
{
	lockdep_assert_held(&vn->lock);
	if (!vn->hooked)
		return;
	/* No accepted packet may be on its way when LOCAL_IN is no longer guarded */
	synchronize_rcu();
	nf_unregister_net_hooks(vn->net, vn->hooks, vip_hooks_count());
	synchronize_rcu();
	vip_own_stop(vn);
	vip_routes_free(vn);
	vn->hooked = false;
}

/**
 * vip_hook_defrag - have fragments reassembled before they are looked at
 * @vn:		whose lock is held
 */
int vip_hook_defrag(struct vip_net *vn)
{
	int err;

	lockdep_assert_held(&vn->lock);
	if (vn->defrags)
		return 0;
	err = nf_defrag_ipv4_enable(vn->net);
	if (err)
		return err;
	err = nf_defrag_ipv6_enable(vn->net);
	if (err) {
		nf_defrag_ipv4_disable(vn->net);
		return err;
	}
	vn->defrags = true;
	return 0;
}

/**
 * vip_hook_defrag_end - have them no longer reassembled
 * @vn:		whose lock is held
 */
void vip_hook_defrag_end(struct vip_net *vn)
{
	lockdep_assert_held(&vn->lock);
	if (!vn->defrags)
		return;
	nf_defrag_ipv6_disable(vn->net);
	nf_defrag_ipv4_disable(vn->net);
	vn->defrags = false;
}
