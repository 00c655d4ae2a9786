/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses of the host, and those that stand for many hosts next to it. */
#ifndef VIP_SHIM_OWN_H
#define VIP_SHIM_OWN_H

#include <linux/rhashtable-types.h>
#include <linux/types.h>

struct vip_net;

/**
 * struct vip_own - IPv4 addresses that no packet can have come from; under RTNL
 * @addresses:	each once, however many interfaces have it
 * @holders:	what of @addresses is whose
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
