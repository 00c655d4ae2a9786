/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's own IPv4 addresses, and the broadcast addresses of its subnets. */
#ifndef VIP_SHIM_OWN_H
#define VIP_SHIM_OWN_H

#include <linux/rhashtable-types.h>
#include <linux/types.h>

struct vip_net;

/**
 * struct vip_own - IPv4 addresses that no packet can have come from; under RTNL
 * @addresses:	each once, with a count of the holders that have it
 * @holders:	the kernel's addresses of interfaces that were counted
 * @known:	whether @addresses has them all
 */
struct vip_own {
	struct rhashtable addresses;
	struct rhashtable holders;
	bool known;
};

bool vip_is_own(const struct vip_own *own, __be32 address);

int vip_own_start(struct vip_net *vn);
void vip_own_stop(struct vip_net *vn);

int vip_own_init(void);
void vip_own_exit(void);

#endif
