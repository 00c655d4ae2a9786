// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The data path: PREROUTING gives a packet for a VIP its service's mark and a
 * route to the host, which spares it the routing's lookup. As the routing does
 * not validate its source then, that is done here.
 */

#include <linux/inetdevice.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/dst_metadata.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/netfilter/ipv4/nf_defrag_ipv4.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>
#include <net/route.h>

#include "hook.h"
#include "leftover.h"
#include "lookup.h"
#include "match.h"
#include "source.h"

/*
 * ICMP errors that the host sends about a packet have its destination as their
 * source if its route is RTCF_LOCAL, and are then not sent, because that source
 * is not in table local. Without the flag the host's own address is used.
 */

/* Behind mangle, where others set marks; before NAT */
#define VIP_PRIORITY_DIVERT	(NF_IP_PRI_MANGLE + 10)
/* Behind IPVS, which has NF_IP_PRI_NAT_SRC - 2 and - 1 */
#define VIP_PRIORITY_LEFT_OVER	NF_IP_PRI_NAT_SRC

static __always_inline void vip_accept(struct sk_buff *skb,
				       const struct vip_service *service,
				       struct dst_entry *route)
{
	if (service) {
		skb->mark = service->mark;
		vip_count(service, VIP_ACCEPTED);
	}
	skb_dst_drop(skb);
	skb_dst_set_noref(skb, route);
}

/* A bridge, by br_netfilter, would not keep the route */
static __always_inline bool vip_is_for_host(const struct sk_buff *skb)
{
	return skb->pkt_type == PACKET_HOST && !skb_valid_dst(skb) &&
	       !nf_bridge_info_exists(skb);
}

/*
 * A packet of which more than its address has to be looked at, or that the
 * first plane has nothing for. What nobody takes is diverted as well: LOCAL_IN
 * refuses it.
 */
static noinline bool vip_divert_examined(const struct vip_net *vn, struct sk_buff *skb,
					 const struct nf_hook_state *state,
					 const struct vip_state *vips,
					 const struct vip_packet *packet,
					 struct dst_entry *route)
{
	struct vip_match match;

	if (!vip_find(vips, packet, &match))
		return true;
	if (packet->pf == NFPROTO_IPV4 && !vip_source_is_valid(vn, skb, state)) {
		vip_count(match.service, VIP_REFUSED);
		return false;
	}
	vip_accept(skb, match.takes ? match.service : NULL, route);
	return true;
}

static noinline unsigned int vip_divert4_examined(const struct vip_net *vn,
						  struct sk_buff *skb,
						  const struct nf_hook_state *state,
						  const struct vip_state *vips)
{
	struct vip_packet packet = VIP_PACKET4(skb);

	return vip_divert_examined(vn, skb, state, vips, &packet,
				   &vn->route4->dst) ? NF_ACCEPT : NF_DROP;
}

static noinline unsigned int vip_divert6_examined(const struct vip_net *vn,
						  struct sk_buff *skb,
						  const struct nf_hook_state *state,
						  const struct vip_state *vips)
{
	struct vip_packet packet = VIP_PACKET6(skb);

	return vip_divert_examined(vn, skb, state, vips, &packet,
				   &vn->route6->dst) ? NF_ACCEPT : NF_DROP;
}

static bool vip_is_examined(const struct vip_service *service, u32 idle)
{
	return !service || rcu_dereference(service->config)->examined & idle;
}

static noinline unsigned int vip_divert4(const struct vip_net *vn, struct sk_buff *skb,
					 const struct nf_hook_state *state,
					 const struct vip_state *vips,
					 const struct vip_service *service)
{
	if (!vip_is_for_host(skb))
		return NF_ACCEPT;
	if (vip_is_examined(service, VIP_SHIM_F_IDLE4))
		return vip_divert4_examined(vn, skb, state, vips);
	if (!vip_source_is_valid(vn, skb, state)) {
		vip_count(service, VIP_REFUSED);
		return NF_DROP;
	}
	vip_accept(skb, service, &vn->route4->dst);
	return NF_ACCEPT;
}

static noinline unsigned int vip_divert6(const struct vip_net *vn, struct sk_buff *skb,
					 const struct nf_hook_state *state,
					 const struct vip_state *vips,
					 const struct vip_service *service)
{
	if (!vip_is_for_host(skb))
		return NF_ACCEPT;
	if (vip_is_examined(service, VIP_SHIM_F_IDLE6))
		return vip_divert6_examined(vn, skb, state, vips);
	vip_accept(skb, service, &vn->route6->dst);
	return NF_ACCEPT;
}

