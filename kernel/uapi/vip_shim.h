/* SPDX-License-Identifier: GPL-2.0-or-later WITH Linux-syscall-note */
/*
 * vip_shim: a director accepts packets for addresses that it does not own.
 *
 * A generic netlink family. Each network namespace has its own state. Every
 * command needs CAP_NET_ADMIN in the initial user namespace: anybody can be root
 * in a user namespace of his own, and must not use up the kernel's memory or
 * redirect its packets.
 *
 * A *service* is a firewall mark and how its packets are treated. It has
 * *prefixes*, each in one *plane*. Within a plane the longest prefix counts.
 * If an address has services in several planes, the first that takes the
 * packet's port counts.
 *
 * A packet for a prefix, if the service takes the packet, is accepted as if it
 * were for the host, and gets the service's mark, all 32 bits of it: IPVS
 * balances it. What no service takes, and what IPVS does not take, is refused.
 * The destination is that behind NAT (PREROUTING, -90). A packet that has a
 * socket then, by TPROXY, is left to that. What the host itself sends to such a
 * prefix, except by the loopback interface, gets the mark (LOCAL_OUT, -150), if
 * it has none and the service takes it.
 *
 * State is changed in place, or replaced: BEGIN opens an empty state beside the
 * one in use, commands with VIP_SHIM_A_STAGED change it, COMMIT puts it in use
 * in one step. A staged state belongs to the socket that opened it, and is
 * dropped when that is closed. At COMMIT, services keep the counters of those
 * that had their marks. COMMIT may name an OWNER, which INFO tells as long as the
 * state is in use. It means nothing to the module: whoever set up the state can
 * tell by it later that nobody else has replaced the state.
 *
 * A state is active, or passive after SET_ROLE: then packets for its prefixes are
 * dropped in PREROUTING, and nobody is told. What the host itself sends is still
 * marked. A service with VIP_SHIM_F_PASSIVE is passive by itself: what it takes is
 * dropped, but for ICMP errors, which may be about connections of another service.
 * A staged state is active until it gets a SET_ROLE of its own.
 *
 * ADD gives prefixes to a service, and takes them from services that had them.
 * DEL removes prefixes from whichever service has them; those that none has are
 * no error. A command does all that it says or nothing. An attribute is at most
 * 65,535 bytes long, which limits the prefixes of a message. ADD refuses prefixes
 * with reserved addresses in them: 0/8, 127/8, 169.254/16, 224/4 and
 * 255.255.255.255; ::, ::1, ::ffff:0:0/96, fe80::/10 and ff00::/8.
 *
 * Hooks are registered as long as there is a service. Fragments are reassembled
 * as long as a service, in use or staged, names ports or has PING.
 *
 * A dump shows the state at the moment of the request, whatever is changed while
 * it is read.
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
	VIP_SHIM_CMD_INFO,		/* VERSION, GENERATION, SERVICES, COUNT, OWNER, ROLE */
	VIP_SHIM_CMD_SET_SERVICE,	/* MARK, FLAGS, PORTS: new or changed */
	VIP_SHIM_CMD_DEL_SERVICE,	/* MARK; it must have no prefixes */
	VIP_SHIM_CMD_GET_SERVICE,	/* dump: a message per service */
	VIP_SHIM_CMD_ADD,		/* MARK, PLANE, PREFIXES4, PREFIXES6 */
	VIP_SHIM_CMD_DEL,		/* PLANE, PREFIXES4, PREFIXES6 */
	VIP_SHIM_CMD_GET,		/* dump: many prefixes in a message */
	VIP_SHIM_CMD_BEGIN,
	VIP_SHIM_CMD_COMMIT,		/* OWNER */
	VIP_SHIM_CMD_FLUSH,		/* removes everything */
	VIP_SHIM_CMD_SET_ROLE,		/* ROLE */

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
	VIP_SHIM_A_GENERATION,	/* u32: raised by each change of the state in use */
	VIP_SHIM_A_OWNER,	/* up to VIP_SHIM_MAX_OWNER bytes; none if absent */
	VIP_SHIM_A_ROLE,	/* u32: VIP_SHIM_ROLE_… */

	__VIP_SHIM_A_LAST,
	VIP_SHIM_A_MAX = __VIP_SHIM_A_LAST - 1
};

#define VIP_SHIM_F_DROP		(1 << 0)	/* leftovers are dropped, not refused */
#define VIP_SHIM_F_PING		(1 << 1)	/* echo requests are answered */
#define VIP_SHIM_F_IDLE4	(1 << 2)	/* no IPv4 real server: packets are refused */
#define VIP_SHIM_F_IDLE6	(1 << 3)	/* likewise for IPv6 */
#define VIP_SHIM_F_PASSIVE	(1 << 4)	/* packets are dropped */
#define VIP_SHIM_F_ALL		(VIP_SHIM_F_DROP | VIP_SHIM_F_PING | \
				 VIP_SHIM_F_IDLE4 | VIP_SHIM_F_IDLE6 | \
				 VIP_SHIM_F_PASSIVE)

#define VIP_SHIM_ROLE_ACTIVE	0
#define VIP_SHIM_ROLE_PASSIVE	1

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
