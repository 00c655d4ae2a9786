// SPDX-License-Identifier: GPL-2.0-or-later
/* Calls that fail on demand: see faults.h. */

#include <linux/module.h>

static int vip_fail_nth;
module_param_named(fail_nth, vip_fail_nth, int, 0600);

/**
 * vip_fails - whether the call before which this stands is to fail
 */
bool vip_fails(void)
{
	return vip_fail_nth && !--vip_fail_nth;
}