/*
 * Most packets are for nobody, or for a service of the first plane. The hooks
 * call nothing before that is known: what is not for a VIP pays for this alone.
 */
static unsigned int vip_prerouting4(void *priv, struct sk_buff *skb,
				    const struct nf_hook_state *state)
{
	const struct vip_net *vn = priv;
	const struct vip_state *vips = rcu_dereference(vn->state);
	const struct vip_service *service;

	if (!vips)
		return NF_ACCEPT;
	service = vip_trie_lookup4(&vips->plane[0].v4, be32_to_cpu(ip_hdr(skb)->daddr));
	if (!service && READ_ONCE(vips->planes) <= 1)
		return NF_ACCEPT;
	return vip_divert4(vn, skb, state, vips, service);
}

static unsigned int vip_prerouting6(void *priv, struct sk_buff *skb,
				    const struct nf_hook_state *state)
{
	const struct vip_net *vn = priv;
	const struct vip_state *vips = rcu_dereference(vn->state);
	const struct vip_service *service;

	if (!vips)
		return NF_ACCEPT;
	service = vip_trie_lookup6(&vips->plane[0].v6, ipv6_hdr(skb)->daddr.s6_addr32);
	if (!service && READ_ONCE(vips->planes) <= 1)
		return NF_ACCEPT;
	return vip_divert6(vn, skb, state, vips, service);
}

#define VIP_HOOK(function, family, at, order) { \
	.hook = function, \
	.pf = family, \
	.hooknum = at, \
	.priority = order, \
}

static const struct nf_hook_ops vip_hooks[VIP_HOOKS] = {
	VIP_HOOK(vip_prerouting4, NFPROTO_IPV4, NF_INET_PRE_ROUTING, VIP_PRIORITY_DIVERT),
	VIP_HOOK(vip_left_over4, NFPROTO_IPV4, NF_INET_LOCAL_IN, VIP_PRIORITY_LEFT_OVER),
	VIP_HOOK(vip_prerouting6, NFPROTO_IPV6, NF_INET_PRE_ROUTING, VIP_PRIORITY_DIVERT),
	VIP_HOOK(vip_left_over6, NFPROTO_IPV6, NF_INET_LOCAL_IN, VIP_PRIORITY_LEFT_OVER),
};

/* With ipv6.disable=1 there is nothing that IPv6's could be registered with */
static unsigned int vip_hooks_count(void)
{
	return ipv6_mod_enabled() ? VIP_HOOKS : VIP_HOOKS / 2;
}

/* An input route to this host, but for RTCF_LOCAL: as said above */
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

static struct rt6_info *vip_route6(struct net *net)
{
	struct rt6_info *route = ip6_dst_alloc(net, net->loopback_dev, DST_NOPOLICY);

	if (!route)
		return NULL;
	route->dst.input = ip6_input;
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
	err = vip_sources_start(vn);
	if (err)
		goto free_routes;
	for (i = 0; i < ARRAY_SIZE(vip_hooks); i++) {
		vn->hooks[i] = vip_hooks[i];
		vn->hooks[i].priv = vn;
	}
	err = nf_register_net_hooks(vn->net, vn->hooks, vip_hooks_count());
	if (err) {
		NL_SET_ERR_MSG(extack, "the netfilter hooks cannot be registered");
		goto stop_sources;
	}
	vn->hooked = true;
	return 0;

stop_sources:
	vip_sources_stop(vn);
free_routes:
	vip_routes_free(vn);
	return err;
}

/**
 * vip_hook_stop - make a namespace accept nothing any more
 * @vn:		whose lock is held
 *
 * No reader is in the hooks when this returns.
 */
void vip_hook_stop(struct vip_net *vn)
{
	lockdep_assert_held(&vn->lock);
	if (!vn->hooked)
		return;
	nf_unregister_net_hooks(vn->net, vn->hooks, vip_hooks_count());
	synchronize_rcu();
	vip_sources_stop(vn);
	vip_routes_free(vn);
	vn->hooked = false;
}

/**
 * vip_hook_defrag - have fragments put together before they are looked at
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

void vip_hook_defrag_end(struct vip_net *vn)
{
	if (!vn->defrags)
		return;
	nf_defrag_ipv6_disable(vn->net);
	nf_defrag_ipv4_disable(vn->net);
	vn->defrags = false;
}
