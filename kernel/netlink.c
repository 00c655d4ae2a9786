// SPDX-License-Identifier: GPL-2.0-or-later
/* The generic netlink family that uapi/vip_shim.h specifies. */

#include <linux/module.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "hook.h"
#include "net.h"
#include "netlink.h"

static const struct nla_policy vip_policy[VIP_SHIM_A_MAX + 1] = {
	[VIP_SHIM_A_MARK] = NLA_POLICY_MIN(NLA_U32, 1),
	[VIP_SHIM_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, VIP_SHIM_F_ALL),
	[VIP_SHIM_A_PORTS] = { .type = NLA_BINARY,
			       .len = VIP_SHIM_MAX_PORTS * sizeof(struct vip_shim_port) },
	[VIP_SHIM_A_PLANE] = NLA_POLICY_MAX(NLA_U32, VIP_SHIM_MAX_PLANES - 1),
	[VIP_SHIM_A_PREFIXES4] = { .type = NLA_BINARY },
	[VIP_SHIM_A_PREFIXES6] = { .type = NLA_BINARY },
	[VIP_SHIM_A_STAGED] = { .type = NLA_FLAG },
	[VIP_SHIM_A_OWNER] = { .type = NLA_BINARY, .len = VIP_SHIM_MAX_OWNER },
	[VIP_SHIM_A_ROLE] = NLA_POLICY_MAX(NLA_U32, VIP_SHIM_ROLE_PASSIVE),
};

/**
 * vip_target - the state that a command is about
 * @vn:		of the namespace, its lock held
 * @info:	of the command
 *
 * Return: an error, explained, if there is none.
 */
struct vip_state *vip_target(struct vip_net *vn, struct genl_info *info)
{
	struct vip_state *state = vip_state_locked(vn);

	if (info->attrs[VIP_SHIM_A_STAGED]) {
		if (vn->staged && vn->stager == info->snd_portid)
			return vn->staged;
		GENL_SET_ERR_MSG(info, "this socket has not opened a state with BEGIN");
		return ERR_PTR(-EINVAL);
	}
	if (state)
		return state;
	GENL_SET_ERR_MSG(info, "there is no service");
	return ERR_PTR(-ENOENT);
}

/* Likewise, but makes the state if there is none: the first service registers the hooks */
static struct vip_state *vip_target_made(struct vip_net *vn, struct genl_info *info)
{
	struct vip_state *state;
	int err;

	if (info->attrs[VIP_SHIM_A_STAGED] || vip_state_locked(vn))
		return vip_target(vn, info);
	state = vip_state_new(&vn->lock);
	if (!state)
		return ERR_PTR(-ENOMEM);
	err = vip_hook_start(vn, info->extack);
	if (err) {
		vip_state_put(state);
		return ERR_PTR(err);
	}
	rcu_assign_pointer(vn->state, state);
	return state;
}

/**
 * vip_changed - raise the generation, if the command changed the state in use
 * @vn:		of the namespace, its lock held
 * @info:	of the command that has changed something
 */
void vip_changed(struct vip_net *vn, struct genl_info *info)
{
	if (!info->attrs[VIP_SHIM_A_STAGED])
		vn->generation++;
}

/**
 * vip_missing - refuse a command
 * @info:	of the command
 * @attribute:	that it should have
 */
int vip_missing(struct genl_info *info, int attribute)
{
	NL_SET_ERR_ATTR_MISS(info->extack, NULL, attribute);
	GENL_SET_ERR_MSG(info, "an attribute that the command needs is missing");
	return -EINVAL;
}

static int vip_check_ports(struct genl_info *info)
{
	const struct nlattr *attribute = info->attrs[VIP_SHIM_A_PORTS];
	const struct vip_shim_port *port = attribute ? nla_data(attribute) : NULL;
	int left = attribute ? nla_len(attribute) : 0;

	for (; left >= (int)sizeof(*port); left -= sizeof(*port), port++) {
		if (port->zero || !port->number ||
		    (port->protocol != IPPROTO_TCP && port->protocol != IPPROTO_UDP &&
		     port->protocol != IPPROTO_SCTP))
			break;
	}
	if (!left)
		return 0;
	NL_SET_ERR_MSG_ATTR(info->extack, attribute,
			    "a port is a number, not 0, of tcp, udp or sctp");
	return -EINVAL;
}

