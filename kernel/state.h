/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Services and their prefixes, of one network namespace. */
#ifndef VIP_SHIM_STATE_H
#define VIP_SHIM_STATE_H

#include <linux/refcount.h>
#include <linux/u64_stats_sync.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>
#include <net/netlink.h>

#include "table.h"
#include "uapi/vip_shim.h"

enum vip_counter {
	VIP_ACCEPTED,
	VIP_LEFT_OVER,
	VIP_REFUSED,
	VIP_COUNTERS,
};

struct vip_cpu_counters {
	u64_stats_t packets[VIP_COUNTERS];
	struct u64_stats_sync sync;
};

/* Shared by a service and its successor, which has its mark in the next state */
struct vip_counters {
	refcount_t users;
	struct vip_cpu_counters __percpu *cpu;
};

struct vip_config {
	struct rcu_head rcu;
	u32 flags;
	u32 examined;		/* VIP_SHIM_F_IDLE4, _IDLE6: IP versions to look into packets of */
	u32 count;		/* of ports; 0: all */
	u32 ports[];		/* protocol << 16 | number, ascending */
};

struct vip_service {
	struct rcu_head rcu;
	u32 mark;
	u64 prefixes;
	struct vip_config __rcu *config;
	struct vip_counters *counters;
};

struct vip_plane {
	struct vip_trie v4;
	struct vip_trie v6;
};

struct vip_state {
	struct xarray services;	/* by mark */
	u32 count;		/* of services */
	u32 whole;		/* of those that need reassembled fragments */
	u32 planes;		/* number of the last plane in use, plus one */
	u32 role;		/* VIP_SHIM_ROLE_… */
	u16 owner_size;
	u8 owner[VIP_SHIM_MAX_OWNER];	/* who has committed it */
	struct mutex *lock;
	struct rcu_work gone;
	struct vip_plane plane[VIP_SHIM_MAX_PLANES];
};

struct vip_state *vip_state_new(struct mutex *lock);
void vip_state_put(struct vip_state *state);
void vip_state_own(struct vip_state *state, const struct nlattr *owner);
void vip_state_inherit(struct vip_state *state, struct vip_state *before);

int vip_states_init(void);
void vip_states_exit(void);

bool vip_config_takes(const struct vip_config *config, u8 protocol, u16 number);

int vip_service_set(struct vip_state *state, u32 mark, u32 flags,
		    const struct nlattr *ports, struct netlink_ext_ack *extack);
int vip_service_remove(struct vip_state *state, u32 mark,
		       struct netlink_ext_ack *extack);
void vip_service_free(struct vip_service *service);
void vip_service_inherit(struct vip_service *service, struct vip_service *before);
u64 vip_service_count(const struct vip_service *service, enum vip_counter which);

u64 vip_state_count(struct vip_state *state);
int vip_state_add(struct vip_state *state, struct vip_service *service,
		  u32 plane, u8 bits, const struct vip_prefix *prefix);
void vip_state_remove(struct vip_state *state, u32 plane, u8 bits,
		      const struct vip_prefix *prefix);

/* Also called in process context, where hooks run if nfqueue has queued a packet */
static inline void vip_count(const struct vip_service *service,
			     enum vip_counter which)
{
	struct vip_cpu_counters *cpu = get_cpu_ptr(service->counters->cpu);
	unsigned long flags = u64_stats_update_begin_irqsave(&cpu->sync);

	u64_stats_inc(&cpu->packets[which]);
	u64_stats_update_end_irqrestore(&cpu->sync, flags);
	put_cpu_ptr(service->counters->cpu);
}

static inline struct vip_trie *vip_trie_of(struct vip_state *state, u32 plane,
					   u8 bits)
{
	return bits == 32 ? &state->plane[plane].v4 : &state->plane[plane].v6;
}

#endif
