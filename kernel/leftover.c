// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Packets that have our route and are still there behind IPVS, which did not take
 * them. They must not reach a socket of the host. Echo requests may be answered; the
 * rest is refused, or dropped.
 */

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/ip6_checksum.h>
#include <net/ndisc.h>
#include <net/netfilter/ipv4/nf_reject.h>
#include <net/netfilter/ipv6/nf_reject.h>
#include <net/route.h>

#include "hook.h"
#include "leftover.h"
#include "match.h"

/*
 * A copy of the packet, to be made the answer. One that the kernel made would have
 * another source, as the VIP is in no table local.
 */
static struct sk_buff *vip_answer(struct sk_buff *skb, u32 mark)
{
	struct sk_buff *answer = skb_copy_expand(skb, LL_MAX_HEADER, 0, GFP_ATOMIC);

	if (!answer)
		return NULL;
	answer->mark = mark;
	answer->pkt_type = PACKET_OUTGOING;
	answer->ip_summed = CHECKSUM_NONE;
	skb_clear_tstamp(answer);	/* the time of arrival; fq would delay until then */
	skb_ext_reset(answer);
	nf_reset_ct(answer);
	nf_ct_attach(answer, skb);
	return answer;
}

/* The echo request in a packet, or NULL if it is not a whole one to answer */
static bool vip_is_echo4(const struct sk_buff *skb, const struct nf_hook_state *state)
{
	const struct iphdr *iph = ip_hdr(skb);

	return iph->protocol == IPPROTO_ICMP && iph->ihl == 5 &&
	       !ip_is_fragment(iph) &&
	       !READ_ONCE(state->net->ipv4.sysctl_icmp_echo_ignore_all);
}

static void vip_pong4(struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct sk_buff *answer;
	struct icmphdr *icmph;
	struct iphdr *iph;

	if (!pskb_may_pull(skb, sizeof(*iph) + sizeof(*icmph)) ||
	    nf_ip_checksum(skb, state->hook, sizeof(*iph), IPPROTO_ICMP))
		return;
	answer = vip_answer(skb, IP4_REPLY_MARK(state->net, skb->mark));
	if (!answer)
		return;
	iph = ip_hdr(answer);
	icmph = (struct icmphdr *)(iph + 1);
	swap(iph->saddr, iph->daddr);
	iph->frag_off = 0;
	iph->ttl = READ_ONCE(state->net->ipv4.sysctl_ip_default_ttl);
	icmph->type = ICMP_ECHOREPLY;
	csum_replace2(&icmph->checksum, htons(ICMP_ECHO << 8), 0);
	memset(IPCB(answer), 0, sizeof(*IPCB(answer)));
	if (ip_route_me_harder(state->net, NULL, answer, RTN_UNSPEC)) {
		kfree_skb(answer);
		return;
	}
	ip_select_ident(state->net, answer, NULL);
	ip_local_out(state->net, NULL, answer);
}

static bool vip_is_echo6(const struct sk_buff *skb, const struct nf_hook_state *state)
{
	return ipv6_hdr(skb)->nexthdr == IPPROTO_ICMPV6 &&
	       !READ_ONCE(state->net->ipv6.sysctl.icmpv6_echo_ignore_all);
}

static void vip_pong6(struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct icmp6hdr *icmph;
	struct sk_buff *answer;
	struct ipv6hdr *iph;

	if (!pskb_may_pull(skb, sizeof(*iph) + sizeof(*icmph)) ||
	    nf_ip6_checksum(skb, state->hook, sizeof(*iph), IPPROTO_ICMPV6))
		return;
	answer = vip_answer(skb, IP6_REPLY_MARK(state->net, skb->mark));
	if (!answer)
		return;
	iph = ipv6_hdr(answer);
	icmph = (struct icmp6hdr *)(iph + 1);
	swap(iph->saddr, iph->daddr);
	iph->hop_limit = READ_ONCE(state->net->ipv6.devconf_all->hop_limit);
	icmph->icmp6_type = ICMPV6_ECHO_REPLY;
	csum_replace2(&icmph->icmp6_cksum, htons(ICMPV6_ECHO_REQUEST << 8),
		      htons(ICMPV6_ECHO_REPLY << 8));
	memset(IP6CB(answer), 0, sizeof(*IP6CB(answer)));
	if (ip6_route_me_harder(state->net, NULL, answer)) {
		kfree_skb(answer);
		return;
	}
	ip6_local_out(state->net, NULL, answer);
}

