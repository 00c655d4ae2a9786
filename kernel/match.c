// SPDX-License-Identifier: GPL-2.0-or-later
/* Which service a packet is for: by its address, and if need be by its port. */

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <net/ip.h>
#include <net/ipv6.h>

#include "lookup.h"
#include "match.h"

/**
 * vip_transport - the protocol of the transport layer
 * @packet:	the packet
 * @offset:	becomes where its header begins, from the start of the data
 *
 * Return: negative if there is none, as in all fragments but the first.
 */
int vip_transport(const struct vip_packet *packet, int *offset)
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

/* ICMP errors are for IPVS, which finds the connection by the packet inside */
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

static bool vip_has_ports(int protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ||
	       protocol == IPPROTO_SCTP;
}

static bool vip_takes(const struct vip_config *config,
		      const struct vip_packet *packet)
{
	const __be16 *ports;
	__be16 buffer[2];
	int protocol, offset;

	if (!(config->examined & packet->idle))
		return true;
	protocol = vip_transport(packet, &offset);
	if (protocol < 0)
		return !(config->flags & packet->idle);
	if (vip_is_error(packet, protocol, offset))
		return true;
	if (config->flags & packet->idle || !vip_has_ports(protocol))
		return false;
	ports = skb_header_pointer(packet->skb, offset, sizeof(buffer), buffer);
	return ports && vip_config_takes(config, protocol, be16_to_cpu(ports[1]));
}

static struct vip_service *vip_in_plane(const struct vip_plane *plane,
					const struct vip_packet *packet)
{
	if (packet->pf == NFPROTO_IPV4)
		return vip_trie_lookup4(&plane->v4,
					be32_to_cpu(ip_hdr(packet->skb)->daddr));
	return vip_trie_lookup6(&plane->v6, ipv6_hdr(packet->skb)->daddr.s6_addr32);
}

/**
 * vip_find - the service that a packet is for
 * @state:	of its namespace
 * @packet:	the packet
 * @match:	becomes the first that takes it, else the last that has the address
 *
 * Return: whether any has the address. Call it under rcu_read_lock().
 */
bool vip_find(const struct vip_state *state, const struct vip_packet *packet,
	      struct vip_match *match)
{
	u32 planes = READ_ONCE(state->planes), i;
	struct vip_service *service;

	match->service = NULL;
	for (i = 0; i < planes; i++) {
		service = vip_in_plane(&state->plane[i], packet);
		if (!service)
			continue;
		match->service = service;
		match->config = rcu_dereference(service->config);
		match->takes = vip_takes(match->config, packet);
		if (match->takes)
			break;
	}
	return match->service;
}

/**
 * vip_is_dropped - whether a packet is for what is passive
 * @state:	of its namespace
 * @packet:	the packet
 * @match:	what vip_find() has found for it
 */
bool vip_is_dropped(const struct vip_state *state, const struct vip_packet *packet,
		    const struct vip_match *match)
{
	int protocol, offset;

	if (READ_ONCE(state->role) == VIP_SHIM_ROLE_PASSIVE)
		return true;
	if (!match->takes || !(match->config->flags & VIP_SHIM_F_PASSIVE))
		return false;
	protocol = vip_transport(packet, &offset);
	return protocol < 0 || !vip_is_error(packet, protocol, offset);
}
