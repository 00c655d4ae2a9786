// SPDX-License-Identifier: GPL-2.0-or-later
/* The generic netlink family that uapi/vip_shim.h specifies. */

#include <linux/module.h>
#include <net/genetlink.h>
#include <net/sock.h>

#include "hook.h"
#include "netlink.h"

static struct genl_family vip_family;

static const struct nla_policy vip_policy[VIP_SHIM_A_MAX + 1] = {
	[VIP_SHIM_A_MARK] = NLA_POLICY_MIN(NLA_U32, 1),
	[VIP_SHIM_A_FLAGS] = NLA_POLICY_MASK(NLA_U32, VIP_SHIM_F_ALL),
	[VIP_SHIM_A_PORTS] = { .type = NLA_BINARY,
			       .len = VIP_SHIM_MAX_PORTS * sizeof(struct vip_shim_port) },
	[VIP_SHIM_A_PLANE] = NLA_POLICY_MAX(NLA_U32, VIP_SHIM_MAX_PLANES - 1),
	[VIP_SHIM_A_PREFIXES4] = { .type = NLA_BINARY },
	[VIP_SHIM_A_PREFIXES6] = { .type = NLA_BINARY },
	[VIP_SHIM_A_STAGED] = { .type = NLA_FLAG },
};

/* The state that a command is about; one in use is made if there is none */
static struct vip_state *vip_target(struct vip_net *vn, struct genl_info *info)
{
	struct vip_state *state = vip_state_locked(vn);
	int err;

	if (info->attrs[VIP_SHIM_A_STAGED]) {
		if (vn->staged && vn->stager == info->snd_portid)
			return vn->staged;
		GENL_SET_ERR_MSG(info, "this socket has not opened a state with BEGIN");
		return ERR_PTR(-EINVAL);
	}
	if (state)
		return state;
	err = vip_hook_start(vn, info->extack);
	if (err)
		return ERR_PTR(err);
	state = vip_state_new(&vn->lock);
	if (!state) {
		vip_hook_stop(vn);
		return ERR_PTR(-ENOMEM);
	}
	rcu_assign_pointer(vn->state, state);
	return state;
}

static int vip_missing(struct genl_info *info, int attribute)
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
	int err;

	if (!attrs[VIP_SHIM_A_MARK])
		return vip_missing(info, VIP_SHIM_A_MARK);
	err = vip_check_ports(info);
	if (err)
		return err;
	mutex_lock(&vn->lock);
	state = vip_target(vn, info);
	err = PTR_ERR_OR_ZERO(state);
	if (!err && attrs[VIP_SHIM_A_PORTS])
		err = vip_hook_defrag(vn);
	if (!err)
		err = vip_service_set(state, nla_get_u32(attrs[VIP_SHIM_A_MARK]),
				      attrs[VIP_SHIM_A_FLAGS] ?
				      nla_get_u32(attrs[VIP_SHIM_A_FLAGS]) : 0,
				      attrs[VIP_SHIM_A_PORTS], info->extack);
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
	mutex_unlock(&vn->lock);
	return err;
}

/* An array of prefixes of one IP version */
struct vip_array {
	const struct nlattr *attribute;
	u8 bits;
	u32 count;
};

static void vip_unpack(const struct vip_array *array, u32 at,
		       struct vip_prefix *prefix)
{
	unsigned int i;

	memset(prefix, 0, sizeof(*prefix));
	if (array->bits == 32) {
		const struct vip_shim_prefix4 *given = nla_data(array->attribute);

		prefix->word[0] = be32_to_cpu(given[at].address);
		prefix->length = given[at].length;
	} else {
		const struct vip_shim_prefix6 *given = nla_data(array->attribute);

		for (i = 0; i < VIP_KEY_WORDS; i++)
			prefix->word[i] = be32_to_cpu(given[at].address[i]);
		prefix->length = given[at].length;
	}
}

static bool vip_prefix_is_valid(const struct vip_prefix *prefix, u8 bits)
{
	unsigned int i;

	if (!prefix->length || prefix->length > bits)
		return false;
	for (i = 0; i < bits / 32; i++) {
		int inside = clamp(prefix->length - (int)i * 32, 0, 32);

		if ((u64)prefix->word[i] << inside & U32_MAX)
			return false;
	}
	return true;
}

