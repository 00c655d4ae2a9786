/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The generic netlink family: netlink.c; bulk.c has prefixes, dump.c dumps. */
#ifndef VIP_SHIM_NETLINK_H
#define VIP_SHIM_NETLINK_H

struct genl_family;
struct genl_info;
struct netlink_callback;
struct sk_buff;
struct vip_net;
struct vip_state;

extern struct genl_family vip_family;

int vip_netlink_init(void);
void vip_netlink_exit(void);

struct vip_state *vip_target(struct vip_net *vn, struct genl_info *info);
void vip_changed(struct vip_net *vn, struct genl_info *info);
int vip_missing(struct genl_info *info, int attribute);

int vip_add_prefixes(struct sk_buff *skb, struct genl_info *info);
int vip_del_prefixes(struct sk_buff *skb, struct genl_info *info);

int vip_dump_services(struct netlink_callback *cb);
int vip_dump_prefixes(struct netlink_callback *cb);
int vip_dump_go_on(struct sk_buff *skb, struct netlink_callback *cb);
int vip_dump_end(struct netlink_callback *cb);

#endif
