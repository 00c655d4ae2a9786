"""Whether a director that answers from a VIP, which is an address of its own, finds the client."""

import json

from tests.harness.lab import Lab
from tests.harness.traffic import Outcome, tcp_get

RANGE, VIP, PORT = "2001:db8:1::/64", "2001:db8:1::7", 99


def finds(net: Lab) -> bool:
    """The kernel asks for the client from the address that it sends from: the answer is for it.

    The client knows the director, which so has never heard of the client.
    """
    (link,) = json.loads(net.director.run(["ip", "-j", "link", "show", "eth0"]).stdout)
    net.client.ip(f"neigh replace fd00::1 lladdr {link['address']} dev eth0 nud permanent")
    net.director.ip(f"address add {VIP}/128 dev eth0 nodad", "neigh flush dev eth0")
    try:
        return tcp_get(net.client, VIP, PORT).outcome is Outcome.REFUSED
    finally:
        net.director.ip(f"address del {VIP}/128 dev eth0")
        net.client.ip("neigh del fd00::1 dev eth0")
