"""The `fwmark` method: an nftables lookup in PREROUTING marks, an `ip rule` on the mark accepts.

The table, drawn by `chains`:

    ping         PREROUTING, -100     echo requests of services with --ping go to the director
    prerouting   PREROUTING, -90      destination → fwmark; one hash map per prefix length
    before_ipvs  LOCAL_IN, 97         ports of services that name some; services without servers
    after_ipvs   LOCAL_IN, 100        the guard: what is still for a VIP here, IPVS did not take
    local_out    LOCAL_OUT, -150      the director's own packets for VIPs; those that IPVS sends on

The mark comes after NAT (-100), which may take a packet back from a VIP: an answer to a host whose
address somebody here translates into a VIP is that host's. Others may set marks too: wg-quick at
-150, which -90 overrides; keepalived for addresses of the director, so that nothing is refused
whose destination is no VIP.

What IPVS sends on has no mark any more. If the real server is dead, the kernel tells the client,
and asks for that how a packet from the server to the client would be routed, with the mark of the
packet: it would be accepted as one for a VIP, and the kernel logs "detected local route".

An IPv4 packet whose TTL ends here is not accepted but routed as if it were not for a VIP, so that
the kernel's forwarding says so to its sender. IPVS would say so with the VIP as source, which the
kernel does not send: it is not in table `local`. (IPv6 takes the director's own address there.)
"""

from functools import lru_cache

from vipctl.linux.nftables import ruleset, tables
from vipctl.linux.nftables.ruleset import Chains
from vipctl.linux.routing.fwmarks import Block
from vipctl.methods.marking import Marking
from vipctl.services.change import Acceptance
from vipctl.services.methods import METHODS

BLOCK = Block.of(METHODS["fwmark"])
TTL = "meta nfproto ipv4 @nh,64,32 & 0xfe000000"  # 0 if below 2; of four bytes, nft looks faster


@lru_cache(maxsize=ruleset.KEPT)
def chains(acceptance: Acceptance) -> Chains:
    if not acceptance.active():
        return {}
    return {
        **ruleset.guard(acceptance),
        "prerouting": ("filter hook prerouting priority dstnat + 10", _marking(acceptance)),
        **ruleset.pings_redirected(acceptance, f"{TTL} == 0 return"),
        **ruleset.checks_before_ipvs(acceptance),
        **ruleset.sent_by_director(acceptance, _sent_on(acceptance)),
    }


def _sent_on(acceptance: Acceptance) -> str:
    return f"{ruleset.marks(acceptance.services)} meta mark set 0 accept"


def _marking(acceptance: Acceptance) -> list[str]:
    """The TTL is looked at by a rule of its own only where there are several IPv4 lookups."""
    if sum(shape.version == 4 for shape in acceptance.shapes) > 1:
        return [f"{TTL} == 0 return", *ruleset.marking(acceptance)]
    return ruleset.marking(acceptance, f"{TTL} != 0 ")


WITNESSED = False
SIZED = True
LOCAL = BLOCK.table
ROUTED = True
TABLE = tables.Table(METHODS["fwmark"].table, chains)
_METHOD = Marking(TABLE, BLOCK)
probe, owner, seal, apply = _METHOD.probe, _METHOD.owner, _METHOD.seal, _METHOD.apply
load, epoch, holds = _METHOD.load, _METHOD.epoch, _METHOD.holds
has = _METHOD.has
