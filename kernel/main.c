// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * vip_shim: a director accepts packets for addresses that it does not own.
 *
 * Here: loading and unloading, and network namespaces that come and go.
 */

#include <linux/module.h>
#include <linux/random.h>

#include "hook.h"
#include "net.h"
#include "netlink.h"
#include "own.h"
#include "selftest/selftest.h"

unsigned int vip_net_id __read_mostly;

static int __net_init vip_net_init(struct net *net)
{
	struct vip_net *vn = vip_net(net);

	vn->net = net;
	vn->generation = get_random_u32() >> 1;	/* another one after the module is reloaded */
	mutex_init(&vn->lock);
	return 0;
}

/* Before .exit: the routes hold the loopback device, which is deleted in between */
static void __net_exit vip_net_pre_exit(struct net *net)
{
	vip_net_flush(vip_net(net));
}

static struct pernet_operations vip_net_ops = {
	.init = vip_net_init,
	.pre_exit = vip_net_pre_exit,
	.id = &vip_net_id,
	.size = sizeof(struct vip_net),
};

static int __init vip_init(void)
{
	int err = vip_table_init();

	if (err)
		return err;
	err = vip_table_selftest();
	if (err)
		goto exit_table;
	err = vip_states_init();
	if (err)
		goto exit_table;
	err = register_pernet_subsys(&vip_net_ops);
	if (err)
		goto exit_states;
	err = vip_own_init();
	if (err)
		goto unregister_net;
	err = vip_netlink_init();
	if (err)
		goto exit_own;
	return 0;

exit_own:
	vip_own_exit();
unregister_net:
	unregister_pernet_subsys(&vip_net_ops);
exit_states:
	vip_states_exit();
exit_table:
	vip_table_exit();
	return err;
}

static void __exit vip_exit(void)
{
	vip_netlink_exit();
	vip_own_exit();
	unregister_pernet_subsys(&vip_net_ops);
	vip_states_exit();
	vip_table_exit();
}

module_init(vip_init);
module_exit(vip_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Accepts packets for addresses that the host does not own, for IPVS");
MODULE_VERSION("0.1.0");
