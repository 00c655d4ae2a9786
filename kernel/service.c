// SPDX-License-Identifier: GPL-2.0-or-later
/* Services: how each treats its packets, and its counters. */

#include <linux/bsearch.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "state.h"

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

/**
 * vip_service_free - free a service
 * @service:	one that no reader can find any more
 */
void vip_service_free(struct vip_service *service)
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
 * vip_service_inherit - keep the counters of the service before
 * @service:	of the next state
 * @before:	the one with its mark, of the state in use
 */
void vip_service_inherit(struct vip_service *service, struct vip_service *before)
{
	vip_counters_put(service->counters);
	refcount_inc(&before->counters->users);
	service->counters = before->counters;
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
	if (!count && !(flags & VIP_SHIM_F_PASSIVE))
		config->examined &= flags;
	config->count = count;
	for (i = 0; i < count; i++)
		config->ports[i] = (u32)given[i].protocol << 16 |
				   be16_to_cpu(given[i].number);
	sort(config->ports, count, sizeof(u32), vip_compare_ports, NULL);
	return config;
}

/* Whether fragments have to be reassembled first */
static bool vip_config_is_whole(const struct vip_config *config)
{
	return config->count || config->flags & VIP_SHIM_F_PING;
}

static bool vip_service_is_whole(const struct vip_state *state,
				 const struct vip_service *service)
{
	return vip_config_is_whole(rcu_dereference_protected(service->config,
							     lockdep_is_held(state->lock)));
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
	state->whole += vip_config_is_whole(config);
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
	state->whole += vip_config_is_whole(config) - vip_service_is_whole(state, service);
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
	state->whole -= vip_service_is_whole(state, service);
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
