"""`make demo`: a director balances VIPs that it does not own, with real packets and real IPVS.

The hosts are network namespaces. Ends 0 only if everything that it shows was as it should be.
"""

import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import Outcome, tcp_get, udp_ask

PICTURE = """
    client 10.0.0.2 ──── director 10.0.0.1 ──┬── real1  10.0.1.11  fd00:1::11
           fd00::2                fd00::1    └── real2  10.0.1.12

    The client's router sends 203.0.113.0/24, 198.51.100.0/24 and 2001:db8:1::/64 to the director.
    The director owns none of these addresses. IPVS alone would never see a packet for them.
"""
LINE = (
    "add-range 203.0.113.0/24 198.51.100.10-198.51.100.99 2001:db8:1::/64 --service web "
    "--real 10.0.1.11 --real 10.0.1.12,weight=2 --real fd00:1::11 --scheduler wrr --forward nat"
)
VIPS = {
    "203.0.113.0/24": [f"203.0.113.{n}" for n in range(1, 250, 10)],
    "198.51.100.10-198.51.100.99": [f"198.51.100.{n}" for n in range(10, 100, 6)],
    "2001:db8:1::/64": [f"2001:db8:1:0:{n:x}::{n:x}" for n in range(1, 26)],
}
TRACES = {  # command → what it shows of vipctl
    "nft list ruleset": "vipctl",
    "ip rule": "30320",
    "ip -6 rule": "30320",
    "ip route show table all": "30320",
    "ipvsadm -Sn": "-A",
}


@dataclass(slots=True)
class Demo:
    """What was promised and did not come true is kept in `broken`."""

    net: Lab
    vipctl: Vipctl
    broken: list[str] = field(default_factory=list)

    def expect(self, holds: bool, what: str) -> None:
        print(f"    {'✓' if holds else '✗ NOT TRUE:'} {what}", flush=True)
        if not holds:
            self.broken.append(what)

    def operator(self, line: str) -> None:
        print(f"\ndirector# vipctl {line}", flush=True)
        done = self.vipctl.text(*line.split())
        print("    " + (done.stdout + done.stderr).rstrip().replace("\n", "\n    "))
        if done.code:
            self.broken.append(f"vipctl {line}: exit code {done.code}")

    def shell(self, line: str) -> str:
        return self.net.director.run(line.split(), check=False).stdout.strip()


def headline(text: str) -> None:
    print(f"\n── {text} {'─' * (76 - len(text))}", flush=True)


def ask_all(demo: Demo) -> None:
    """A table of who answered, for requests to many VIPs."""
    print(f"    {'range':30}{'VIPs':>5}  answered by")
    asked, servers = 0, set()
    for name, vips in VIPS.items():
        replies = [tcp_get(demo.net.client, vip, 80) for vip in vips]
        replies += [udp_ask(demo.net.client, vip, 53) for vip in vips[:5]]
        count = Counter(
            reply.server if reply.answered else reply.outcome.value for reply in replies
        )
        print(f"    {name:30}{len(vips):5}  {dict(sorted(count.items()))}", flush=True)
        asked += len(vips)
        servers |= {reply.server for reply in replies}
        demo.expect(all(reply.answered for reply in replies), "every HTTP and DNS-port request")
    demo.expect(asked >= 50, f"{asked} different VIPs")
    demo.expect(
        servers == {"real1", "real2"}, "by both real servers, twice as many by real2 (IPv4)"
    )


def show(demo: Demo) -> None:
    headline("One command")
    demo.operator(LINE)
    headline("Requests from the client: HTTP to each VIP, UDP to some")
    ask_all(demo)
    headline("What the director says")
    time.sleep(3)  # IPVS sums its counters every two seconds
    demo.operator("status")
    for line, trace in TRACES.items():
        demo.expect(trace in demo.shell(line), f"`{line}` shows it in the kernel")
    headline("No VIP is on any interface of the director")
    owned = demo.shell("ip -brief address")
    print("    " + owned.replace("\n", "\n    "))
    demo.expect(not any(vip in owned for vips in VIPS.values() for vip in vips), "no VIP there")
    headline("A service of the director itself is not exposed by its VIPs")
    demo.operator("set-service web --port tcp/80 --port udp/53")
    own = tcp_get(demo.net.client, "10.0.0.1", 22)
    demo.expect(own.server == "director", "10.0.0.1:22, the director's address: its own server")
    for vip in ("203.0.113.7", "2001:db8:1::7"):
        refused = tcp_get(demo.net.client, vip, 22).outcome is Outcome.REFUSED
        demo.expect(refused, f"{vip} port 22: refused")
    headline("And all is gone again")
    demo.operator("remove-service web")
    for line, trace in TRACES.items():
        demo.expect(trace not in demo.shell(line), f"nothing left in `{line}`")


def main() -> int:
    print(__doc__.splitlines()[0] if __doc__ else "")
    print(PICTURE)
    subprocess.run(["modprobe", "-q", "ip_vs"], check=False)
    with lab() as net, tempfile.TemporaryDirectory() as state:
        for name, host in (("real1", net.reals[0]), ("real2", net.reals[1])):
            for wildcard in ("0.0.0.0", "::"):
                TcpServer(host, wildcard, 80, name)
                UdpServer(host, wildcard, 53, name)
        for wildcard in ("0.0.0.0", "::"):
            TcpServer(net.director, wildcard, 22, "director")
        demo = Demo(net, Vipctl(net.director, Path(state)))
        show(demo)
    print("\ndemo: " + ("NOT as it should be: " + "; ".join(demo.broken) if demo.broken else "ok"))
    return 1 if demo.broken else 0


if __name__ == "__main__":
    sys.exit(main())
