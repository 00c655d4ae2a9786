// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The data path. PREROUTING gives a packet for a VIP its service's mark and a
 * route to the host, which spares it the routing's lookup; so that the routing
 * does not validate its source, that is done here as well. LOCAL_IN refuses
 * what has come by that route and IPVS has not taken.
 */

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/inetdevice.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/dst_metadata.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ip_fib.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/netfilter/ipv4/nf_defrag_ipv4.h>
#include <net/netfilter/ipv4/nf_reject.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>
#include <net/netfilter/ipv6/nf_reject.h>
#include <net/route.h>

#include "compat.h"
#include "hook.h"

/*
 * ICMP errors that the host sends about a packet have its destination as their
 * source if its route is RTCF_LOCAL, and are then not sent, because that source
 * is not in table local. Without the flag the host's own address is used.
 */

/* Behind mangle, where others set marks; before NAT */
#define VIP_PRIORITY_DIVERT	(NF_IP_PRI_MANGLE + 10)
/* Behind IPVS, which has NF_IP_PRI_NAT_SRC - 2 and - 1 */
#define VIP_PRIORITY_LEFT_OVER	NF_IP_PRI_NAT_SRC

/* A packet, of which no more is read than its service asks for */
struct vip_packet {
	const struct sk_buff *skb;
	u8 pf;			/* NFPROTO_IPV4 or _IPV6 */
	u32 idle;		/* flag of services that nobody of its IP version serves */
};

/* Whose a packet is; @takes: whether that service takes it */
struct vip_match {
	struct vip_service *service;
	const struct vip_config *config;
	bool takes;
};

/* The transport layer's protocol and offset; a later fragment has none */
static int vip_transport(const struct vip_packet *packet, int *offset)
{
	unsigned short fragment = 0;
	unsigned int at = 0;
	int protocol;

	if (packet->pf == NFPROTO_IPV4) {
		const struct iphdr *iph = ip_hdr(packet->skb);

		*offset = skb_network_offset(packet->skb) + iph->ihl * 4;
		return iph->frag_off & htons(IP_OFFSET) ? -ENOENT : iph->protocol;
	}
	protocol = ipv6_find_hdr(packet->skb, &at, -1, &fragment, NULL);
	*offset = at;
	return fragment ? -ENOENT : protocol;
}

/* IPVS looks into ICMP errors, for the packet that they are about */
static bool vip_is_error(const struct vip_packet *packet, int protocol, int offset)
{
	u8 buffer;
	const u8 *type = skb_header_pointer(packet->skb, offset, 1, &buffer);

	if (!type)
		return false;
	if (packet->pf == NFPROTO_IPV4)
		return protocol == IPPROTO_ICMP && icmp_is_err(*type);
	return protocol == IPPROTO_ICMPV6 && !(*type & ICMPV6_INFOMSG_MASK);
}

static bool vip_takes(const struct vip_config *config,
		      const struct vip_packet *packet)
{
	const __be16 *ports;
	__be16 buffer[2];
	int protocol, offset;

	if (!config->count && !(config->flags & packet->idle))
		return true;
	protocol = vip_transport(packet, &offset);
	if (protocol < 0)
		return !(config->flags & packet->idle);
	if (vip_is_error(packet, protocol, offset))
		return true;
	if (config->flags & packet->idle)
		return false;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP &&
	    protocol != IPPROTO_SCTP)
		return false;
	ports = skb_header_pointer(packet->skb, offset, sizeof(buffer), buffer);
	return ports && vip_config_takes(config, protocol, be16_to_cpu(ports[1]));
}

/* Tries a service; false while the next plane is to be tried as well */
static bool vip_try(struct vip_match *match, struct vip_service *service,
		    const struct vip_packet *packet)
{
	if (!service)
		return false;
	match->service = service;
	match->config = rcu_dereference(service->config);
	match->takes = vip_takes(match->config, packet);
	return match->takes;
}

