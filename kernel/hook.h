/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One network namespace: its state, its hooks, and where accepted packets go. */
#ifndef VIP_SHIM_HOOK_H
#define VIP_SHIM_HOOK_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/netfilter.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "own.h"
#include "state.h"

#define VIP_HOOKS	6

struct rtable;
struct rt6_info;

/**
 * struct vip_net - what a network namespace has
 * @net:	the namespace
 * @lock:	held by whoever changes anything here
 * @state:	in use
 * @staged:	opened by BEGIN, until it is put in use; NULL if there is none
 * @stager:	netlink port of the socket that opened it
 * @generation:	raised by each change of @state; begins at a random number
 * @route4:	of accepted packets
 * @route6:	likewise
 * @own:	addresses that no packet can have come from; under RTNL, not @lock
 * @hooked:	whether the hooks are registered
 * @defrags:	whether fragments are reassembled for it
 * @hooks:	of this namespace
 */
struct vip_net {
	struct net *net;
	struct mutex lock;	/* of all below but @own */
	struct vip_state __rcu *state;
	struct vip_state *staged;
	u32 stager;
	u32 generation;
	struct rtable *route4;
	struct rt6_info *route6;
	struct vip_own own;
	bool hooked;
	bool defrags;
	struct nf_hook_ops hooks[VIP_HOOKS];
};

extern unsigned int vip_net_id;

static inline struct vip_net *vip_net(const struct net *net)
{
	return net_generic(net, vip_net_id);
}

static inline struct vip_state *vip_state_locked(struct vip_net *vn)
{
	return rcu_dereference_protected(vn->state, lockdep_is_held(&vn->lock));
}

int vip_hook_start(struct vip_net *vn, struct netlink_ext_ack *extack);
void vip_hook_stop(struct vip_net *vn);
int vip_hook_defrag(struct vip_net *vn);
void vip_hook_defrag_end(struct vip_net *vn);

#endif
