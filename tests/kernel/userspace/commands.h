/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the module's commands need of the kernel beyond kernel.h, in user space: one thread. */
#ifndef USERSPACE_COMMANDS_H
#define USERSPACE_COMMANDS_H

#include <limits.h>
#include <netinet/in.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "kernel.h"

typedef uint16_t u16;
typedef int64_t s64;
typedef uint16_t __be16;

#define U32_MAX UINT32_MAX
#define __percpu
#define __ro_after_init
#define THIS_MODULE NULL
#define GFP_KERNEL 0
#define WQ_UNBOUND 0
#define READ_ONCE(value) (value)
#define WRITE_ONCE(place, value) ((place) = (value))
#define WARN_ON_ONCE(condition) \
	do { if (condition) abort(); } while (0)
#define clamp(value, least, most) min((value) < (least) ? (least) : (value), most)
#define swap(left, right) \
	do { typeof(left) kept = (left); (left) = (right); (right) = kept; } while (0)
#define be16_to_cpu(half) ntohs(half)
#define cpu_to_be16(half) htons(half)
#define cpu_to_be32(word) htonl(word)

#define ERR_PTR(error) ((void *)(long)(error))
#define IS_ERR(pointer) ((unsigned long)(pointer) >= -4095UL)
#define PTR_ERR_OR_ZERO(pointer) (IS_ERR(pointer) ? (int)(long)(pointer) : 0)

static inline void mutex_lock(struct mutex *lock)
{
	if (lock->held++)
		abort();
}

static inline void mutex_unlock(struct mutex *lock)
{
	if (--lock->held)
		abort();
}

/* Memory */

#define kzalloc(size, flags) (fails() ? NULL : counted(calloc(1, size)))
#define kmalloc(size, flags) (fails() ? NULL : counted(malloc(size)))
#define kvzalloc kzalloc
#define kfree(object) uncounted(object)
#define kfree_rcu(object, member) uncounted(object)
#define rcu_replace_pointer(place, value, condition) \
	({ typeof(place) before = rcu_dereference_protected(place, condition); \
	   (place) = (value); before; })

/* Work that is done at once */

struct work_struct { int unused; };
struct rcu_work { struct work_struct work; void (*function)(struct work_struct *work); };
struct workqueue_struct { int unused; };

#define to_rcu_work(pointer) container_of(pointer, struct rcu_work, work)
#define INIT_RCU_WORK(pointer, what) ((pointer)->function = (what))
#define queue_rcu_work(queue, pointer) ((pointer)->function(&(pointer)->work))
#define alloc_workqueue(name, flags, most) ((struct workqueue_struct *)calloc(1, sizeof(struct workqueue_struct)))
#define destroy_workqueue(queue) free(queue)

/* Counters, on one processor */

typedef struct { int users; } refcount_t;
typedef struct { u64 value; } u64_stats_t;
struct u64_stats_sync { int unused; };

#define refcount_set(count, number) ((count)->users = (number))
#define refcount_inc(count) ((count)->users++)
#define refcount_dec_and_test(count) (!--(count)->users)
#define alloc_percpu_gfp(type, flags) ((type *)kzalloc(sizeof(type), flags))
#define free_percpu(object) uncounted(object)
#define for_each_possible_cpu(cpu) for (cpu = 0; cpu < 1; cpu++)
#define per_cpu_ptr(object, cpu) ((void)(cpu), (object))
#define get_cpu_ptr(object) (object)
#define put_cpu_ptr(object) ((void)(object))
#define u64_stats_init(sync) ((void)(sync))
#define u64_stats_inc(count) ((count)->value++)
#define u64_stats_read(count) ((count)->value)
#define u64_stats_update_begin_irqsave(sync) ((unsigned long)!(sync))
#define u64_stats_update_end_irqrestore(sync, flags) ((void)(sync), (void)(flags))
#define u64_stats_fetch_begin(sync) ((unsigned int)!(sync))
#define u64_stats_fetch_retry(sync, start) ((void)(sync), (void)(start), false)

#define sort(base, count, size, compare, exchange) qsort(base, count, size, compare)

/* An array that is a sorted list */

struct xa_entry { struct xa_entry *next; unsigned long index; void *object; };
struct xarray { struct xa_entry *first; };

static inline void xa_init(struct xarray *xa)
{
	xa->first = NULL;
}

/* The place of an index, or of the first one beyond it */
static inline struct xa_entry **xa_place(struct xarray *xa, unsigned long index)
{
	struct xa_entry **place = &xa->first;

	while (*place && (*place)->index < index)
		place = &(*place)->next;
	return place;
}

static inline void *xa_load(struct xarray *xa, unsigned long index)
{
	struct xa_entry *entry = *xa_place(xa, index);

	return entry && entry->index == index ? entry->object : NULL;
}

