/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs from kernel to kernel, since 6.1. Nothing else looks at the kernel's version. */
#ifndef VIP_SHIM_COMPAT_H
#define VIP_SHIM_COMPAT_H

#include <net/flow.h>
#include <net/inet_dscp.h>
#include <net/route.h>

/*
 * The part of the type of service that routing looks at: more of it since 6.12,
 * and the DSCP has a type of its own since 6.18
 */
static inline void vip_flow_set_tos(struct flowi4 *flow, u8 tos)
{
#ifdef flowi4_dscp
	flow->flowi4_dscp = inet_dsfield_to_dscp(tos);
#elif defined(IPTOS_RT_MASK)
	flow->flowi4_tos = tos & IPTOS_RT_MASK;
#else
	flow->flowi4_tos = tos & INET_DSCP_MASK;
#endif
}

#endif
