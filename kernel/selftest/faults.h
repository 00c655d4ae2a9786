/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Makes calls that may run out of memory fail on demand. A module built with DEBUG=1
 * includes this first in each file. With its parameter fail_nth=N, the N-th such call
 * from then on fails; 0: none.
 */
#ifndef VIP_SHIM_FAULTS_H
#define VIP_SHIM_FAULTS_H

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt	/* as in source.c, which comes later */

#include <linux/inetdevice.h>
#include <linux/mm.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <linux/percpu.h>
#include <linux/rhashtable.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/genetlink.h>
#include <net/ip6_route.h>
#include <net/netfilter/ipv4/nf_defrag_ipv4.h>
#include <net/netfilter/ipv6/nf_defrag_ipv6.h>
#include <net/route.h>

bool vip_fails(void);

static inline void *vip_kmalloc(size_t size, gfp_t flags)
{
	return vip_fails() ? NULL : kmalloc(size, flags);
}

static inline void *vip_kzalloc(size_t size, gfp_t flags)
{
	return vip_fails() ? NULL : kzalloc(size, flags);
}

static inline void *vip_kvzalloc(size_t size, gfp_t flags)
{
	return vip_fails() ? NULL : kvzalloc(size, flags);
}

static inline void *vip_kvcalloc(size_t count, size_t size, gfp_t flags)
{
	return vip_fails() ? NULL : kvcalloc(count, size, flags);
}

static inline void *vip_kmem_cache_zalloc(struct kmem_cache *cache, gfp_t flags)
{
	return vip_fails() ? NULL : kmem_cache_zalloc(cache, flags);
}

static inline struct kmem_cache *vip_kmem_cache_create(const char *name, unsigned int size,
						       unsigned int align, slab_flags_t flags,
						       void (*constructor)(void *))
{
	return vip_fails() ? NULL : kmem_cache_create(name, size, align, flags, constructor);
}

static inline struct workqueue_struct *vip_alloc_workqueue(const char *name,
							   unsigned int flags, int most)
{
	return vip_fails() ? NULL : alloc_workqueue("%s", flags, most, name);
}

static inline int vip_rhashtable_init(struct rhashtable *table,
				      const struct rhashtable_params *parameters)
{
	return vip_fails() ? -ENOMEM : rhashtable_init(table, parameters);
}

#undef kmalloc
#undef kzalloc
#undef kvzalloc
#undef kvcalloc
#undef kmem_cache_zalloc
#undef kmem_cache_create
#undef alloc_workqueue
#undef rhashtable_init
#undef alloc_percpu_gfp

#define kmalloc			vip_kmalloc
#define kzalloc			vip_kzalloc
#define kvzalloc		vip_kvzalloc
#define kvcalloc		vip_kvcalloc
#define kmem_cache_zalloc	vip_kmem_cache_zalloc
#define kmem_cache_create	vip_kmem_cache_create
#define alloc_workqueue		vip_alloc_workqueue
#define rhashtable_init		vip_rhashtable_init

#define alloc_percpu_gfp(type, flags) \
	((typeof(type) __percpu *)(vip_fails() ? NULL : \
		__alloc_percpu_gfp(sizeof(type), __alignof__(type), flags)))

#define alloc_skb(...)		(vip_fails() ? NULL : alloc_skb(__VA_ARGS__))
#define genlmsg_new(...)	(vip_fails() ? NULL : genlmsg_new(__VA_ARGS__))
#define rt_dst_alloc(...)	(vip_fails() ? NULL : rt_dst_alloc(__VA_ARGS__))
#define ip6_dst_alloc(...)	(vip_fails() ? NULL : ip6_dst_alloc(__VA_ARGS__))
#define xa_store(...)		(vip_fails() ? (void *)XA_ERROR(-ENOMEM) : xa_store(__VA_ARGS__))

#define VIP_OR_NOT(call)	(vip_fails() ? -ENOMEM : (call))
#define rhashtable_insert_fast(...)	VIP_OR_NOT(rhashtable_insert_fast(__VA_ARGS__))
#define nf_register_net_hooks(...)	VIP_OR_NOT(nf_register_net_hooks(__VA_ARGS__))
#define nf_defrag_ipv4_enable(...)	VIP_OR_NOT(nf_defrag_ipv4_enable(__VA_ARGS__))
#define nf_defrag_ipv6_enable(...)	VIP_OR_NOT(nf_defrag_ipv6_enable(__VA_ARGS__))
#define register_pernet_subsys(...)	VIP_OR_NOT(register_pernet_subsys(__VA_ARGS__))
#define register_inetaddr_notifier(...)	VIP_OR_NOT(register_inetaddr_notifier(__VA_ARGS__))
#define netlink_register_notifier(...)	VIP_OR_NOT(netlink_register_notifier(__VA_ARGS__))
#define genl_register_family(...)	VIP_OR_NOT(genl_register_family(__VA_ARGS__))

#endif
