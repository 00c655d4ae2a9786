/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What differs between 6.1 and 6.12. Nothing else looks at the kernel's version. */
#ifndef VIP_SHIM_COMPAT_H
#define VIP_SHIM_COMPAT_H

#include <net/inet_dscp.h>
#include <net/route.h>

/* The part of the type of service that routing looks at: more of it since 6.12 */
#ifdef IPTOS_RT_MASK
#define VIP_ROUTE_TOS	IPTOS_RT_MASK
#else
#define VIP_ROUTE_TOS	INET_DSCP_MASK
#endif

#endif
