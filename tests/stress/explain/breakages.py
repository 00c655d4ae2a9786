"""What somebody may have done to a director: the causes that tests make, and what real IPVS adds.

Nobody says what follows: that is seen by asking.
"""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tests.netns.ailments import AILMENTS, FWMARK, IPTABLES, ROUTE, TPROXY, Ailment
from tests.netns.firewalls import FIREWALLS, Firewall

if TYPE_CHECKING:
    from tests.stress.explain.site import Site

METHODS = (FWMARK, IPTABLES, ROUTE, TPROXY, "shim")
BALANCED = (FWMARK, IPTABLES, ROUTE, "shim")
ANYWHERE = {FWMARK, IPTABLES, ROUTE}  # a cause that these three can have, the module can, too
Line = str | Callable[["Site"], object]


class Breakage(NamedTuple):
    """How somebody makes it: a shell's words on the director, `vipctl …`, or a call.

    `command`: by a command of vipctl's, which heals what was broken before it, so it comes first.
    `ipvs`: it is nothing without IPVS. $real and $other are real servers, $six an option of
    ipvsadm; the rest is that of `ailments.words`.
    """

    name: str
    make: tuple[Line, ...]
    methods: tuple[str, ...] = METHODS
    versions: tuple[int, ...] = (4, 6)
    ipvs: bool = False
    command: bool = False


def of(ailment: Ailment) -> Breakage:
    """The same for a client and a service of any kind."""
    methods = ailment.methods + (("shim",) if set(ailment.methods) >= ANYWHERE else ())
    made = tuple(_on_director(one) if callable(one) else one for one in ailment.make)
    words = "; ".join(one if isinstance(one, str) else "a firewall" for one in ailment.make)
    command = words.startswith("vipctl")
    return Breakage(f"{ailment.cause}: {words}", made, methods, tuple(ailment.ask), command=command)


def _on_director(make: Callable[..., object]) -> Callable[["Site"], object]:
    return lambda site: make(site.net.director)


def _of_firewall(name: str, firewall: Firewall) -> Breakage:
    """Its mark is that of the service."""
    ours = firewall._replace(text=re.sub(r"\b(--)?mark 17\b", r"\1mark 4096", firewall.text))
    return Breakage(f"firewall: {name}", (lambda site: ours.load(site.net.director),))


def _by_command(name: str, make: Line) -> Breakage:
    return Breakage(name, (make,), BALANCED, ipvs=True, command=True)


GONE, TOO = "ipvsadm -d -f 4096 $six -r $real:0", "ipvsadm -d -f 4096 $six -r $other:0"
OTHERS = [
    Breakage("the VIP is an address of the director", ("ip address add $vip dev eth1",)),
    Breakage("a real server is gone", (lambda site: site.unplug(0),), BALANCED, ipvs=True),
    Breakage(
        "real servers are gone",
        (lambda site: site.unplug(0), lambda site: site.unplug(1)),
        BALANCED,
        ipvs=True,
    ),
    Breakage(
        "no way to a real server", ("ip -$v route add unreachable $real",), BALANCED, ipvs=True
    ),
    Breakage("the proxy has ended", (lambda site: site.end_proxies(),), (TPROXY,)),
    Breakage("IPVS lacks the service", ("ipvsadm -D -f 4096 $six",), BALANCED, ipvs=True),
    Breakage("IPVS lacks a real server", (GONE,), BALANCED, ipvs=True),
    Breakage("IPVS lacks real servers", (GONE, TOO), BALANCED, ipvs=True),
    Breakage(
        "no weights in IPVS",
        tuple(f"ipvsadm -e -f 4096 $six -r ${real}:0 $way -w 0" for real in ("real", "other")),
        BALANCED,
        ipvs=True,
    ),
    _by_command("drained", "vipctl drain-real web $bare"),
    _by_command("all drained", "vipctl drain-real web $bare $bare2"),
    _by_command("checks failed", lambda site: site.fail(0)),
    _by_command("all checks failed", lambda site: site.fail(0, 1)),
    Breakage("the module is flushed", (lambda site: site.flush_module(),), ("shim",)),
    Breakage("tracking is full", (lambda site: site.fill_tracking(),), BALANCED, ipvs=True),
]
# What `explain --probe` alone finds out, by forwarding method.
NOT_LISTENING = Breakage("a real server does not listen", (lambda site: site.refuse(0),), BALANCED)
LACKS_VIP = Breakage("a real server lacks the VIPs", (lambda site: site.lose_vips(0),), BALANCED)
REMOTE = {
    "nat": (
        NOT_LISTENING,
        Breakage("another way back", (lambda site: site.lead_back_elsewhere(0),), BALANCED),
    ),
    "dr": (NOT_LISTENING, LACKS_VIP),
    "tun": (NOT_LISTENING, LACKS_VIP),
}
# Each kind as often as another, whatever its number.
KINDS = (
    [of(ailment) for ailment in AILMENTS if ailment.make],
    [_of_firewall(*item) for item in FIREWALLS.items()],
    OTHERS,
)
