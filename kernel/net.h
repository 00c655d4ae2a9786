/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replacing and removing the state of a network namespace. */
#ifndef VIP_SHIM_NET_H
#define VIP_SHIM_NET_H

struct vip_net;
struct vip_state;

void vip_net_switch(struct vip_net *vn, struct vip_state *state);
void vip_net_unstage(struct vip_net *vn);
void vip_net_settle(struct vip_net *vn);
void vip_net_flush(struct vip_net *vn);

#endif
