/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs between 6.1 and 6.12. Nothing else looks at the kernel's version. */
#ifndef VIP_SHIM_COMPAT_H
#define VIP_SHIM_COMPAT_H

#include <linux/version.h>
#include <net/inet_dscp.h>
#include <net/route.h>

/* The part of the type of service that routing looks at */
static inline u8 vip_route_tos(const struct iphdr *iph)
{
	return iph->tos & INET_DSCP_MASK & ~0x03;
}

#endif
