// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Dumps over netlink: a message for each service, or for many prefixes. All messages
 * of a dump are made when it begins, under the lock. So it shows one moment, whatever
 * is changed while it is read.
 */

#include <net/genetlink.h>
#include <net/sock.h>

#include "hook.h"
#include "netlink.h"

/* Messages wait in pages; one has room for the longest */
#define VIP_PAGE (VIP_SHIM_MAX_PORTS * sizeof(struct vip_shim_port) + NLMSG_GOODSIZE)

/**
 * struct vip_dump - a dump that is being made
 * @cb:		netlink's state of this dump
 * @pages:	the first page; they are linked
 * @page:	the last of them
 */
struct vip_dump {
	struct netlink_callback *cb;
	struct sk_buff *pages;
	struct sk_buff *page;
};

static int vip_page_add(struct vip_dump *dump)
{
	struct sk_buff *page = alloc_skb(VIP_PAGE, GFP_KERNEL_ACCOUNT);

	if (!page)
		return -ENOMEM;
	skb_reserve(page, skb_tailroom(page) - VIP_PAGE);
	if (dump->page)
		dump->page->next = page;
	else
		dump->pages = page;
	dump->page = page;
	cond_resched();
	return 0;
}

static void *vip_begin_message(const struct vip_dump *dump, u8 command)
{
	const struct netlink_callback *cb = dump->cb;

	return genlmsg_put(dump->page, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq,
			   &vip_family, NLM_F_MULTI, command);
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

static int vip_tell_service(const struct vip_dump *dump, struct vip_net *vn,
			    const struct vip_service *service)
{
	void *header = vip_begin_message(dump, VIP_SHIM_CMD_GET_SERVICE);

	if (!header)
		return -EMSGSIZE;
	if (vip_put_service(dump->page, vn, service)) {
		genlmsg_cancel(dump->page, header);
		return -EMSGSIZE;
	}
	genlmsg_end(dump->page, header);
	return 0;
}

static int vip_tell_services(struct vip_dump *dump, struct vip_net *vn,
			     struct vip_state *state)
{
	struct vip_service *service;
	unsigned long mark;
	int err = 0;

	xa_for_each(&state->services, mark, service) {
		err = vip_tell_service(dump, vn, service);
		if (err == -EMSGSIZE)
			err = vip_page_add(dump) ?: vip_tell_service(dump, vn, service);
		if (err)
			break;
	}
	return err;
}

/* The position of a dump of prefixes */
struct vip_cursor {
	u32 plane;
	u8 bits;		/* 0: it has not begun */
	struct vip_prefix last;
};

/* Goes to the next prefix; returns the service that has it, or NULL at the end */
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
 * Puts consecutive prefixes of one service and plane into a message, as many as fit.
 * @next and @service: become the first prefix that is left, if any, and its service.
 */
static int vip_put_prefixes(struct sk_buff *skb, struct vip_state *state,
			    struct vip_cursor *next, struct vip_service **service)
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
		*service = vip_cursor_next(state, next);
	} while (*service == whose && next->plane == first.plane &&
		 next->bits == first.bits && !vip_append(skb, next));
	array->nla_len = skb_tail_pointer(skb) - (unsigned char *)array;
	return 0;
}

static int vip_tell_prefixes(struct vip_dump *dump, struct vip_net *vn,
			     struct vip_state *state)
{
	struct vip_cursor next = {};
	struct vip_service *service = vip_cursor_next(state, &next);
	void *header;
	int err = 0;

	while (service && !err) {
		header = vip_begin_message(dump, VIP_SHIM_CMD_GET);
		if (header && !vip_put_prefixes(dump->page, state, &next, &service)) {
			genlmsg_end(dump->page, header);
			continue;
		}
		genlmsg_cancel(dump->page, header);
		err = vip_page_add(dump);
	}
	return err;
}

typedef int vip_tell(struct vip_dump *dump, struct vip_net *vn, struct vip_state *state);

static int vip_dump_begin(struct netlink_callback *cb, vip_tell *tell)
{
	struct vip_net *vn = vip_net(sock_net(cb->skb->sk));
	struct vip_dump dump = { .cb = cb };
	struct vip_state *state;
	int err;

	cb->min_dump_alloc = VIP_PAGE;
	mutex_lock(&vn->lock);
	state = vip_state_locked(vn);
	err = vip_page_add(&dump);
	if (!err && state)
		err = tell(&dump, vn, state);
	mutex_unlock(&vn->lock);
	if (err)
		kfree_skb_list(dump.pages);
	else
		cb->args[0] = (long)dump.pages;
	return err;
}

/**
 * vip_dump_services - VIP_SHIM_CMD_GET_SERVICE begins
 * @cb:		args[0]: becomes the first page that is not read yet
 */
int vip_dump_services(struct netlink_callback *cb)
{
	return vip_dump_begin(cb, vip_tell_services);
}

/**
 * vip_dump_prefixes - VIP_SHIM_CMD_GET begins
 * @cb:		args[0]: becomes the first page that is not read yet
 */
int vip_dump_prefixes(struct netlink_callback *cb)
{
	return vip_dump_begin(cb, vip_tell_prefixes);
}

/**
 * vip_dump_go_on - hand over the next messages of a dump
 * @skb:	to fill
 * @cb:		args[0]: the first page that is not read yet
 */
int vip_dump_go_on(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct sk_buff *page;

	while ((page = (struct sk_buff *)cb->args[0]) && page->len <= skb_tailroom(skb)) {
		skb_put_data(skb, page->data, page->len);
		cb->args[0] = (long)page->next;
		consume_skb(page);
	}
	return skb->len ?: (page ? -EMSGSIZE : 0);
}

/**
 * vip_dump_end - forget what is left of a dump
 * @cb:		args[0]: the first page that is not read yet
 */
int vip_dump_end(struct netlink_callback *cb)
{
	kfree_skb_list((struct sk_buff *)cb->args[0]);
	return 0;
}
