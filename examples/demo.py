"""`make demo`: a director balances VIPs that it does not own, with real packets and real IPVS.

Ends 0 only if everything that it shows was as it should be.
"""

import shlex
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

from tests.harness.cleanup import terminate_like_interrupt
from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import execute
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import Reply, tcp_get, udp_ask
from tests.harness.waiting import wait_until

PICTURE = """
                                                   +---- real1   10.0.1.11   fd00:1::11
    client ------------------- director -----------+
    10.0.0.2                   10.0.0.1            +---- real2   10.0.1.12
    fd00::2                    fd00::1

    Four hosts; here, each is a network namespace. The client's packets to 203.0.113.0/24, to
    198.51.100.10-198.51.100.99 and to 2001:db8:1::/64 are routed to the director, which is to
    balance them over the real servers. It owns none of these 2^64 addresses, so IPVS, the
    kernel's load balancer, would never see a packet for them. That is what vipctl is for."""
ONE_LINE = (
    "vipctl add-range 203.0.113.0/24 198.51.100.10-198.51.100.99 2001:db8:1::/64 --service web "
    "--real 10.0.1.11 --real 10.0.1.12,weight=2 --real fd00:1::11 --scheduler wrr --forward nat "
    "--set-sysctls"
)
RANGES = tuple(map(ip_network, ("203.0.113.0/24", "198.51.100.0/24", "2001:db8:1::/64")))
VIPS4 = [f"203.0.113.{n}" for n in range(3, 256, 11)] + [
    f"198.51.100.{n}" for n in range(10, 100, 7)
]
VIPS6 = [str(RANGES[2][n**9]) for n in range(1, 109, 5)]
ROUNDS = (  # what is sent, to where, and what of it each real server should get by its weight
    ("HTTP over IPv4", tcp_get, VIPS4, (12, 24)),
    ("UDP over IPv4", udp_ask, VIPS4[::3], (4, 8)),
    ("HTTP over IPv6", tcp_get, VIPS6, (22, 0)),
    ("UDP over IPv6", udp_ask, VIPS6[::3], (8, 0)),
)
REQUESTS = sum(len(vips) for _, _, vips, _ in ROUNDS)
TRACES = ("nft list ruleset", "ip rule", "ip -6 rule", "ipvsadm -Ln")


@dataclass(slots=True)
class Demo:
    """What was promised and did not come true is kept in `broken`."""

    net: Lab
    vipctl: Vipctl
    broken: list[str] = field(default_factory=list)

    def expect(self, holds: bool, what: str) -> None:
        print(f"    {'[ok]' if holds else '[NOT TRUE]'} {what}", flush=True)
        if not holds:
            self.broken.append(what)

    def operator(self, line: str) -> None:
        print(f"director# {line}", flush=True)
        done = self.vipctl.text(*shlex.split(line)[1:])
        show(done.stdout + done.stderr)
        if done.code:
            self.broken.append(f"{line}: exit code {done.code}")

    def shell(self, line: str) -> str:
        print(f"director# {line}", flush=True)
        with self.net.director:
            said = execute(shlex.split(line)).stdout
        show(said or "(nothing)")
        return said

    def send(self, what: str, ask: Callable[..., Reply], vips: list[str]) -> tuple[int, ...]:
        """One request to each VIP, one after the other; what real1 and real2 answered."""
        print(f"    {what:<14} {len(vips):3} VIPs  ", end="", flush=True)
        counts: Counter[str] = Counter()
        for vip in vips:
            reply = ask(self.net.client, vip, 80)
            counts[reply.server or reply.outcome.value] += 1
            print("." if reply.answered else "!", end="", flush=True)
        print("  " + ", ".join(f"{who} {count}" for who, count in sorted(counts.items())))
        return counts["real1"], counts["real2"]

    def has_counted(self) -> bool:
        """IPVS adds its counters up every two seconds."""
        families = self.vipctl("status")["services"]["web"]["ipvs"].values()
        counted: int = sum(family["connections"] for family in families)
        return counted == REQUESTS


def headline(text: str) -> None:
    print(f"\n== {text} {'=' * (90 - len(text))}\n", flush=True)


def show(text: str) -> None:
    print("\n".join(f"    {line}".rstrip() for line in text.rstrip().splitlines()), flush=True)


def is_vip(address: str) -> bool:
    return any(ip_address(address) in vips for vips in RANGES)


def run(demo: Demo) -> None:
    headline("1. A director, and addresses that are not its own")
    print(PICTURE.lstrip("\n") + "\n")
    before = [demo.shell(line) for line in TRACES]
    lost = tcp_get(demo.net.client, VIPS4[0], 80)
    demo.expect(not lost.answered, f"so far, {VIPS4[0]} does not answer: {lost.outcome.value}")
    headline("2. One command")
    demo.operator(ONE_LINE)
    headline(f"3. {REQUESTS} requests to {len(VIPS4 + VIPS6)} different VIPs; who answers?")
    shares = [demo.send(what, ask, vips) for what, ask, vips, _ in ROUNDS]
    balanced = shares == [wanted for *_, wanted in ROUNDS]
    demo.expect(
        balanced, "all by their real servers' weights, 1 to 2; for IPv6 there is only real1"
    )
    headline("4. What the director says")
    wait_until(demo.has_counted, "IPVS has counted the requests", limit=15)
    demo.operator("vipctl status")
    headline("5. No VIP is on any interface of the director")
    words = demo.shell("ip -brief addr").split()
    owned = [str(ip_interface(word).ip) for word in words if "/" in word]
    demo.expect(bool(owned) and not any(map(is_vip, owned)), f"{len(owned)} addresses, no VIP")
    headline("6. What the director itself serves (say, SSH) is not exposed by its VIPs")
    for address in ("10.0.0.1", "fd00::1", VIPS4[0], VIPS6[-1]):
        reply = tcp_get(demo.net.client, address, 22)
        whose = "a VIP" if is_vip(address) else "the director's own"
        said = reply.server or reply.outcome.value
        as_due = said == ("refused" if is_vip(address) else "director")
        demo.expect(as_due, f"port 22 of {address}, {whose}: {said}")
    headline("7. And all is gone again")
    demo.operator("vipctl remove-service web")
    after = [demo.shell(line) for line in TRACES]
    demo.expect(after == before, "rulesets, rules and IPVS are as before the first command")


def main() -> int:
    terminate_like_interrupt()
    print("Building a client, a director and two real servers ...", flush=True)
    with lab() as net, tempfile.TemporaryDirectory(prefix="vipctl-demo-") as state:
        roles = (
            (net.reals[0], "real1", 80),
            (net.reals[1], "real2", 80),
            (net.director, "director", 22),
        )
        for host, name, port in roles:
            for kind in (TcpServer, UdpServer):
                for wildcard in ("0.0.0.0", "::"):
                    kind(host, wildcard, port, name)
        demo = Demo(net, Vipctl(net.director, Path(state)))
        run(demo)
    told = "; ".join(demo.broken)
    print(
        "\ndemo: " + (f"NOT as it should be: {told}" if told else "everything was as it should be")
    )
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