static inline void *xa_store(struct xarray *xa, unsigned long index, void *object, int flags)
{
	struct xa_entry **place = xa_place(xa, index), *entry = kmalloc(sizeof(*entry), flags);

	(void)flags;
	if (!entry)
		return ERR_PTR(-ENOMEM);
	*entry = (struct xa_entry){ *place, index, object };
	*place = entry;
	return NULL;
}

static inline void xa_erase(struct xarray *xa, unsigned long index)
{
	struct xa_entry **place = xa_place(xa, index), *entry = *place;

	*place = entry->next;
	uncounted(entry);
}

static inline void *xa_after(struct xarray *xa, unsigned long *index, unsigned long least)
{
	struct xa_entry *entry = *xa_place(xa, least);

	*index = entry ? entry->index : 0;
	return entry ? entry->object : NULL;
}

static inline void xa_destroy(struct xarray *xa)
{
	while (xa->first)
		xa_erase(xa, xa->first->index);
}

#define xa_err(found) PTR_ERR_OR_ZERO(found)
#define xa_for_each(xa, index, object) \
	for (object = xa_after(xa, &index, 0); object; object = xa_after(xa, &index, index + 1))

/* A network namespace */

struct net { void *generic; };
struct sock { struct net *net; };
struct nf_hook_ops { int unused; };
struct rhashtable { int unused; };

#define net_generic(net, id) ((void)(id), (net)->generic)
#define sock_net(sk) ((sk)->net)

/* Messages: buffers of exactly their size, for the sanitizer */

#define NLMSG_GOODSIZE 3776
#define NLMSG_DEFAULT_SIZE (NLMSG_GOODSIZE - NLMSG_HDRLEN)

struct sk_buff {
	struct sk_buff *next;
	struct sock *sk;
	u32 portid;
	unsigned int len, size;
	unsigned char *data;
};

#define NETLINK_CB(skb) (*(skb))
#define genlmsg_new(room, flags) alloc_skb(NLMSG_HDRLEN + (room), flags)
#define nlmsg_free kfree_skb
#define consume_skb kfree_skb
#define skb_reserve(skb, room) WARN_ON_ONCE(room)
#define skb_tailroom(skb) ((int)((skb)->size - (skb)->len))
#define skb_tail_pointer(skb) ((skb)->data + (skb)->len)
#define skb_put_data(skb, from, count) memcpy(skb_put(skb, count), from, count)

static inline struct sk_buff *alloc_skb(unsigned int size, int flags)
{
	struct sk_buff *skb = kzalloc(sizeof(*skb), flags);

	(void)flags;
	if (skb) {
		skb->size = size;
		skb->data = malloc(size);
	}
	return skb;
}

static inline void kfree_skb(struct sk_buff *skb)
{
	free(skb->data);
	kfree(skb);
}

static inline void kfree_skb_list(struct sk_buff *skb)
{
	while (skb) {
		struct sk_buff *next = skb->next;

		kfree_skb(skb);
		skb = next;
	}
}

static inline void *skb_put(struct sk_buff *skb, unsigned int count)
{
	void *tail = skb_tail_pointer(skb);

	WARN_ON_ONCE(skb_tailroom(skb) < (int)count);
	skb->len += count;
	return memset(tail, 0, count);
}

struct netlink_ext_ack { const char *words; };
struct genl_info {
	u32 snd_portid;
	u32 snd_seq;
	struct nlattr **attrs;
	struct netlink_ext_ack *extack;
	struct net *net;
};
struct netlink_callback {
	struct sk_buff *skb;
	const struct nlmsghdr *nlh;
	u32 min_dump_alloc;
	long args[6];
};

enum { NLA_UNSPEC, NLA_U32, NLA_BINARY, NLA_FLAG };
struct nla_policy { int type; u16 len; u32 least, most, mask; };
#define NLA_POLICY_MIN(kind, number) { .type = kind, .least = number, .most = U32_MAX }
#define NLA_POLICY_MAX(kind, number) { .type = kind, .most = number }
#define NLA_POLICY_MASK(kind, bits) { .type = kind, .most = U32_MAX, .mask = bits }

struct genl_ops {
	u8 cmd;
	u8 flags;
	int (*doit)(struct sk_buff *skb, struct genl_info *info);
	int (*start)(struct netlink_callback *cb);
	int (*dumpit)(struct sk_buff *skb, struct netlink_callback *cb);
	int (*done)(struct netlink_callback *cb);
};
struct genl_family {
	const char *name;
	unsigned int version, maxattr, n_ops, resv_start_op;
	const struct nla_policy *policy;
	bool netnsok, parallel_ops;
	void *module;
	const struct genl_ops *ops;
};

