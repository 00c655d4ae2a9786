// SPDX-License-Identifier: GPL-2.0-or-later
/* What there is, told over netlink: a message per service, or per many prefixes. */

#include <net/genetlink.h>
#include <net/sock.h>

#include "hook.h"
#include "netlink.h"

static void *vip_begin_message(struct sk_buff *skb, struct netlink_callback *cb,
			       u8 command)
{
	void *header = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				   cb->nlh->nlmsg_seq, &vip_family, NLM_F_MULTI,
				   command);

	if (header)
		genl_dump_check_consistent(cb, header);
	return header;
}

static int vip_put_count(struct sk_buff *skb, int attribute, u64 count)
{
	return nla_put_u64_64bit(skb, attribute, count, VIP_SHIM_A_PAD);
}

static int vip_put_ports(struct sk_buff *skb, const struct vip_config *config)
{
	struct vip_shim_port *port;
	struct nlattr *attribute;
	u32 i;

	if (!config->count)
		return 0;
	attribute = nla_reserve(skb, VIP_SHIM_A_PORTS, config->count * sizeof(*port));
	if (!attribute)
		return -EMSGSIZE;
	port = nla_data(attribute);
	for (i = 0; i < config->count; i++, port++) {
		port->number = cpu_to_be16(config->ports[i] & 0xffff);
		port->protocol = config->ports[i] >> 16;
		port->zero = 0;
	}
	return 0;
}

static int vip_put_service(struct sk_buff *skb, struct vip_net *vn,
			   const struct vip_service *service)
{
	const struct vip_config *config;

	config = rcu_dereference_protected(service->config,
					   lockdep_is_held(&vn->lock));
	return nla_put_u32(skb, VIP_SHIM_A_MARK, service->mark) ?:
	       nla_put_u32(skb, VIP_SHIM_A_FLAGS, config->flags) ?:
	       vip_put_count(skb, VIP_SHIM_A_COUNT, service->prefixes) ?:
	       vip_put_count(skb, VIP_SHIM_A_ACCEPTED,
			     vip_service_count(service, VIP_ACCEPTED)) ?:
	       vip_put_count(skb, VIP_SHIM_A_LEFT_OVER,
			     vip_service_count(service, VIP_LEFT_OVER)) ?:
	       vip_put_count(skb, VIP_SHIM_A_REFUSED,
			     vip_service_count(service, VIP_REFUSED)) ?:
	       vip_put_ports(skb, config);
}

/**
 * vip_dump_begin - before the first message of a dump
 * @cb:		asks for room for any message
 */
int vip_dump_begin(struct netlink_callback *cb)
{
	cb->min_dump_alloc = VIP_SHIM_MAX_PORTS * sizeof(struct vip_shim_port) +
			     NLMSG_GOODSIZE;
	return 0;
}

/**
 * vip_dump_services - VIP_SHIM_CMD_GET_SERVICE
 * @skb:	to fill
 * @cb:		args[0]: the mark to go on from; args[1]: that there is none
 */
int vip_dump_services(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct vip_net *vn = vip_net(sock_net(skb->sk));
	struct vip_service *service = NULL;
	unsigned long mark = cb->args[0];
	struct vip_state *state;
	void *header;

	mutex_lock(&vn->lock);
	cb->seq = vn->generation;
	state = vip_state_locked(vn);
	if (state && !cb->args[1])
		service = xa_find(&state->services, &mark, ULONG_MAX, XA_PRESENT);
	while (service) {
		header = vip_begin_message(skb, cb, VIP_SHIM_CMD_GET_SERVICE);
		if (!header)
			break;
		if (vip_put_service(skb, vn, service)) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
		service = xa_find_after(&state->services, &mark, ULONG_MAX, XA_PRESENT);
	}
	cb->args[0] = mark;
	cb->args[1] = !service;
	mutex_unlock(&vn->lock);
	return service && !skb->len ? -EMSGSIZE : skb->len;
}

/* Where a dump of prefixes has come to */
struct vip_cursor {
	u32 plane;
	u8 bits;		/* 0: it has not begun */
	struct vip_prefix last;
};

/* On to the next prefix; returns the service that has it, or NULL at the end */
static struct vip_service *vip_cursor_next(struct vip_state *state,
					   struct vip_cursor *cursor)
{
	void *service;

	if (!cursor->bits)
		cursor->bits = 32;
	while (cursor->plane < state->planes) {
		if (vip_trie_next(vip_trie_of(state, cursor->plane, cursor->bits),
				  &cursor->last, &service))
			return service;
		memset(&cursor->last, 0, sizeof(cursor->last));
		cursor->plane += cursor->bits == 128;
		cursor->bits = cursor->bits == 32 ? 128 : 32;
	}
	return NULL;
}

static int vip_append(struct sk_buff *skb, const struct vip_cursor *cursor)
{
	struct vip_shim_prefix4 v4 = { .length = cursor->last.length };
	struct vip_shim_prefix6 v6 = { .length = cursor->last.length };
	unsigned int i;

	if (cursor->bits == 32) {
		v4.address = cpu_to_be32(cursor->last.word[0]);
		return nla_append(skb, sizeof(v4), &v4);
	}
	for (i = 0; i < VIP_KEY_WORDS; i++)
		v6.address[i] = cpu_to_be32(cursor->last.word[i]);
	return nla_append(skb, sizeof(v6), &v6);
}

/*
 * As many of the prefixes that follow each other, of one service and plane, as
 * have room. @service and @next: the first that is not in, if any is left.
 */
static int vip_put_prefixes(struct sk_buff *skb, struct vip_state *state,
			    struct vip_cursor *cursor, struct vip_cursor *next,
			    struct vip_service **service)
{
	const struct vip_service *whose = *service;
	struct vip_cursor first = *next;
	struct nlattr *array;

	if (nla_put_u32(skb, VIP_SHIM_A_MARK, whose->mark) ||
	    nla_put_u32(skb, VIP_SHIM_A_PLANE, first.plane))
		return -EMSGSIZE;
	array = nla_reserve(skb, first.bits == 32 ? VIP_SHIM_A_PREFIXES4 :
						    VIP_SHIM_A_PREFIXES6, 0);
	if (!array || vip_append(skb, &first))
		return -EMSGSIZE;
	do {
		*cursor = *next;
		*service = vip_cursor_next(state, next);
	} while (*service == whose && next->plane == first.plane &&
		 next->bits == first.bits && !vip_append(skb, next));
	array->nla_len = skb_tail_pointer(skb) - (unsigned char *)array;
	return 0;
}

/**
 * vip_dump_prefixes - VIP_SHIM_CMD_GET
 * @skb:	to fill
 * @cb:		ctx: a struct vip_cursor, the last that was told
 */
int vip_dump_prefixes(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct vip_cursor *cursor = (struct vip_cursor *)cb->ctx, next = *cursor;
	struct vip_net *vn = vip_net(sock_net(skb->sk));
	struct vip_service *service = NULL;
	struct vip_state *state;
	void *header;

	BUILD_BUG_ON(sizeof(*cursor) > sizeof(cb->ctx));
	mutex_lock(&vn->lock);
	cb->seq = vn->generation;
	state = vip_state_locked(vn);
	if (state)
		service = vip_cursor_next(state, &next);
	while (service) {
		header = vip_begin_message(skb, cb, VIP_SHIM_CMD_GET);
		if (!header)
			break;
		if (vip_put_prefixes(skb, state, cursor, &next, &service)) {
			genlmsg_cancel(skb, header);
			break;
		}
		genlmsg_end(skb, header);
	}
	mutex_unlock(&vn->lock);
	return skb->len;
}
