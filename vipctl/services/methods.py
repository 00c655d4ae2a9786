"""The methods, best first, and what other modules need to know of each. Pure.

The names and numbers that mark what is vipctl's in a kernel are registered here, so that no two
methods have the same: an nftables table, a routing table, and three priorities of policy-routing
rules, from `priority` on.
"""

from collections.abc import Mapping
from typing import NamedTuple

from vipctl.services.option import Option, amount, switch, words
from vipctl.services.syntax import parse_listener
from vipctl.services.values import PROTOCOLS

SOURCE_NAT = "source-nat"  # no way to accept: beside any method, see methods/source_nat.py
LOCAL_ROUTES = 30320  # metric of VIPs in the kernel's table `local`, one more for each plane


class Features(NamedTuple):
    """What one method is and can do.

    `options` are those that it alone has. With `local`, the kernel takes VIPs for addresses of the
    director. `protocols` are those whose ports it can match, `most_ports` how many ports of a
    service. `counters` are those of PACKETS that it counts.
    """

    table: str = ""
    priority: int = 0
    routes: int = 0
    proxied: bool = False  # whether a local proxy gets the packets, and IPVS none
    local: bool = False
    protocols: tuple[str, ...] = PROTOCOLS
    most_ports: int = 3 * 65535
    counters: tuple[str, ...] = ()
    options: Mapping[str, Option] = {}


PACKETS = {  # what methods count of a service, and the headings of these in `status`
    "accepted": "packets accepted", "left_over": "left over", "refused": "source refused",
}  # fmt: skip
METHODS: dict[str, Features] = {
    "shim": Features(
        most_ports=1024,  # VIP_SHIM_MAX_PORTS of kernel/uapi/vip_shim.h
        counters=tuple(PACKETS),
    ),
    "fwmark": Features(
        "vipctl", priority=4300, routes=30320, counters=("left_over",)
    ),
    "fwmark-iptables": Features(priority=4310, routes=30321, counters=("left_over",)),
    "route": Features(
        "vipctl_route",
        local=True,
        counters=("left_over",),
        options={
            "arp": switch(
                "Method route: the director answers ARP for the VIPs; default no.",
                default=False, agree=True,
            ),
        },
    ),
    "tproxy": Features(
        "vipctl_tproxy", priority=4320, routes=30322, proxied=True, protocols=("tcp", "udp"),
        counters=tuple(PACKETS),
        options={
            "to_port": amount(
                "Method tproxy: where the local proxy listens.", "port", "PORT", 1, 65535,
                needed=True,
            ),
            "to_addresses": words(
                "Method tproxy: its address, of each IP version one; default any.", "IP",
                parse_listener, flag="--to-address", default=(),
            ),
        },
    ),
}  # fmt: skip
FIRST_PRIORITY = min(method.priority for method in METHODS.values() if method.priority)


def owner_of(option: str) -> str:
    """The method that an option of a single method belongs to."""
    return next(name for name, method in METHODS.items() if option in method.options)