static int vip_check_array(struct vip_array *array, struct genl_info *info,
			   int attribute, u8 bits)
{
	size_t size = bits == 32 ? sizeof(struct vip_shim_prefix4) :
				   sizeof(struct vip_shim_prefix6);
	struct vip_prefix prefix;
	u32 at;

	array->attribute = info->attrs[attribute];
	array->bits = bits;
	array->count = array->attribute ? nla_len(array->attribute) / size : 0;
	if (array->attribute && nla_len(array->attribute) % size)
		goto malformed;
	for (at = 0; at < array->count; at++) {
		vip_unpack(array, at, &prefix);
		if (!vip_prefix_is_valid(&prefix, bits))
			goto malformed;
	}
	return 0;

malformed:
	NL_SET_ERR_MSG_ATTR(info->extack, array->attribute,
			    "a prefix has a length, and no bit set beyond it");
	return -EINVAL;
}

static int vip_check_arrays(struct vip_array arrays[2], struct genl_info *info)
{
	return vip_check_array(&arrays[0], info, VIP_SHIM_A_PREFIXES4, 32) ?:
	       vip_check_array(&arrays[1], info, VIP_SHIM_A_PREFIXES6, 128);
}

static u32 vip_plane_of(const struct genl_info *info)
{
	const struct nlattr *plane = info->attrs[VIP_SHIM_A_PLANE];

	return plane ? nla_get_u32(plane) : 0;
}

/* Takes the first @count prefixes back; @before: whose they were */
static void vip_undo(struct vip_state *state, u32 plane,
		     const struct vip_array *array, u32 count,
		     struct vip_service **before)
{
	struct vip_prefix prefix;

	while (count--) {
		vip_unpack(array, count, &prefix);
		if (before[count])
			WARN_ON_ONCE(vip_state_add(state, before[count], plane,
						   array->bits, &prefix));
		else
			vip_state_remove(state, plane, array->bits, &prefix);
	}
}

/* All of an array or nothing; @before is filled */
static int vip_add_array(struct vip_state *state, struct vip_service *service,
			 u32 plane, const struct vip_array *array,
			 struct vip_service **before)
{
	struct vip_prefix prefix;
	u32 at;
	int err;

	for (at = 0; at < array->count; at++) {
		vip_unpack(array, at, &prefix);
		before[at] = vip_trie_get(vip_trie_of(state, plane, array->bits),
					  &prefix);
		err = vip_state_add(state, service, plane, array->bits, &prefix);
		if (err) {
			vip_undo(state, plane, array, at, before);
			return err;
		}
	}
	return 0;
}

static int vip_add_arrays(struct vip_state *state, struct vip_array arrays[2],
			  struct genl_info *info)
{
	struct vip_service *service, **before;
	u32 plane = vip_plane_of(info);
	int err;

	service = xa_load(&state->services,
			  nla_get_u32(info->attrs[VIP_SHIM_A_MARK]));
	if (!service) {
		GENL_SET_ERR_MSG(info, "no service has this mark");
		return -ENOENT;
	}
	if (vip_state_count(state) + arrays[0].count + arrays[1].count >
	    VIP_SHIM_MAX_PREFIXES) {
		GENL_SET_ERR_MSG(info, "there would be too many prefixes");
		return -ENOSPC;
	}
	before = kvcalloc(arrays[0].count + arrays[1].count, sizeof(*before),
			  GFP_KERNEL_ACCOUNT);
	if (!before)
		return -ENOMEM;
	err = vip_add_array(state, service, plane, &arrays[0], before);
	if (!err) {
		err = vip_add_array(state, service, plane, &arrays[1],
				    before + arrays[0].count);
		if (err)
			vip_undo(state, plane, &arrays[0], arrays[0].count, before);
	}
	kvfree(before);
	return err;
}

static int vip_add(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct vip_array arrays[2];
	struct vip_state *state;
	int err;

	if (!info->attrs[VIP_SHIM_A_MARK])
		return vip_missing(info, VIP_SHIM_A_MARK);
	err = vip_check_arrays(arrays, info);
	if (err)
		return err;
	mutex_lock(&vn->lock);
	state = vip_target(vn, info);
	err = PTR_ERR_OR_ZERO(state);
	if (!err)
		err = vip_add_arrays(state, arrays, info);
	vn->generation++;
	mutex_unlock(&vn->lock);
	return err;
}

static int vip_del(struct sk_buff *skb, struct genl_info *info)
{
	struct vip_net *vn = vip_net(genl_info_net(info));
	struct vip_array arrays[2];
	struct vip_prefix prefix;
	struct vip_state *state;
	unsigned int i;
	u32 at;
	int err;

	err = vip_check_arrays(arrays, info);
	if (err)
		return err;
	mutex_lock(&vn->lock);
	state = vip_target(vn, info);
	err = PTR_ERR_OR_ZERO(state);
	for (i = 0; !err && i < 2; i++) {
		for (at = 0; at < arrays[i].count; at++) {
			vip_unpack(&arrays[i], at, &prefix);
			vip_state_remove(state, vip_plane_of(info),
					 arrays[i].bits, &prefix);
		}
	}
	vn->generation++;
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
		vn->stager = info->snd_portid;
	}
	vip_state_destroy(state);
	mutex_unlock(&vn->lock);
	return err;
}

