// SPDX-License-Identifier: GPL-2.0-or-later
/* Services and their prefixes, of one network namespace. */

#include <linux/bsearch.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "state.h"

/**
 * vip_state_new - an empty state
 * @lock:	held by whoever changes it
 *
 * Return: NULL where memory runs out.
 */
struct vip_state *vip_state_new(struct mutex *lock)
{
	struct vip_state *state = kvzalloc(sizeof(*state), GFP_KERNEL_ACCOUNT);
	unsigned int i;

	if (!state)
		return NULL;
	xa_init(&state->services);
	state->lock = lock;
	for (i = 0; i < VIP_SHIM_MAX_PLANES; i++) {
		vip_trie_init(&state->plane[i].v4, 32, lock);
		vip_trie_init(&state->plane[i].v6, 128, lock);
	}
	return state;
}

static void vip_counters_put(struct vip_counters *counters)
{
	if (!refcount_dec_and_test(&counters->users))
		return;
	free_percpu(counters->cpu);
	kfree(counters);
}

static struct vip_counters *vip_counters_new(void)
{
	struct vip_counters *counters;
	int cpu;

	counters = kzalloc(sizeof(*counters), GFP_KERNEL_ACCOUNT);
	if (!counters)
		return NULL;
	counters->cpu = alloc_percpu_gfp(struct vip_cpu_counters,
					 GFP_KERNEL_ACCOUNT);
	if (!counters->cpu) {
		kfree(counters);
		return NULL;
	}
	for_each_possible_cpu(cpu)
		u64_stats_init(&per_cpu_ptr(counters->cpu, cpu)->sync);
	refcount_set(&counters->users, 1);
	return counters;
}

static void vip_service_free(struct vip_service *service)
{
	kfree(rcu_dereference_protected(service->config, true));
	vip_counters_put(service->counters);
	kfree(service);
}

static void vip_service_free_rcu(struct rcu_head *head)
{
	vip_service_free(container_of(head, struct vip_service, rcu));
}

/**
 * vip_state_destroy - free all of a state
 * @state:	one that no reader can find any more; NULL is fine
 */
void vip_state_destroy(struct vip_state *state)
{
	struct vip_service *service;
	unsigned long mark;
	unsigned int i;

	if (!state)
		return;
	for (i = 0; i < VIP_SHIM_MAX_PLANES; i++) {
		vip_trie_destroy(&state->plane[i].v4);
		vip_trie_destroy(&state->plane[i].v6);
	}
	xa_for_each(&state->services, mark, service)
		vip_service_free(service);
	xa_destroy(&state->services);
	kvfree(state);
}

/**
 * vip_state_inherit - let counters go on
 * @state:	the next state
 * @before:	that in use
 */
void vip_state_inherit(struct vip_state *state, struct vip_state *before)
{
	struct vip_service *service, *old;
	unsigned long mark;

	xa_for_each(&state->services, mark, service) {
		old = xa_load(&before->services, mark);
		if (!old)
			continue;
		vip_counters_put(service->counters);
		refcount_inc(&old->counters->users);
		service->counters = old->counters;
	}
}

static int vip_compare_ports(const void *left, const void *right)
{
	u32 a = *(const u32 *)left, b = *(const u32 *)right;

	return a < b ? -1 : a > b;
}

/**
 * vip_config_takes - whether a service is for a port
 * @config:	of the service
 * @protocol:	of the transport layer
 * @number:	in host byte order
 */
bool vip_config_takes(const struct vip_config *config, u8 protocol, u16 number)
{
	u32 port = (u32)protocol << 16 | number;

	return !config->count || bsearch(&port, config->ports, config->count,
					 sizeof(port), vip_compare_ports);
}

static struct vip_config *vip_config_new(u32 flags, const struct nlattr *ports)
{
	const struct vip_shim_port *given = ports ? nla_data(ports) : NULL;
	u32 count = ports ? nla_len(ports) / sizeof(*given) : 0, i;
	struct vip_config *config;

	config = kmalloc(struct_size(config, ports, count), GFP_KERNEL_ACCOUNT);
	if (!config)
		return NULL;
	config->flags = flags;
	config->examined = VIP_SHIM_F_IDLE4 | VIP_SHIM_F_IDLE6;
	if (!count)
		config->examined &= flags;
	config->count = count;
	for (i = 0; i < count; i++)
		config->ports[i] = (u32)given[i].protocol << 16 |
				   be16_to_cpu(given[i].number);
	sort(config->ports, count, sizeof(u32), vip_compare_ports, NULL);
	return config;
}

static int vip_service_new(struct vip_state *state, u32 mark,
			   struct vip_config *config)
{
	struct vip_service *service;
	int err = -ENOMEM;

