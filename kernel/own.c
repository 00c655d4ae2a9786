// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses of the host, and broadcast addresses of its subnets. Each has one entry
 * with a count of its holders, in a hash with a random key: a sender cannot choose
 * sources that are slow to look up.
 */

#include <linux/inetdevice.h>
#include <linux/rhashtable.h>
#include <linux/rtnetlink.h>
#include <linux/slab.h>

#include "hook.h"
#include "own.h"

#define VIP_OWN_PER_HOLDER	3

struct vip_own_address {
	struct rhash_head node;
	struct rcu_head rcu;
	__be32 address;
	u32 count;
};

/* Known holders: an address is announced again when it becomes its subnet's primary */
struct vip_holder {
	struct rhash_head node;
	struct rcu_head rcu;
	const struct in_ifaddr *ifa;
	unsigned int count;
	__be32 addresses[VIP_OWN_PER_HOLDER];
};

static const struct rhashtable_params vip_address_params = {
	.head_offset = offsetof(struct vip_own_address, node),
	.key_offset = offsetof(struct vip_own_address, address),
	.key_len = sizeof_field(struct vip_own_address, address),
	.automatic_shrinking = true,
};

static const struct rhashtable_params vip_holder_params = {
	.head_offset = offsetof(struct vip_holder, node),
	.key_offset = offsetof(struct vip_holder, ifa),
	.key_len = sizeof_field(struct vip_holder, ifa),
	.automatic_shrinking = true,
};

/**
 * vip_is_own - whether an address is the host's, or broadcast
 * @own:	the known addresses
 * @address:	the address
 *
 * Call it under rcu_read_lock().
 */
bool vip_is_own(const struct vip_own *own, __be32 address)
{
	return rhashtable_lookup((struct rhashtable *)&own->addresses, &address,
				 vip_address_params);
}

static int vip_own_get(struct vip_own *own, __be32 address)
{
	struct vip_own_address *entry;
	int err;

	entry = rhashtable_lookup_fast(&own->addresses, &address, vip_address_params);
	if (entry) {
		entry->count++;
		return 0;
	}
	entry = kmalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);
	if (!entry)
		return -ENOMEM;
	entry->address = address;
	entry->count = 1;
	err = rhashtable_insert_fast(&own->addresses, &entry->node, vip_address_params);
	if (err)
		kfree(entry);
	return err;
}

static void vip_own_put(struct vip_own *own, __be32 address)
{
	struct vip_own_address *entry;

	entry = rhashtable_lookup_fast(&own->addresses, &address, vip_address_params);
	if (WARN_ON_ONCE(!entry) || --entry->count)
		return;
	rhashtable_remove_fast(&own->addresses, &entry->node, vip_address_params);
	kfree_rcu(entry, rcu);
}

/* The local and broadcast routes of an address, as fib_add_ifaddr() adds since 5.14 */
static unsigned int vip_own_of(const struct in_ifaddr *ifa,
			       __be32 addresses[VIP_OWN_PER_HOLDER])
{
	unsigned int count = 0;

	addresses[count++] = ifa->ifa_local;
	if (ifa->ifa_broadcast)
		addresses[count++] = ifa->ifa_broadcast;
	if (ifa->ifa_prefixlen < 31)
		addresses[count++] = ifa->ifa_address | ~ifa->ifa_mask;
	return count;
}

static void vip_own_forget(struct vip_own *own, const struct in_ifaddr *ifa)
{
	struct vip_holder *holder;

	holder = rhashtable_lookup_fast(&own->holders, &ifa, vip_holder_params);
	if (!holder)
		return;
	while (holder->count)
		vip_own_put(own, holder->addresses[--holder->count]);
	rhashtable_remove_fast(&own->holders, &holder->node, vip_holder_params);
	kfree_rcu(holder, rcu);
}

static int vip_own_learn(struct vip_own *own, const struct in_ifaddr *ifa)
{
	struct vip_holder *holder;
	unsigned int count;
	int err;

	holder = kmalloc(sizeof(*holder), GFP_KERNEL_ACCOUNT);
	if (!holder)
		return -ENOMEM;
	holder->ifa = ifa;
	holder->count = 0;
	err = rhashtable_insert_fast(&own->holders, &holder->node, vip_holder_params);
	if (err) {
		kfree(holder);
		return err;
	}
	count = vip_own_of(ifa, holder->addresses);
	while (!err && holder->count < count) {
		err = vip_own_get(own, holder->addresses[holder->count]);
		holder->count += !err;
	}
	return err;
}

static int vip_own_learn_all(struct vip_net *vn)
{
	const struct in_ifaddr *ifa;
	struct in_device *in_dev;
	struct net_device *dev;
	int err = 0;

	for_each_netdev(vn->net, dev) {
		in_dev = __in_dev_get_rtnl(dev);
		if (!in_dev)
			continue;
		in_dev_for_each_ifa_rtnl(ifa, in_dev)
			err = err ?: vip_own_learn(&vn->own, ifa);
	}
	return err;
}

static void vip_own_free(void *entry, void *unused)
{
	kfree(entry);
}

static void vip_own_destroy(struct vip_own *own)
{
	rhashtable_free_and_destroy(&own->addresses, vip_own_free, NULL);
	rhashtable_free_and_destroy(&own->holders, vip_own_free, NULL);
}

/**
 * vip_own_start - learn the addresses of a namespace
 * @vn:		of the namespace
 */
int vip_own_start(struct vip_net *vn)
{
	struct vip_own *own = &vn->own;
	int err;

	err = rhashtable_init(&own->addresses, &vip_address_params);
	if (err)
		return err;
	err = rhashtable_init(&own->holders, &vip_holder_params);
	if (err) {
		rhashtable_destroy(&own->addresses);
		return err;
	}
	rtnl_lock();
	err = vip_own_learn_all(vn);
	WRITE_ONCE(own->known, !err);
	rtnl_unlock();
	if (err)
		vip_own_destroy(own);
	return err;
}

/**
 * vip_own_stop - forget them
 * @vn:		of the namespace, whose hooks nobody is in any more
 */
void vip_own_stop(struct vip_net *vn)
{
	rtnl_lock();
	WRITE_ONCE(vn->own.known, false);
	rtnl_unlock();
	vip_own_destroy(&vn->own);
}

/* An address comes or goes. If memory runs out, routes of sources are looked up again. */
static int vip_address_changed(struct notifier_block *block, unsigned long event,
			       void *data)
{
	const struct in_ifaddr *ifa = data;
	struct vip_own *own = &vip_net(dev_net(ifa->ifa_dev->dev))->own;

	ASSERT_RTNL();
	if (!own->known)
		return NOTIFY_DONE;
	vip_own_forget(own, ifa);
	if (event == NETDEV_UP && vip_own_learn(own, ifa))
		WRITE_ONCE(own->known, false);
	return NOTIFY_DONE;
}

static struct notifier_block vip_addresses = { .notifier_call = vip_address_changed };

int __init vip_own_init(void)
{
	return register_inetaddr_notifier(&vip_addresses);
}

void vip_own_exit(void)
{
	unregister_inetaddr_notifier(&vip_addresses);
}
