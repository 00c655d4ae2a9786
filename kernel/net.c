// SPDX-License-Identifier: GPL-2.0-or-later
/* Replacing and removing the state of a namespace, with the hooks that it needs. */

#include "hook.h"
#include "net.h"

/**
 * vip_net_switch - put a state in use; who changes something by it counts that
 * @vn:		of the namespace, its lock held
 * @state:	the next one; NULL for none
 */
void vip_net_switch(struct vip_net *vn, struct vip_state *state)
{
	struct vip_state *old = vip_state_locked(vn);

	if (old && state)
		vip_state_inherit(state, old);
	rcu_assign_pointer(vn->state, state);
	vip_state_put(old);
}

static bool vip_net_needs_defrag(const struct vip_net *vn, const struct vip_state *state)
{
	return (state && state->whole) || (vn->staged && vn->staged->whole);
}

/**
 * vip_net_settle - remove state, hooks and defragmentation that no service needs
 * @vn:		of the namespace, its lock held
 */
void vip_net_settle(struct vip_net *vn)
{
	struct vip_state *state = vip_state_locked(vn);

	if (state && !state->count) {
		vip_net_switch(vn, NULL);
		state = NULL;
	}
	if (!state)
		vip_hook_stop(vn);
	if (!vip_net_needs_defrag(vn, state))
		vip_hook_defrag_end(vn);
}

/**
 * vip_net_unstage - forget the state that a socket has opened, if any has
 * @vn:		of the namespace, its lock held
 */
void vip_net_unstage(struct vip_net *vn)
{
	vip_state_put(vn->staged);
	vn->staged = NULL;
	WRITE_ONCE(vn->stager, 0);
	vip_net_settle(vn);
}

/**
 * vip_net_flush - forget everything
 * @vn:		of the namespace
 */
void vip_net_flush(struct vip_net *vn)
{
	mutex_lock(&vn->lock);
	if (vip_state_locked(vn)) {
		vip_net_switch(vn, NULL);
		vn->generation++;
	}
	vip_net_unstage(vn);
	mutex_unlock(&vn->lock);
}