/* Puts a state in use; the one that was in use is freed */
static void vip_switch(struct vip_net *vn, struct vip_state *state)
{
	struct vip_state *old = vip_state_locked(vn);

	if (old && state)
		vip_state_inherit(state, old);
	rcu_assign_pointer(vn->state, state);
	vn->generation++;
	synchronize_rcu();
	vip_state_destroy(old);
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
		vip_switch(vn, vn->staged);
		vn->staged = NULL;
	}
	mutex_unlock(&vn->lock);
	return err;
}

/**
 * vip_net_flush - forget everything
 * @vn:		of the namespace
 */
void vip_net_flush(struct vip_net *vn)
{
	mutex_lock(&vn->lock);
	vip_hook_stop(vn);
	vip_hook_defrag_end(vn);
	vip_switch(vn, NULL);
	vip_state_destroy(vn->staged);
	vn->staged = NULL;
	mutex_unlock(&vn->lock);
}

static int vip_flush(struct sk_buff *skb, struct genl_info *info)
{
	vip_net_flush(vip_net(genl_info_net(info)));
	return 0;
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
	      nla_put_u32(reply, VIP_SHIM_A_SERVICES, state ? state->count : 0) ?:
	      nla_put_u64_64bit(reply, VIP_SHIM_A_COUNT,
				state ? vip_state_count(state) : 0, VIP_SHIM_A_PAD);
	mutex_unlock(&vn->lock);
	if (err)
		goto free_reply;
	genlmsg_end(reply, header);
	return genlmsg_reply(reply, info);

free_reply:
	nlmsg_free(reply);
	return err;
}

static int vip_put_service(struct sk_buff *skb, struct vip_net *vn,
			   const struct vip_service *service)
{
	struct vip_config *config = rcu_dereference_protected(service->config,
							      lockdep_is_held(&vn->lock));
	struct vip_shim_port *port;
	struct nlattr *ports;
	u32 i;

	if (nla_put_u32(skb, VIP_SHIM_A_MARK, service->mark) ||
	    nla_put_u32(skb, VIP_SHIM_A_FLAGS, config->flags) ||
	    nla_put_u64_64bit(skb, VIP_SHIM_A_COUNT, service->prefixes, VIP_SHIM_A_PAD) ||
	    nla_put_u64_64bit(skb, VIP_SHIM_A_ACCEPTED,
			      vip_service_count(service, VIP_ACCEPTED), VIP_SHIM_A_PAD) ||
	    nla_put_u64_64bit(skb, VIP_SHIM_A_LEFT_OVER,
			      vip_service_count(service, VIP_LEFT_OVER), VIP_SHIM_A_PAD) ||
	    nla_put_u64_64bit(skb, VIP_SHIM_A_REFUSED,
			      vip_service_count(service, VIP_REFUSED), VIP_SHIM_A_PAD))
		return -EMSGSIZE;
	ports = nla_reserve(skb, VIP_SHIM_A_PORTS, config->count * sizeof(*port));
	if (!ports)
		return -EMSGSIZE;
	port = nla_data(ports);
	for (i = 0; i < config->count; i++, port++) {
		port->number = cpu_to_be16(config->ports[i] & 0xffff);
		port->protocol = config->ports[i] >> 16;
		port->zero = 0;
	}
	return 0;
}

static void *vip_dump_header(struct sk_buff *skb, struct netlink_callback *cb,
			     struct vip_net *vn, u8 command)
{
	void *header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				   cb->nlh->nlmsg_seq, &vip_family, NLM_F_MULTI,
				   command);

	cb->seq = vn->generation;
	if (header)
		genl_dump_check_consistent(cb, header);
	return header;
}

static int vip_get_services(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct vip_net *vn = vip_net(sock_net(skb->sk));
	unsigned long mark = cb->args[0];
	struct vip_service *service;
	struct vip_state *state;
	void *header;

	mutex_lock(&vn->lock);
	state = vip_state_locked(vn);
	service = state ? xa_find(&state->services, &mark, ULONG_MAX, XA_PRESENT) : NULL;
	while (service) {
		header = vip_dump_header(skb, cb, vn, VIP_SHIM_CMD_GET_SERVICE);
		if (!header)
			break;
		if (vip_put_service(skb, vn, service)) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
		service = xa_find_after(&state->services, &mark, ULONG_MAX, XA_PRESENT);
	}
	cb->args[0] = service ? mark : ULONG_MAX;
	mutex_unlock(&vn->lock);
	return skb->len;
}

