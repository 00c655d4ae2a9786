"""The `fwmark` method: an nftables lookup in PREROUTING marks, an `ip rule` on the mark accepts.

The table, drawn by `chains`:

    ping         PREROUTING, -100     echo requests of services with --ping go to the director
    prerouting   PREROUTING, -90      destination → fwmark; one hash map per prefix length
    before_ipvs  LOCAL_IN, 97         takes the mark off packets for ports that the service does not
                                      name; refuses those of services without real servers
    after_ipvs   LOCAL_IN, 100        the guard: refuses packets for VIPs that IPVS did not take
    local_out    LOCAL_OUT, -150      marks the director's own packets for VIPs; takes the mark off
                                      packets that IPVS sends on

The mark is set after NAT (-100). Somebody may translate a host's address into a VIP: NAT then turns
the answers back to that host, and they must not get the mark. Others may set marks too. wg-quick
does at -150, which is overridden at -90. keepalived marks packets for addresses of the director: so
a packet is refused only if its destination is a VIP, whatever its mark.

Packets that IPVS sends on lose the mark. If a real server is dead, the kernel sends the client an
error, and for that looks up the route of a packet from the server to the client, with the mark of
the packet. With the mark that packet would be accepted as one for a VIP, and the kernel would log
"detected local route".

An IPv4 packet whose TTL ends here is not accepted. It is routed as if it were not for a VIP, so
that the kernel's forwarding tells its sender. IPVS would tell it with the VIP as source, which the
kernel refuses to send: the VIP is not in table `local`. (For IPv6 it takes the director's address.)

A passive director drops by a rule before the one that accepts: a message for each IP version. What
is for services that are passive by themselves is dropped at LOCAL_IN, 97, where it is known which
service a port belongs to.
"""

from functools import lru_cache

from vipctl.linux.nftables import ruleset, tables
from vipctl.linux.nftables.ruleset import Chains
from vipctl.linux.routing.fwmarks import Block
from vipctl.methods.marking import Marking
from vipctl.services.change import Acceptance
from vipctl.services.methods import METHODS

BLOCK = Block.of(METHODS["fwmark"])
TTL = "meta nfproto ipv4 @nh,64,32 & 0xfe000000"  # 0 if below 2; nft is faster with 4 bytes


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
    """The TTL has a rule of its own only if there are several IPv4 lookups."""
    if sum(shape.version == 4 for shape in acceptance.shapes) > 1:
        return [f"{TTL} == 0 return", *ruleset.marking(acceptance)]
    return ruleset.marking(acceptance, f"{TTL} != 0 ")


WITNESSED = False
SIZED = True
LOCAL = BLOCK.table
ROUTED = True
SEARCHED = True
TABLE = tables.Table(METHODS["fwmark"].table, chains, counts=METHODS["fwmark"].counters)
_METHOD = Marking(TABLE, BLOCK)
probe, owner, seal, apply = _METHOD.probe, _METHOD.owner, _METHOD.seal, _METHOD.apply
load, epoch, holds = _METHOD.load, _METHOD.epoch, _METHOD.holds
has, reroute, unlike, marks = _METHOD.has, _METHOD.reroute, _METHOD.unlike, _METHOD.marks
counters = TABLE.packets