static int vip_set_service(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct nlattr **attrs = info->attrs;
	struct vip_state *state;
	u32 flags;
	int err;

	if (!attrs[VIP_SHIM_A_MARK])
		return vip_missing(info, VIP_SHIM_A_MARK);
	err = vip_check_ports(info);
	if (err)
		return err;
	flags = attrs[VIP_SHIM_A_FLAGS] ? nla_get_u32(attrs[VIP_SHIM_A_FLAGS]) : 0;
	mutex_lock(&vn->lock);
	state = vip_target_made(vn, info);
	err = PTR_ERR_OR_ZERO(state);
	if (!err && (attrs[VIP_SHIM_A_PORTS] || flags & VIP_SHIM_F_PING))
		err = vip_hook_defrag(vn);
	if (!err)
		err = vip_service_set(state, nla_get_u32(attrs[VIP_SHIM_A_MARK]),
				      flags, attrs[VIP_SHIM_A_PORTS], info->extack);
	if (!err)
		vip_changed(vn, info);
	vip_net_settle(vn);
	mutex_unlock(&vn->lock);
	return err;
}

static int vip_del_service(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct vip_state *state;
	int err;

	if (!info->attrs[VIP_SHIM_A_MARK])
		return vip_missing(info, VIP_SHIM_A_MARK);
	mutex_lock(&vn->lock);
	state = vip_target(vn, info);
	err = PTR_ERR_OR_ZERO(state);
	if (!err)
		err = vip_service_remove(state, nla_get_u32(info->attrs[VIP_SHIM_A_MARK]),
					 info->extack);
	if (!err)
		vip_changed(vn, info);
	vip_net_settle(vn);
	mutex_unlock(&vn->lock);
	return err;
}

static int vip_begin(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct vip_state *state;
	int err = 0;

	state = vip_state_new(&vn->lock);
	if (!state)
		return -ENOMEM;
	mutex_lock(&vn->lock);
	if (vn->staged && vn->stager != info->snd_portid) {
		GENL_SET_ERR_MSG(info, "another socket has opened a state");
		err = -EBUSY;
	} else {
		swap(vn->staged, state);
		WRITE_ONCE(vn->stager, info->snd_portid);
	}
	vip_state_put(state);
	vip_net_settle(vn);
	mutex_unlock(&vn->lock);
	return err;
}

static int vip_commit(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	int err = 0;

	mutex_lock(&vn->lock);
	if (!vn->staged || vn->stager != info->snd_portid) {
		GENL_SET_ERR_MSG(info, "this socket has not opened a state with BEGIN");
		err = -EINVAL;
	} else {
		err = vip_hook_start(vn, info->extack);
	}
	if (!err) {
		vip_state_own(vn->staged, info->attrs[VIP_SHIM_A_OWNER]);
		vip_net_switch(vn, vn->staged);
		vn->staged = NULL;
		vn->generation++;
		vip_net_unstage(vn);
	}
	mutex_unlock(&vn->lock);
	return err;
}

static int vip_flush(struct sk_buff *skb, struct genl_info *info)
{
	vip_net_flush(vip_net(genl_info_net(info)));
	return 0;
}

static int vip_set_role(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct vip_state *state;
	int err;

	if (!info->attrs[VIP_SHIM_A_ROLE])
		return vip_missing(info, VIP_SHIM_A_ROLE);
	mutex_lock(&vn->lock);
	state = vip_target(vn, info);
	err = PTR_ERR_OR_ZERO(state);
	if (!err) {
		WRITE_ONCE(state->role, nla_get_u32(info->attrs[VIP_SHIM_A_ROLE]));
		vip_changed(vn, info);
	}
	mutex_unlock(&vn->lock);
	return err;
}