/* Where a dump of prefixes has come to */
struct vip_cursor {
	u32 plane;
	u8 bits;		/* 0: it has not begun */
	struct vip_prefix last;
};

static bool vip_cursor_next(struct vip_state *state, struct vip_cursor *cursor,
			    struct vip_service **service)
{
	void *value;

	if (!cursor->bits)
		cursor->bits = 32;
	while (cursor->plane < state->planes) {
		if (vip_trie_next(vip_trie_of(state, cursor->plane, cursor->bits),
				  &cursor->last, &value)) {
			*service = value;
			return true;
		}
		memset(&cursor->last, 0, sizeof(cursor->last));
		cursor->plane += cursor->bits == 128;
		cursor->bits = cursor->bits == 32 ? 128 : 32;
	}
	return false;
}

static int vip_put_prefix(struct sk_buff *skb, const struct vip_cursor *cursor,
			  const struct vip_service *service)
{
	struct vip_shim_prefix4 v4 = { .length = cursor->last.length };
	struct vip_shim_prefix6 v6 = { .length = cursor->last.length };
	unsigned int i;

	if (nla_put_u32(skb, VIP_SHIM_A_MARK, service->mark) ||
	    nla_put_u32(skb, VIP_SHIM_A_PLANE, cursor->plane))
		return -EMSGSIZE;
	if (cursor->bits == 32) {
		v4.address = cpu_to_be32(cursor->last.word[0]);
		return nla_put(skb, VIP_SHIM_A_PREFIXES4, sizeof(v4), &v4);
	}
	for (i = 0; i < VIP_KEY_WORDS; i++)
		v6.address[i] = cpu_to_be32(cursor->last.word[i]);
	return nla_put(skb, VIP_SHIM_A_PREFIXES6, sizeof(v6), &v6);
}

static int vip_get(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct vip_cursor *cursor = (struct vip_cursor *)cb->ctx, next;
	struct vip_net *vn = vip_net(sock_net(skb->sk));
	struct vip_service *service;
	struct vip_state *state;
	void *header;

	BUILD_BUG_ON(sizeof(*cursor) > sizeof(cb->ctx));
	mutex_lock(&vn->lock);
	state = vip_state_locked(vn);
	next = *cursor;
	while (state && vip_cursor_next(state, &next, &service)) {
		header = vip_dump_header(skb, cb, vn, VIP_SHIM_CMD_GET);
		if (!header)
			break;
		if (vip_put_prefix(skb, &next, service)) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
		*cursor = next;
	}
	mutex_unlock(&vn->lock);
	return skb->len;
}

static const struct genl_ops vip_ops[] = {
	{ .cmd = VIP_SHIM_CMD_INFO, .doit = vip_info },
	{ .cmd = VIP_SHIM_CMD_SET_SERVICE, .doit = vip_set_service,
	  .flags = GENL_UNS_ADMIN_PERM },
	{ .cmd = VIP_SHIM_CMD_DEL_SERVICE, .doit = vip_del_service,
	  .flags = GENL_UNS_ADMIN_PERM },
	{ .cmd = VIP_SHIM_CMD_GET_SERVICE, .dumpit = vip_get_services,
	  .flags = GENL_UNS_ADMIN_PERM },
	{ .cmd = VIP_SHIM_CMD_ADD, .doit = vip_add, .flags = GENL_UNS_ADMIN_PERM },
	{ .cmd = VIP_SHIM_CMD_DEL, .doit = vip_del, .flags = GENL_UNS_ADMIN_PERM },
	{ .cmd = VIP_SHIM_CMD_GET, .dumpit = vip_get, .flags = GENL_UNS_ADMIN_PERM },
	{ .cmd = VIP_SHIM_CMD_BEGIN, .doit = vip_begin, .flags = GENL_UNS_ADMIN_PERM },
	{ .cmd = VIP_SHIM_CMD_COMMIT, .doit = vip_commit, .flags = GENL_UNS_ADMIN_PERM },
	{ .cmd = VIP_SHIM_CMD_FLUSH, .doit = vip_flush, .flags = GENL_UNS_ADMIN_PERM },
};

static struct genl_family vip_family __ro_after_init = {
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

/* A state that a socket has opened goes with the socket */
static int vip_released(struct notifier_block *block, unsigned long event, void *data)
{
	struct netlink_notify *notify = data;
	struct vip_net *vn;

	if (event != NETLINK_URELEASE || notify->protocol != NETLINK_GENERIC)
		return NOTIFY_DONE;
	vn = vip_net(notify->net);
	mutex_lock(&vn->lock);
	if (vn->staged && vn->stager == notify->portid) {
		vip_state_destroy(vn->staged);
		vn->staged = NULL;
	}
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
