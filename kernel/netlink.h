/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VIP_SHIM_NETLINK_H
#define VIP_SHIM_NETLINK_H

int vip_netlink_init(void);
void vip_netlink_exit(void);

#endif
