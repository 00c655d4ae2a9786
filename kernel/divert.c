// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The data path. PREROUTING gives a packet for a VIP its service's mark and a
 * route to the host. So the kernel does not look up a route, and does not validate
 * the source either: that is done here. LOCAL_OUT marks what the host itself sends
 * to a VIP: IPVS takes it there.
 */

#include <linux/netdevice.h>
#include <linux/netfilter_bridge.h>
#include <net/dst_metadata.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/route.h>

#include "divert.h"
#include "hook.h"
#include "lookup.h"
#include "match.h"
#include "source.h"

/* IPVS compares the whole mark, so no bit of another mark can stay */
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

/*
 * Not for packets of a bridge with br_netfilter, which would not keep the route.
 * Nor for those that have a socket: somebody's TPROXY has assigned it.
 */
static __always_inline bool vip_is_for_host(const struct sk_buff *skb)
{
	return skb->pkt_type == PACKET_HOST && !skb_valid_dst(skb) && !skb->sk &&
	       !nf_bridge_info_exists(skb);
}

/*
 * A packet whose address alone does not decide, or for which the first plane has no
 * service; and any if the state is passive. A packet that no service takes is diverted
 * as well: LOCAL_IN refuses it.
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
	if (vip_is_dropped(vips, packet, &match))
		return false;
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

static bool vip_is_examined(const struct vip_state *vips,
			    const struct vip_service *service, u32 idle)
{
	return !service || READ_ONCE(vips->role) != VIP_SHIM_ROLE_ACTIVE ||
	       rcu_dereference(service->config)->examined & idle;
}

static noinline unsigned int vip_divert4(const struct vip_net *vn, struct sk_buff *skb,
					 const struct nf_hook_state *state,
					 const struct vip_state *vips,
					 const struct vip_service *service)
{
	if (!vip_is_for_host(skb))
		return NF_ACCEPT;
	if (vip_is_examined(vips, service, VIP_SHIM_F_IDLE4))
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
	if (vip_is_examined(vips, service, VIP_SHIM_F_IDLE6))
		return vip_divert6_examined(vn, skb, state, vips);
	vip_accept(skb, service, &vn->route6->dst);
	return NF_ACCEPT;
}

/*
 * Most packets are for no VIP, or for a service of the first plane. The hooks call
 * nothing before they know: packets that are not for a VIP cost this lookup alone.
 */
unsigned int vip_prerouting4(void *priv, struct sk_buff *skb,
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

unsigned int vip_prerouting6(void *priv, struct sk_buff *skb,
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

/*
 * Whether the host itself sends a packet, not by loopback, which has no mark yet and
 * is not one that IPVS sends on. Its route stays: IPVS will look up another.
 */
static bool vip_is_sent(const struct sk_buff *skb, const struct nf_hook_state *state)
{
	return !skb->mark && !skb->ipvs_property && !(state->out->flags & IFF_LOOPBACK);
}

static unsigned int vip_output(const struct vip_net *vn, struct sk_buff *skb,
			       const struct nf_hook_state *state,
			       const struct vip_packet *packet)
{
	const struct vip_state *vips = rcu_dereference(vn->state);
	struct vip_match match;

	if (!vips || !vip_is_sent(skb, state))
		return NF_ACCEPT;
	if (vip_find(vips, packet, &match) && match.takes) {
		skb->mark = match.service->mark;
		vip_count(match.service, VIP_ACCEPTED);
	}
	return NF_ACCEPT;
}

unsigned int vip_output4(void *priv, struct sk_buff *skb,
			 const struct nf_hook_state *state)
{
	struct vip_packet packet = VIP_PACKET4(skb);

	return vip_output(priv, skb, state, &packet);
}

unsigned int vip_output6(void *priv, struct sk_buff *skb,
			 const struct nf_hook_state *state)
{
	struct vip_packet packet = VIP_PACKET6(skb);

	return vip_output(priv, skb, state, &packet);
}
