"""What IPVS would see: a counter where it stands, after vipctl's check of ports."""

import json
from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from tests.harness.netns import Namespace

# IPVS has its director reassemble IPv6 before LOCAL_IN, as a use of `ct` does; IPv4 is anyway.
RULESET = """
table inet gate {
    set seen4 { type mark . inet_proto . ipv4_addr; flags dynamic; counter; size 65536; }
    set seen6 { type mark . inet_proto . ipv6_addr; flags dynamic; counter; size 65536; }
    chain local_in {
        type filter hook input priority 98; policy accept;
        add @seen4 { meta mark . meta l4proto . ip daddr }
        add @seen6 { meta mark . meta l4proto . ip6 daddr }
    }
}
table ip6 defrag {
    chain local_in {
        type filter hook input priority 98; policy accept;
        ct state invalid counter
    }
}
"""


class Seen(NamedTuple):
    """Packets of one kind that came through."""

    mark: int
    protocol: str
    dst: str


class Gate:
    """The counter on one director; it goes when the director does."""

    def __init__(self, director: Namespace) -> None:
        self.director = director
        director.run(["nft", "-f", "-"], input=RULESET)

    def seen(self) -> dict[Seen, int]:
        """Return how many packets came with a mark, with which IPVS may begin a connection."""
        return {seen: count for seen, count in self._all() if seen.mark}

    def unmarked(self, *addresses: str) -> dict[Seen, int]:
        """Return how many came for these without: IPVS begins no connection for them."""
        return {s: count for s, count in self._all() if not s.mark and s.dst in addresses}

    def _all(self) -> list[tuple[Seen, int]]:
        return [pair for name in ("seen4", "seen6") for pair in self._read(name)]

    def reset(self) -> None:
        """Forget what came."""
        flush = "".join(f"flush set inet gate {name}\n" for name in ("seen4", "seen6"))
        self.director.run(["nft", "-f", "-"], input=flush)

    def _read(self, name: str) -> Iterator[tuple[Seen, int]]:
        listing = self.director.run(["nft", "-j", "list", "set", "inet", "gate", name]).stdout
        (described,) = [i["set"] for i in json.loads(listing)["nftables"] if "set" in i]
        for element in described.get("elem", ()):
            mark, protocol, dst = element["elem"]["val"]["concat"]
            seen = Seen(int(str(mark), 0), protocol, str(ip_address(dst)))
            yield seen, element["elem"]["counter"]["packets"]
