// SPDX-License-Identifier: GPL-2.0-or-later
/* Services and their prefixes, of one network namespace. */

#include <linux/slab.h>

#include "state.h"

/* The workqueue that frees states */
static struct workqueue_struct *vip_graves;

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

static void vip_state_destroy(struct vip_state *state)
{
	struct vip_service *service;
	unsigned long mark;
	unsigned int i;

	for (i = 0; i < VIP_SHIM_MAX_PLANES; i++) {
		vip_trie_destroy(&state->plane[i].v4);
		vip_trie_destroy(&state->plane[i].v6);
	}
	xa_for_each(&state->services, mark, service)
		vip_service_free(service);
	xa_destroy(&state->services);
	kvfree(state);
}

static void vip_state_destroy_work(struct work_struct *work)
{
	vip_state_destroy(container_of(to_rcu_work(work), struct vip_state, gone));
}

/**
 * vip_state_put - free all of a state, later: it may have millions of nodes
 * @state:	one that no reader finds any more, though some may still be in it;
 *		NULL is fine
 *
 * It is freed by a worker, so callers that hold a lock do not wait for it.
 */
void vip_state_put(struct vip_state *state)
{
	if (!state)
		return;
	INIT_RCU_WORK(&state->gone, vip_state_destroy_work);
	queue_rcu_work(vip_graves, &state->gone);
}

/**
 * vip_state_own - set the owner of a state
 * @state:	one that is not in use yet
 * @owner:	up to VIP_SHIM_MAX_OWNER bytes; NULL for nobody
 */
void vip_state_own(struct vip_state *state, const struct nlattr *owner)
{
	state->owner_size = owner ? nla_len(owner) : 0;
	if (owner)
		nla_memcpy(state->owner, owner, sizeof(state->owner));
}

/**
 * vip_state_inherit - keep the counters of services with the same mark
 * @state:	the next state
 * @before:	that in use
 */
void vip_state_inherit(struct vip_state *state, struct vip_state *before)
{
	struct vip_service *service, *old;
	unsigned long mark;

	xa_for_each(&state->services, mark, service) {
		old = xa_load(&before->services, mark);
		if (old)
			vip_service_inherit(service, old);
	}
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

int __init vip_states_init(void)
{
	vip_graves = alloc_workqueue("vip_shim", WQ_UNBOUND, 0);
	return vip_graves ? 0 : -ENOMEM;
}

/* All states are freed when this returns; none may be in use */
void vip_states_exit(void)
{
	rcu_barrier();
	destroy_workqueue(vip_graves);
}
