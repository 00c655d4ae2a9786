// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sources of IPv4 packets, validated as the routing would that is spared:
 * fib_validate_source() in net/ipv4/fib_frontend.c, which is not exported.
 * Linux validates no sources of IPv6 packets.
 */

#include <linux/hash.h>
#include <linux/inetdevice.h>
#include <linux/in.h>
#include <linux/rculist.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>
#include <net/ip_fib.h>
#include <net/l3mdev.h>
#include <net/xfrm.h>

#include "compat.h"
#include "hook.h"
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
static noinline bool vip_source_is_routed(struct sk_buff *skb,
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
		.flowi4_tos = iph->tos & VIP_ROUTE_TOS,
		.flowi4_uid = sock_net_uid(state->net, NULL),
		.flowi4_mark = IN_DEV_SRC_VMARK(in_dev) ? skb->mark : 0,
	};

	if (state->net->ipv4.fib_rules_require_fldissect)
		vip_dissect(skb, state, &flow);
	if (fib_lookup(state->net, &flow, &found, 0))
		return !strictness;
	if (found.type != RTN_UNICAST &&
	    !(found.type == RTN_LOCAL && IN_DEV_ACCEPT_LOCAL(in_dev)))
		return false;
	if (!strictness || fib_info_nh_uses_dev(found.fi, state->in))
		return true;
	return strictness == 2 && rcu_access_pointer(in_dev->ifa_list);
}

/* An address of the host, or one that stands for many hosts next to it */
struct vip_own {
	struct hlist_node node;
	struct rcu_head rcu;
	__be32 address;
	const struct in_ifaddr *ifa;
};

#define VIP_OWN_PER_ADDRESS	3

static unsigned int vip_own_bucket(__be32 address)
{
	return hash_32((__force u32)address, VIP_OWN_BITS);
}

static bool vip_is_own(const struct vip_net *vn, __be32 address)
{
	const struct vip_own *own;

	hlist_for_each_entry_rcu(own, &vn->own[vip_own_bucket(address)], node)
		if (own->address == address)
			return true;
	return false;
}

/*
 * Whether no rules or routes of somebody's tell what is local: it is enough then
 * to know the addresses, as in fib_validate_source()
 */
static bool vip_own_is_enough(const struct vip_net *vn)
{
	const struct net *net = vn->net;

	return READ_ONCE(vn->own_is_known) && !fib4_has_custom_rules(net) &&
	       !net->ipv4.fib_has_custom_local_routes;
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
	__be32 source = ip_hdr(skb)->saddr;
	int strictness;

	if (!in_dev || vip_is_martian(source, vn->net, in_dev))
		return false;
	strictness = secpath_exists(skb) ? 0 : IN_DEV_RPFILTER(in_dev);
	if (!strictness && IN_DEV_ACCEPT_LOCAL(in_dev))
		return true;
	if (!strictness && vip_own_is_enough(vn))
		return !vip_is_own(vn, source);
	return vip_source_is_routed(skb, state, in_dev, strictness);
}

/* What routes of an address are local or broadcast: fib_add_ifaddr(), since 5.14 */
static unsigned int vip_own_addresses(const struct in_ifaddr *ifa,
				      __be32 addresses[VIP_OWN_PER_ADDRESS])
{
	unsigned int count = 0;

	addresses[count++] = ifa->ifa_local;
	if (ifa->ifa_broadcast)
		addresses[count++] = ifa->ifa_broadcast;
	if (ifa->ifa_prefixlen < 31)
		addresses[count++] = ifa->ifa_address | ~ifa->ifa_mask;
	return count;
}

static void vip_own_forget(struct vip_net *vn, const struct in_ifaddr *ifa)
{
	__be32 addresses[VIP_OWN_PER_ADDRESS];
	unsigned int i = vip_own_addresses(ifa, addresses);
	struct hlist_node *next;
	struct vip_own *own;

	while (i--) {
		struct hlist_head *bucket = &vn->own[vip_own_bucket(addresses[i])];

		hlist_for_each_entry_safe(own, next, bucket, node) {
			if (own->ifa != ifa)
				continue;
			hlist_del_rcu(&own->node);
			kfree_rcu(own, rcu);
		}
	}
}

static int vip_own_learn(struct vip_net *vn, const struct in_ifaddr *ifa)
{
	__be32 addresses[VIP_OWN_PER_ADDRESS];
	unsigned int i = vip_own_addresses(ifa, addresses);
	struct vip_own *own;

	while (i--) {
		own = kmalloc(sizeof(*own), GFP_KERNEL_ACCOUNT);
		if (!own)
			return -ENOMEM;
		own->address = addresses[i];
		own->ifa = ifa;
		hlist_add_head_rcu(&own->node,
				   &vn->own[vip_own_bucket(own->address)]);
	}
	return 0;
}

static void vip_own_forget_all(struct vip_net *vn)
{
	struct hlist_node *next;
	struct vip_own *own;
	unsigned int i;

	for (i = 0; i < VIP_OWN_SIZE; i++) {
		hlist_for_each_entry_safe(own, next, &vn->own[i], node) {
			hlist_del_rcu(&own->node);
			kfree_rcu(own, rcu);
		}
	}
}

/**
 * vip_sources_start - know the addresses of a namespace
 * @vn:		of the namespace
 */
int vip_sources_start(struct vip_net *vn)
{
	const struct in_ifaddr *ifa;
	struct in_device *in_dev;
	struct net_device *dev;
	int err = 0;

	rtnl_lock();
	for_each_netdev(vn->net, dev) {
		in_dev = __in_dev_get_rtnl(dev);
		if (!in_dev)
			continue;
		in_dev_for_each_ifa_rtnl(ifa, in_dev)
			err = err ?: vip_own_learn(vn, ifa);
	}
	if (err)
		vip_own_forget_all(vn);
	WRITE_ONCE(vn->own_is_known, !err);
	rtnl_unlock();
	return err;
}

/**
 * vip_sources_stop - forget them
 * @vn:		of the namespace
 */
void vip_sources_stop(struct vip_net *vn)
{
	rtnl_lock();
	WRITE_ONCE(vn->own_is_known, false);
	vip_own_forget_all(vn);
	rtnl_unlock();
}

/* An address comes or goes. Without memory for it, sources are looked up again. */
static int vip_address_changed(struct notifier_block *block, unsigned long event,
			       void *data)
{
	const struct in_ifaddr *ifa = data;
	struct vip_net *vn = vip_net(dev_net(ifa->ifa_dev->dev));

	ASSERT_RTNL();
	if (!vn->own_is_known)
		return NOTIFY_DONE;
	vip_own_forget(vn, ifa);
	if (event == NETDEV_UP && vip_own_learn(vn, ifa))
		WRITE_ONCE(vn->own_is_known, false);
	return NOTIFY_DONE;
}

static struct notifier_block vip_addresses = { .notifier_call = vip_address_changed };

int __init vip_sources_init(void)
{
	return register_inetaddr_notifier(&vip_addresses);
}

void vip_sources_exit(void)
{
	unregister_inetaddr_notifier(&vip_addresses);
}