static bool vip_find(const struct vip_state *state,
		     const struct vip_packet *packet, struct vip_match *match)
{
	u32 plane, planes = READ_ONCE(state->planes);
	const struct vip_plane *in = state->plane;
	struct vip_service *service;

	match->service = NULL;
	for (plane = 0; plane < planes; plane++, in++) {
		if (packet->pf == NFPROTO_IPV4)
			service = vip_trie_lookup4(&in->v4,
						   be32_to_cpu(ip_hdr(packet->skb)->daddr));
		else
			service = vip_trie_lookup6(&in->v6,
						   ipv6_hdr(packet->skb)->daddr.s6_addr32);
		if (vip_try(match, service, packet))
			break;
	}
	return match->service;
}

/*
 * As fib_validate_source(), which is not exported: a source must not be the
 * host's own, and with rp_filter have a route, in strict mode by this device.
 */
static bool vip_source_is_valid(const struct sk_buff *skb,
				const struct nf_hook_state *state)
{
	const struct iphdr *iph = ip_hdr(skb);
	struct in_device *in_dev = __in_dev_get_rcu(state->in);
	struct fib_result found = {};
	struct flowi4 flow = {};
	int strictness;

	if (!in_dev || ipv4_is_multicast(iph->saddr) || ipv4_is_lbcast(iph->saddr) ||
	    ipv4_is_zeronet(iph->saddr))
		return false;
	if (ipv4_is_loopback(iph->saddr) && !IN_DEV_NET_ROUTE_LOCALNET(in_dev, state->net))
		return false;
	strictness = IN_DEV_RPFILTER(in_dev);
	flow.daddr = iph->saddr;
	flow.saddr = iph->daddr;
	flow.flowi4_iif = l3mdev_master_ifindex_rcu(state->in) ?: LOOPBACK_IFINDEX;
	flow.flowi4_tos = vip_route_tos(iph);
	flow.flowi4_mark = IN_DEV_SRC_VMARK(in_dev) ? skb->mark : 0;
	if (fib_lookup(state->net, &flow, &found, 0))
		return !strictness;
	if (found.type != RTN_UNICAST &&
	    !(found.type == RTN_LOCAL && IN_DEV_ACCEPT_LOCAL(in_dev)))
		return false;
	if (strictness != 1 || fib_info_nh_uses_dev(found.fi, state->in))
		return true;
	return false;
}

static unsigned int vip_divert(struct vip_net *vn, struct sk_buff *skb,
			       const struct nf_hook_state *state,
			       struct vip_packet *packet, struct dst_entry *route)
{
	const struct vip_state *vips;
	struct vip_match match;

	if (skb->pkt_type != PACKET_HOST || skb_valid_dst(skb))
		return NF_ACCEPT;
	vips = rcu_dereference(vn->state);
	if (!vips || !vip_find(vips, packet, &match))
		return NF_ACCEPT;
	if (packet->pf == NFPROTO_IPV4 && !vip_source_is_valid(skb, state)) {
		vip_count(match.service, VIP_REFUSED);
		return NF_DROP;
	}
	if (match.takes) {
		skb->mark = match.service->mark;
		vip_count(match.service, VIP_ACCEPTED);
	}
	skb_dst_drop(skb);
	skb_dst_set_noref(skb, route);
	return NF_ACCEPT;
}

static unsigned int vip_divert4(void *priv, struct sk_buff *skb,
				const struct nf_hook_state *state)
{
	struct vip_packet packet = { skb, NFPROTO_IPV4, VIP_SHIM_F_IDLE4 };
	struct vip_net *vn = priv;

	return vip_divert(vn, skb, state, &packet, &vn->route4->dst);
}

static unsigned int vip_divert6(void *priv, struct sk_buff *skb,
				const struct nf_hook_state *state)
{
	struct vip_packet packet = { skb, NFPROTO_IPV6, VIP_SHIM_F_IDLE6 };
	struct vip_net *vn = priv;

	return vip_divert(vn, skb, state, &packet, &vn->route6->dst);
}

static unsigned int vip_refuse4(struct sk_buff *skb,
				const struct nf_hook_state *state)
{
	if (ip_hdr(skb)->protocol == IPPROTO_TCP)
		nf_send_reset(state->net, state->sk, skb, state->hook);
	else
		nf_send_unreach(skb, ICMP_PORT_UNREACH, state->hook);
	return NF_DROP;
}