	service = kzalloc(sizeof(*service), GFP_KERNEL_ACCOUNT);
	if (!service)
		return -ENOMEM;
	service->counters = vip_counters_new();
	if (!service->counters)
		goto free_service;
	service->mark = mark;
	RCU_INIT_POINTER(service->config, config);
	err = xa_err(xa_store(&state->services, mark, service,
			      GFP_KERNEL_ACCOUNT));
	if (err)
		goto put_counters;
	state->count++;
	return 0;

put_counters:
	vip_counters_put(service->counters);
free_service:
	kfree(service);
	return err;
}

/**
 * vip_service_set - make a service, or change how one treats its packets
 * @state:	that has it
 * @mark:	not 0
 * @flags:	VIP_SHIM_F_…
 * @ports:	an array of struct vip_shim_port, or NULL
 * @extack:	for the reason of a failure
 */
int vip_service_set(struct vip_state *state, u32 mark, u32 flags,
		    const struct nlattr *ports, struct netlink_ext_ack *extack)
{
	struct vip_service *service = xa_load(&state->services, mark);
	struct vip_config *config, *old;
	int err;

	if (!service && state->count >= VIP_SHIM_MAX_SERVICES) {
		NL_SET_ERR_MSG(extack, "there are too many services");
		return -ENOSPC;
	}
	config = vip_config_new(flags, ports);
	if (!config)
		return -ENOMEM;
	if (!service) {
		err = vip_service_new(state, mark, config);
		if (err)
			kfree(config);
		return err;
	}
	old = rcu_replace_pointer(service->config, config,
				  lockdep_is_held(state->lock));
	kfree_rcu(old, rcu);
	return 0;
}

/**
 * vip_service_remove - end a service that has no prefix
 * @state:	that has it
 * @mark:	its mark
 * @extack:	for the reason of a failure
 */
int vip_service_remove(struct vip_state *state, u32 mark,
		       struct netlink_ext_ack *extack)
{
	struct vip_service *service = xa_load(&state->services, mark);

	if (!service) {
		NL_SET_ERR_MSG(extack, "no service has this mark");
		return -ENOENT;
	}
	if (service->prefixes) {
		NL_SET_ERR_MSG(extack, "the service has prefixes: delete them first");
		return -EBUSY;
	}
	xa_erase(&state->services, mark);
	state->count--;
	call_rcu(&service->rcu, vip_service_free_rcu);
	return 0;
}

u64 vip_service_count(const struct vip_service *service, enum vip_counter which)
{
	u64 total = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vip_cpu_counters *counters;
		unsigned int start;
		u64 packets;

		counters = per_cpu_ptr(service->counters->cpu, cpu);
		do {
			start = u64_stats_fetch_begin(&counters->sync);
			packets = u64_stats_read(&counters->packets[which]);
		} while (u64_stats_fetch_retry(&counters->sync, start));
		total += packets;
	}
	return total;
}

/* Prefixes of all services */
u64 vip_state_count(struct vip_state *state)
{
	u64 total = 0;
	u32 plane;

	for (plane = 0; plane < state->planes; plane++)
		total += state->plane[plane].v4.count + state->plane[plane].v6.count;
	return total;
}

/**
 * vip_state_add - let a service have a prefix, whoever had it before
 * @state:	that has the service
 * @service:	the service
 * @plane:	less than VIP_SHIM_MAX_PLANES
 * @bits:	32 for IPv4, 128 for IPv6
 * @prefix:	the prefix
 */
int vip_state_add(struct vip_state *state, struct vip_service *service,
		  u32 plane, u8 bits, const struct vip_prefix *prefix)
{
	struct vip_trie *trie = vip_trie_of(state, plane, bits);
	struct vip_service *before = vip_trie_get(trie, prefix);
	int err = vip_trie_set(trie, prefix, service);

	if (err)
		return err;
	if (before)
		before->prefixes--;
	service->prefixes++;
	if (plane >= state->planes)
		WRITE_ONCE(state->planes, plane + 1);
	return 0;
}

static bool vip_plane_is_empty(const struct vip_plane *plane)
{
	return !plane->v4.count && !plane->v6.count;
}

/**
 * vip_state_remove - take a prefix from whoever has it
 * @state:	that has it, or has it not
 * @plane:	less than VIP_SHIM_MAX_PLANES
 * @bits:	32 for IPv4, 128 for IPv6
 * @prefix:	the prefix
 */
void vip_state_remove(struct vip_state *state, u32 plane, u8 bits,
		      const struct vip_prefix *prefix)
{
	struct vip_service *service;

	service = vip_trie_remove(vip_trie_of(state, plane, bits), prefix);
	if (!service)
		return;
	service->prefixes--;
	while (state->planes && vip_plane_is_empty(&state->plane[state->planes - 1]))
		WRITE_ONCE(state->planes, state->planes - 1);
}
