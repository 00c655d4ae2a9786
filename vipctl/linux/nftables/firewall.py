"""What a host's firewall says about packets for addresses that are not the host's.

Others' rules are not read: one chain is asked for by its name. Numbers are from
include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.
"""

import struct

from vipctl.linux import netlink
from vipctl.linux.netlink import attribute

GET_CHAIN = 10 << 8 | 4  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETCHAIN
CHAIN_TABLE, CHAIN_NAME = 1, 3
IPV4 = struct.pack(">BBH", 2, 0, 0)  # struct nfgenmsg


def drops_what_is_not_local() -> str | None:
    """The name of ufw's chain that drops such packets; None if there is none in nftables."""
    chain = "ufw-not-local"
    named = attribute(CHAIN_TABLE, b"filter\0") + attribute(CHAIN_NAME, chain.encode() + b"\0")
    with netlink.connect(netlink.NETLINK_NETFILTER, "nftables") as link:
        answer = netlink.ask(link, GET_CHAIN, 0, IPV4 + named)
    return None if answer.kind == netlink.NLMSG_ERROR else chain