/* Whether a packet is an echo request for a service with VIP_SHIM_F_PING */
static bool vip_is_pinged(const struct vip_packet *packet,
			  const struct vip_match *match)
{
	u8 asked = packet->pf == NFPROTO_IPV4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST;
	int offset, protocol;
	const u8 *type;
	u8 buffer;

	if (!match->service || !(match->config->flags & VIP_SHIM_F_PING) ||
	    match->config->flags & VIP_SHIM_F_PASSIVE)
		return false;
	protocol = vip_transport(packet, &offset);
	if (protocol != IPPROTO_ICMP && protocol != IPPROTO_ICMPV6)
		return false;
	type = skb_header_pointer(packet->skb, offset, sizeof(buffer), &buffer);
	return type && *type == asked;
}

/* Whether a packet is left over; finds the service that it was for */
static bool vip_is_left_over(struct vip_net *vn, const struct vip_packet *packet,
			     const struct dst_entry *route,
			     struct vip_match *match)
{
	const struct vip_state *vips;

	if (skb_dst(packet->skb) != route || packet->skb->ipvs_property)
		return false;
	vips = rcu_dereference(vn->state);
	match->service = NULL;
	if (vips)
		vip_find(vips, packet, match);
	return true;
}

/* Counts a packet; returns whether it is to be refused with an answer */
static bool vip_is_refused(const struct vip_match *match)
{
	if (!match->service)
		return true;
	vip_count(match->service, VIP_LEFT_OVER);
	return !(match->config->flags & (VIP_SHIM_F_DROP | VIP_SHIM_F_PASSIVE));
}

/*
 * Whether a packet solicits a neighbour, or is the answer to the host, which has the VIP
 * as an address of its own, too. The kernel takes neither for anybody else's address.
 */
static bool vip_is_of_neighbours(const struct vip_packet *packet)
{
	int offset, protocol = vip_transport(packet, &offset);
	const u8 *type;
	u8 buffer;

	if (protocol != IPPROTO_ICMPV6)
		return false;
	type = skb_header_pointer(packet->skb, offset, sizeof(buffer), &buffer);
	return type && (*type == NDISC_NEIGHBOUR_SOLICITATION ||
			*type == NDISC_NEIGHBOUR_ADVERTISEMENT);
}

unsigned int vip_left_over4(void *priv, struct sk_buff *skb,
			    const struct nf_hook_state *state)
{
	struct vip_packet packet = VIP_PACKET4(skb);
	struct vip_net *vn = priv;
	struct vip_match match;

	if (!vip_is_left_over(vn, &packet, &vn->route4->dst, &match))
		return NF_ACCEPT;
	if (vip_is_pinged(&packet, &match)) {
		if (vip_is_echo4(skb, state))
			vip_pong4(skb, state);
	} else if (vip_is_refused(&match)) {
		if (ip_hdr(skb)->protocol == IPPROTO_TCP)
			nf_send_reset(state->net, state->sk, skb, state->hook);
		else
			nf_send_unreach(skb, ICMP_PORT_UNREACH, state->hook);
	}
	return NF_DROP;
}

unsigned int vip_left_over6(void *priv, struct sk_buff *skb,
			    const struct nf_hook_state *state)
{
	struct vip_packet packet = VIP_PACKET6(skb);
	struct vip_net *vn = priv;
	struct vip_match match;
	int offset;

	if (!vip_is_left_over(vn, &packet, &vn->route6->dst, &match) ||
	    vip_is_of_neighbours(&packet))
		return NF_ACCEPT;
	if (vip_is_pinged(&packet, &match)) {
		if (vip_is_echo6(skb, state))
			vip_pong6(skb, state);
	} else if (vip_is_refused(&match)) {
		if (vip_transport(&packet, &offset) == IPPROTO_TCP)
			nf_send_reset6(state->net, state->sk, skb, state->hook);
		else
			nf_send_unreach6(state->net, skb, ICMPV6_PORT_UNREACH,
					 state->hook);
	}
	return NF_DROP;
}