static unsigned int vip_refuse6(struct sk_buff *skb,
				const struct nf_hook_state *state,
				int protocol)
{
	if (protocol == IPPROTO_TCP)
		nf_send_reset6(state->net, state->sk, skb, state->hook);
	else
		nf_send_unreach6(state->net, skb, ICMPV6_PORT_UNREACH, state->hook);
	return NF_DROP;
}

/* Whether a packet came by our route and IPVS left it; finds whose it was */
static bool vip_is_left_over(struct vip_net *vn, const struct sk_buff *skb,
			     const struct vip_packet *packet,
			     const struct dst_entry *route,
			     struct vip_match *match)
{
	const struct vip_state *vips;

	if (skb_dst(skb) != route || skb->ipvs_property)
		return false;
	vips = rcu_dereference(vn->state);
	match->service = NULL;
	if (vips && vip_find(vips, packet, match))
		vip_count(match->service, VIP_LEFT_OVER);
	return true;
}

static unsigned int vip_left_over4(void *priv, struct sk_buff *skb,
				   const struct nf_hook_state *state)
{
	struct vip_packet packet = { skb, NFPROTO_IPV4, VIP_SHIM_F_IDLE4 };
	struct vip_net *vn = priv;
	struct vip_match match;

	if (!vip_is_left_over(vn, skb, &packet, &vn->route4->dst, &match))
		return NF_ACCEPT;
	if (match.service && match.config->flags & VIP_SHIM_F_DROP)
		return NF_DROP;
	return vip_refuse4(skb, state);
}

static unsigned int vip_left_over6(void *priv, struct sk_buff *skb,
				   const struct nf_hook_state *state)
{
	struct vip_packet packet = { skb, NFPROTO_IPV6, VIP_SHIM_F_IDLE6 };
	struct vip_net *vn = priv;
	struct vip_match match;
	int offset;

	if (!vip_is_left_over(vn, skb, &packet, &vn->route6->dst, &match))
		return NF_ACCEPT;
	if (match.service && match.config->flags & VIP_SHIM_F_DROP)
		return NF_DROP;
	return vip_refuse6(skb, state, vip_transport(&packet, &offset));
}

#define VIP_HOOK(function, family, at, order) { \
	.hook = function, \
	.pf = family, \
	.hooknum = at, \
	.priority = order, \
}

static const struct nf_hook_ops vip_hooks[] = {
	VIP_HOOK(vip_divert4, NFPROTO_IPV4, NF_INET_PRE_ROUTING, VIP_PRIORITY_DIVERT),
	VIP_HOOK(vip_left_over4, NFPROTO_IPV4, NF_INET_LOCAL_IN, VIP_PRIORITY_LEFT_OVER),
	VIP_HOOK(vip_divert6, NFPROTO_IPV6, NF_INET_PRE_ROUTING, VIP_PRIORITY_DIVERT),
	VIP_HOOK(vip_left_over6, NFPROTO_IPV6, NF_INET_LOCAL_IN, VIP_PRIORITY_LEFT_OVER),
};

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
	vn->route4 = vip_route4(vn->net);
	vn->route6 = vip_route6(vn->net);
	err = -ENOMEM;
	if (!vn->route4 || !vn->route6)
		goto free_routes;
	for (i = 0; i < ARRAY_SIZE(vip_hooks); i++) {
		vn->hooks[i] = vip_hooks[i];
		vn->hooks[i].priv = vn;
	}
	err = nf_register_net_hooks(vn->net, vn->hooks, ARRAY_SIZE(vip_hooks));
	if (err) {
		NL_SET_ERR_MSG(extack, "the netfilter hooks cannot be registered");
		goto free_routes;
	}
	vn->hooked = true;
	return 0;

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
	nf_unregister_net_hooks(vn->net, vn->hooks, ARRAY_SIZE(vip_hooks));
	synchronize_rcu();
	vip_routes_free(vn);
	vn->hooked = false;
}

/**
 * vip_hook_defrag - have fragments put together, as their services name ports
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
