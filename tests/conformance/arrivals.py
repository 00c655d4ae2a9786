"""Which packets for VIPs come as far as the director's LOCAL_IN, before anybody takes them."""

import ipaddress
import json
import threading
import time

from tests.harness.netns import Namespace

INTERVAL = 0.3  # seconds between readings
Pair = tuple[str, str]  # source, destination
RULESET = """
table inet arrivals {
    set seen4 { type ipv4_addr . ipv4_addr; flags dynamic; size 65536; }
    set seen6 { type ipv6_addr . ipv6_addr; flags dynamic; size 65536; }
    chain local_in {
        type filter hook input priority 50;
        udp dport 9 add @seen4 { ip saddr . ip daddr }
        udp dport 9 add @seen6 { ip6 saddr . ip6 daddr }
    }
}
"""


class Arrivals:
    """Notes source and destination of datagrams for the discard port; one reading serves many."""

    def __init__(self, host: Namespace) -> None:
        self.host, self.lock = host, threading.Lock()
        self.read_at = 0.0
        self.pairs: set[Pair] = set()
        host.run(["nft", "-f", "-"], input=RULESET)

    def seen(self) -> set[Pair]:
        """Return what had arrived a moment ago."""
        with self.lock:
            if time.monotonic() > self.read_at + INTERVAL:
                self.pairs = {*self._read("seen4"), *self._read("seen6")}
                self.read_at = time.monotonic()
            return self.pairs

    def _read(self, name: str) -> set[Pair]:
        listing = self.host.run(["nft", "-j", "list", "set", "inet", "arrivals", name]).stdout
        described = next(item["set"] for item in json.loads(listing)["nftables"] if "set" in item)
        return {_pair(*element["concat"]) for element in described.get("elem", [])}


def _pair(source: str, destination: str) -> Pair:
    return str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination))