#define NL_SET_ERR_MSG(ack, text) ((ack)->words = (text))
#define NL_SET_ERR_MSG_ATTR(ack, attribute, text) ((void)(attribute), (ack)->words = (text))
#define NL_SET_ERR_ATTR_MISS(ack, nest, attribute) ((void)(ack), (void)(attribute))
#define GENL_SET_ERR_MSG(info, text) NL_SET_ERR_MSG((info)->extack, text)
#define genl_info_net(info) ((info)->net)
#define genl_register_family(family) ((void)(family), 0)
#define genl_unregister_family(family) ((void)(family))

#define nla_data(attribute) ((void *)((char *)(attribute) + NLA_HDRLEN))
#define nla_len(attribute) ((int)(attribute)->nla_len - NLA_HDRLEN)
#define nla_get_u32(attribute) (*(const u32 *)nla_data(attribute))

static inline void nla_memcpy(void *to, const struct nlattr *from, size_t room)
{
	memset(to, 0, room);
	memcpy(to, nla_data(from), min((size_t)nla_len(from), room));
}

static inline struct nlattr *nla_reserve(struct sk_buff *skb, int type, int size)
{
	struct nlattr *attribute;

	if (skb_tailroom(skb) < (int)NLA_ALIGN(NLA_HDRLEN + size))
		return NULL;
	attribute = skb_put(skb, NLA_ALIGN(NLA_HDRLEN + size));
	attribute->nla_type = type;
	attribute->nla_len = NLA_HDRLEN + size;
	return attribute;
}

static inline int nla_put(struct sk_buff *skb, int type, int size, const void *data)
{
	struct nlattr *attribute = nla_reserve(skb, type, size);

	if (!attribute)
		return -EMSGSIZE;
	if (size)
		memcpy(nla_data(attribute), data, size);
	return 0;
}

static inline int nla_put_u32(struct sk_buff *skb, int type, u32 value)
{
	return nla_put(skb, type, sizeof(value), &value);
}

static inline int nla_put_u64_64bit(struct sk_buff *skb, int type, u64 value, int pad)
{
	(void)pad;
	return nla_put(skb, type, sizeof(value), &value);
}

static inline int nla_append(struct sk_buff *skb, int size, const void *data)
{
	if (skb_tailroom(skb) < (int)NLA_ALIGN(size))
		return -EMSGSIZE;
	memcpy(skb_put(skb, NLA_ALIGN(size)), data, size);
	return 0;
}

static inline void *genlmsg_put(struct sk_buff *skb, u32 portid, u32 seq,
				const struct genl_family *family, int flags, u8 command)
{
	struct nlmsghdr *header;

	(void)family;
	if (skb_tailroom(skb) < NLMSG_HDRLEN + (int)GENL_HDRLEN)
		return NULL;
	header = skb_put(skb, NLMSG_HDRLEN + GENL_HDRLEN);
	header->nlmsg_pid = portid;
	header->nlmsg_seq = seq;
	header->nlmsg_flags = flags;
	((struct genlmsghdr *)NLMSG_DATA(header))->cmd = command;
	return (char *)header + NLMSG_HDRLEN + GENL_HDRLEN;
}

#define genlmsg_put_reply(skb, info, family, flags, command) \
	genlmsg_put(skb, (info)->snd_portid, (info)->snd_seq, family, flags, command)

static inline struct nlmsghdr *genlmsg_header(void *payload)
{
	return (struct nlmsghdr *)((char *)payload - GENL_HDRLEN - NLMSG_HDRLEN);
}

static inline void genlmsg_end(struct sk_buff *skb, void *payload)
{
	struct nlmsghdr *header = genlmsg_header(payload);

	header->nlmsg_len = skb_tail_pointer(skb) - (unsigned char *)header;
}

static inline void genlmsg_cancel(struct sk_buff *skb, void *payload)
{
	if (payload)
		skb->len = (unsigned char *)genlmsg_header(payload) - skb->data;
}

static inline int genlmsg_reply(struct sk_buff *skb, const struct genl_info *info)
{
	(void)info;
	kfree_skb(skb);
	return 0;
}

/* What is told when a socket goes */

struct notifier_block {
	int (*notifier_call)(struct notifier_block *block, unsigned long event, void *data);
};
struct netlink_notify { struct net *net; u32 portid; int protocol; };
extern struct notifier_block *netlink_notifier;

#define NETLINK_URELEASE 1
#define NOTIFY_DONE 0

static inline int netlink_register_notifier(struct notifier_block *block)
{
	netlink_notifier = block;
	return 0;
}

#define netlink_unregister_notifier(block) (netlink_notifier = NULL)

#endif
