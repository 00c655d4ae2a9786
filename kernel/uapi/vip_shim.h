/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
/*
 * vip_shim: a director accepts packets for addresses that it does not own.
 *
 * A generic netlink family. Each network namespace has its own state; every
 * command needs CAP_NET_ADMIN of the host, that is, in the initial user namespace:
 * anybody can make a user namespace and be root there, and the kernel's memory
 * and the way of its packets are not anybody's.
 *
 * A *service* is a firewall mark and how its packets are treated; it has
 * *prefixes*, each in one *plane*. Within a plane the longest prefix counts.
 * Where an address has services in several planes, the first counts that takes
 * the packet's port.
 *
 * A packet for a prefix that its service takes is accepted as if it were for
 * the host, with the service's mark, all 32 bits of it: IPVS balances it. What
 * nobody takes, and what IPVS leaves over, is refused. Destinations are those
 * that a packet has behind NAT (PREROUTING, -90); one that has a socket then, by
 * TPROXY, is that socket's. What the host itself sends to such a prefix, by
 * another interface than the loopback one, gets the mark if it has none
 * (LOCAL_OUT, -150), where its service takes it.
 *
 * State is changed in place, or replaced: BEGIN opens an empty state beside the
 * one in use, commands with VIP_SHIM_A_STAGED change it, COMMIT puts it in use
 * in one step. It is the opening socket's, and is gone when that is closed.
 * Counters of services with the same mark go on. The OWNER that COMMIT names is told
 * by INFO, and means nothing to the module: whoever set up the state knows by it,
 * later, that it is still theirs. It goes with the state.
 *
 * ADD gives prefixes to a service, whoever had them; DEL takes them from whoever
 * has them, and those that nobody has are no error. A command does all that it
 * says or nothing. An attribute is at most 65,535 bytes long, which limits the
 * prefixes of a message. ADD refuses prefixes that have reserved addresses in
 * them: 0/8, 127/8, 169.254/16, 224/4 and 255.255.255.255; ::, ::1,
 * ::ffff:0:0/96, fe80::/10 and ff00::/8.
 *
 * Hooks are there as long as there is a service, and fragments are put together
 * as long as one, in use or staged, names ports or has PING.
 *
 * A dump tells of one moment, that at which it was asked for, whatever is changed
 * while it is read.
 */
#ifndef _UAPI_VIP_SHIM_H
#define _UAPI_VIP_SHIM_H

#include <linux/types.h>

#define VIP_SHIM_NAME		"vip_shim"
#define VIP_SHIM_VERSION	1	/* of this protocol */

#define VIP_SHIM_MAX_SERVICES	65536
#define VIP_SHIM_MAX_PORTS	1024	/* of a service */
#define VIP_SHIM_MAX_PLANES	64
#define VIP_SHIM_MAX_PREFIXES	(1 << 24)
#define VIP_SHIM_MAX_OWNER	64	/* bytes */

enum vip_shim_command {
	VIP_SHIM_CMD_UNSPEC,
	VIP_SHIM_CMD_INFO,		/* VERSION, GENERATION, SERVICES, COUNT, OWNER */
	VIP_SHIM_CMD_SET_SERVICE,	/* MARK, FLAGS, PORTS: new or changed */
	VIP_SHIM_CMD_DEL_SERVICE,	/* MARK; its prefixes go first */
	VIP_SHIM_CMD_GET_SERVICE,	/* dump: a message per service */
	VIP_SHIM_CMD_ADD,		/* MARK, PLANE, PREFIXES4, PREFIXES6 */
	VIP_SHIM_CMD_DEL,		/* PLANE, PREFIXES4, PREFIXES6 */
	VIP_SHIM_CMD_GET,		/* dump: a message per many prefixes */
	VIP_SHIM_CMD_BEGIN,
	VIP_SHIM_CMD_COMMIT,		/* OWNER */
	VIP_SHIM_CMD_FLUSH,		/* everything goes */

	__VIP_SHIM_CMD_LAST,
	VIP_SHIM_CMD_MAX = __VIP_SHIM_CMD_LAST - 1
};

enum vip_shim_attribute {
	VIP_SHIM_A_UNSPEC,
	VIP_SHIM_A_PAD,
	VIP_SHIM_A_VERSION,	/* u32: VIP_SHIM_VERSION of the module */
	VIP_SHIM_A_MARK,	/* u32, not 0 */
	VIP_SHIM_A_FLAGS,	/* u32: VIP_SHIM_F_… */
	VIP_SHIM_A_PORTS,	/* array of struct vip_shim_port; none: all */
	VIP_SHIM_A_PLANE,	/* u32; 0 if absent */
	VIP_SHIM_A_PREFIXES4,	/* array of struct vip_shim_prefix4 */
	VIP_SHIM_A_PREFIXES6,	/* array of struct vip_shim_prefix6 */
	VIP_SHIM_A_STAGED,	/* flag */
	VIP_SHIM_A_SERVICES,	/* u32: how many there are */
	VIP_SHIM_A_COUNT,	/* u64: prefixes */
	VIP_SHIM_A_ACCEPTED,	/* u64: packets */
	VIP_SHIM_A_LEFT_OVER,	/* u64: packets */
	VIP_SHIM_A_REFUSED,	/* u64: packets whose source is not valid */
	VIP_SHIM_A_GENERATION,	/* u32: another one after each change */
	VIP_SHIM_A_OWNER,	/* up to VIP_SHIM_MAX_OWNER bytes; none if absent */

	__VIP_SHIM_A_LAST,
	VIP_SHIM_A_MAX = __VIP_SHIM_A_LAST - 1
};

#define VIP_SHIM_F_DROP		(1 << 0)	/* leftovers: silence, no refusal */
#define VIP_SHIM_F_PING		(1 << 1)	/* echo requests are answered */
#define VIP_SHIM_F_IDLE4	(1 << 2)	/* nobody serves IPv4: refused */
#define VIP_SHIM_F_IDLE6	(1 << 3)
#define VIP_SHIM_F_ALL		(VIP_SHIM_F_DROP | VIP_SHIM_F_PING | \
				 VIP_SHIM_F_IDLE4 | VIP_SHIM_F_IDLE6)

struct vip_shim_port {
	__be16 number;
	__u8 protocol;		/* IPPROTO_TCP, _UDP or _SCTP */
	__u8 zero;
};

/* No bit of an address beyond its length is set; lengths are 1 to 32, 128 */
struct vip_shim_prefix4 {
	__be32 address;
	__u8 length;
	__u8 zero[3];
};

struct vip_shim_prefix6 {
	__be32 address[4];
	__u8 length;
	__u8 zero[3];
};

#endif
