"""A counter at LOCAL_IN that stands in for IPVS where the kernel has none."""

import ipaddress
import json
from typing import Any

from tests.harness.netns import Namespace

RULESET = """
table inet probe {
    set seen4 { type mark . ipv4_addr; flags dynamic; counter; size 65536; }
    set seen6 { type mark . ipv6_addr; flags dynamic; counter; size 65536; }
    chain local_in {
        type filter hook input priority 50;
        add @seen4 { meta mark . ip daddr }
        add @seen6 { meta mark . ip6 daddr }
    }
}
"""


class LocalInCounter:
    """Counts packets that reach LOCAL_IN, just before IPVS would see them, by mark and address."""

    def __init__(self, ns: Namespace) -> None:
        self.ns = ns
        ns.run(["nft", "-f", "-"], input=RULESET)

    def __enter__(self) -> "LocalInCounter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def count(self, mark: int, dst: str) -> int:
        """Return how many packets with this mark and destination were seen."""
        return self.counts().get((mark, dst), 0)

    def counts(self) -> dict[tuple[int, str], int]:
        """Return all counts, by mark and destination."""
        listing = self.ns.run(["nft", "-j", "list", "table", "inet", "probe"]).stdout
        sets = (item["set"] for item in json.loads(listing)["nftables"] if "set" in item)
        return dict(_entry(element["elem"]) for found in sets for element in found.get("elem", ()))

    def reset(self) -> None:
        """Forget what was seen."""
        self.ns.run(
            ["nft", "-f", "-"], input="flush set inet probe seen4\nflush set inet probe seen6\n"
        )

    def close(self) -> None:
        """Remove the counter's table."""
        self.ns.run(["nft", "delete", "table", "inet", "probe"])


def _entry(element: dict[str, Any]) -> tuple[tuple[int, str], int]:
    mark, address = element["val"]["concat"]
    return (int(str(mark), 0), str(ipaddress.ip_address(address))), element["counter"]["packets"]
