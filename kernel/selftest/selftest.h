/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tests that a module built with DEBUG=1 runs when it is loaded. */
#ifndef VIP_SHIM_SELFTEST_H
#define VIP_SHIM_SELFTEST_H

#ifdef DEBUG
int vip_table_selftest(void);
#else
static inline int vip_table_selftest(void)
{
	return 0;
}
#endif

#endif