static int vip_info(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct vip_state *state;
	struct sk_buff *reply;
	void *header;
	int err = -EMSGSIZE;

	reply = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	header = genlmsg_put_reply(reply, info, &vip_family, 0, VIP_SHIM_CMD_INFO);
	if (!header)
		goto free_reply;
	mutex_lock(&vn->lock);
	state = vip_state_locked(vn);
	err = nla_put_u32(reply, VIP_SHIM_A_VERSION, VIP_SHIM_VERSION) ?:
	      nla_put_u32(reply, VIP_SHIM_A_GENERATION, vn->generation) ?:
	      nla_put_u32(reply, VIP_SHIM_A_SERVICES, state ? state->count : 0) ?:
	      nla_put_u64_64bit(reply, VIP_SHIM_A_COUNT,
				state ? vip_state_count(state) : 0, VIP_SHIM_A_PAD) ?:
	      nla_put(reply, VIP_SHIM_A_OWNER, state ? state->owner_size : 0,
		      state ? state->owner : NULL) ?:
	      nla_put_u32(reply, VIP_SHIM_A_ROLE,
			  state ? state->role : VIP_SHIM_ROLE_ACTIVE);
	mutex_unlock(&vn->lock);
	if (err)
		goto free_reply;
	genlmsg_end(reply, header);
	return genlmsg_reply(reply, info);

free_reply:
	nlmsg_free(reply);
	return err;
}

#define VIP_DO(command, function) { \
	.cmd = VIP_SHIM_CMD_##command, \
	.doit = function, \
	.flags = GENL_ADMIN_PERM, \
}

#define VIP_DUMP(command, function) { \
	.cmd = VIP_SHIM_CMD_##command, \
	.start = function, \
	.dumpit = vip_dump_go_on, \
	.done = vip_dump_end, \
	.flags = GENL_ADMIN_PERM, \
}

static const struct genl_ops vip_ops[] = {
	VIP_DO(INFO, vip_info),
	VIP_DO(SET_SERVICE, vip_set_service),
	VIP_DO(DEL_SERVICE, vip_del_service),
	VIP_DUMP(GET_SERVICE, vip_dump_services),
	VIP_DO(ADD, vip_add_prefixes),
	VIP_DO(DEL, vip_del_prefixes),
	VIP_DUMP(GET, vip_dump_prefixes),
	VIP_DO(BEGIN, vip_begin),
	VIP_DO(COMMIT, vip_commit),
	VIP_DO(FLUSH, vip_flush),
	VIP_DO(SET_ROLE, vip_set_role),
};

struct genl_family vip_family __ro_after_init = {
	.name = VIP_SHIM_NAME,
	.version = VIP_SHIM_VERSION,
	.maxattr = VIP_SHIM_A_MAX,
	.policy = vip_policy,
	.netnsok = true,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = vip_ops,
	.n_ops = ARRAY_SIZE(vip_ops),
	.resv_start_op = VIP_SHIM_CMD_UNSPEC + 1,
};

/* A socket is closed: drops the state that it has opened */
static int vip_released(struct notifier_block *block, unsigned long event, void *data)
{
	struct netlink_notify *notify = data;
	struct vip_net *vn;

	if (event != NETLINK_URELEASE || notify->protocol != NETLINK_GENERIC)
		return NOTIFY_DONE;
	vn = vip_net(notify->net);
	if (READ_ONCE(vn->stager) != notify->portid)
		return NOTIFY_DONE;
	mutex_lock(&vn->lock);
	if (vn->stager == notify->portid)
		vip_net_unstage(vn);
	mutex_unlock(&vn->lock);
	return NOTIFY_DONE;
}

static struct notifier_block vip_notifier = { .notifier_call = vip_released };

int __init vip_netlink_init(void)
{
	int err = netlink_register_notifier(&vip_notifier);

	if (err)
		return err;
	err = genl_register_family(&vip_family);
	if (err)
		netlink_unregister_notifier(&vip_notifier);
	return err;
}

void vip_netlink_exit(void)
{
	genl_unregister_family(&vip_family);
	netlink_unregister_notifier(&vip_notifier);
}
