"""The hosts of the suite, built once, and one method's services on the director.

    far --- (1280 bytes) --- client --- director --- real1, real2

The client is a router too: far's, and the director's default one. Real servers answer nat, and
services of kind `back`, through the director, everything else past it.
"""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conformance import plan
from tests.conformance.arrivals import Arrivals
from tests.conformance.cell import PROXY, Cell
from tests.conformance.servers import ANY, AT_LENGTH, Listeners, NotingServer
from tests.harness import ftp
from tests.harness.command import Finished, Vipctl
from tests.harness.ftp import FtpServer
from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace, execute
from tests.harness.servers import TcpServer

FAR_MTU = 1280  # bytes that pass the link between the client and far
REFUSED = (2, 3)  # exit codes
ROUTING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")
OWN_TCP, OWN_UDP = 22, 5353  # the director's own: sshd, a resolver
UNSERVED = 81  # a port of real servers that no service of kind `ports` has
PAST = 100  # the routing table of answers past the director

Kind = tuple[str, str]  # and a forwarding method


class Site:
    """The lab, and what vipctl was asked for there."""

    def __init__(self, hosts: Lab, far: Namespace, state_dir: Path) -> None:
        self.client, self.director, self.reals = hosts.client, hosts.director, hosts.reals
        self.far = far
        self.lock = threading.Lock()
        self.vipctl = Vipctl(hosts.director, state_dir)
        self.document = state_dir.with_name("services.yml")
        self.arrivals = Arrivals(hosts.director)
        self.refusals: dict[Kind, str] = {}
        self.method = ""
        self.own = [NotingServer(self.director, bind, OWN_UDP, "director") for bind in ANY]
        for bind in ANY:
            TcpServer(self.director, bind, OWN_TCP, "director")
        self.proxies: list[Listeners] = []
        self.open_proxies()

    def command(self, *words: str) -> Finished:
        """Run vipctl, one command at a time: it captures what this process prints."""
        with self.lock:
            return self.vipctl.text(*words)

    def offer(self, method: str, kinds: Iterable[Kind]) -> None:
        """Have services of these kinds; remember which of them vipctl refuses."""
        self.method = method
        new = [kind for kind in kinds if kind not in self.refusals]
        if new and not self.refusals and self._apply(method, new):
            self.refusals = dict.fromkeys(new, "")
            return
        for kind in new:
            words = [self._order(order) for order in plan.orders(method, *kind)]
            self.refusals[kind] = next(filter(None, words), "")

    def _apply(self, method: str, kinds: list[Kind]) -> bool:
        """Ask for the first services in one command."""
        orders = [order for kind in kinds for order in plan.orders(method, *kind)]
        services = {order.name: order.fields for order in orders}
        self.document.write_text(json.dumps({"services": services}))
        return self.command("apply", str(self.document)).code == 0

    def _order(self, order: plan.Order) -> str:
        """Return nothing, or the word for vipctl's refusal."""
        done = self.command("add-range", *order.words())
        if done.code in REFUSED:
            return "refused by vipctl"
        return f"vipctl failed: {done.stderr.strip()}" if done.code else ""

    def end(self, kind: str, forwarding: str) -> None:
        """Remove one service."""
        self.vipctl("remove-service", f"{kind}-{forwarding}")
        del self.refusals[kind, forwarding]

    def remove_services(self) -> None:
        """Return the director to where it was before any method."""
        self.document.write_text("services: {}\n")
        self.vipctl("apply", str(self.document))
        self.refusals.clear()

    def open_proxies(self) -> None:
        """Start the director's transparent listeners."""
        self.proxies = [
            Listeners(self.director, f"{PROXY}{number}", (port,), (port,))
            for number, port in enumerate((plan.FIRST, plan.SECOND), 1)
        ]

    def close_proxies(self) -> None:
        """Stop them."""
        for listeners in self.proxies:
            listeners.close()


@contextmanager
def site(state_dir: Path) -> Iterator[Site]:
    """Build all hosts and start all servers."""
    with lab() as hosts:
        far = Namespace.create("far")
        try:
            for host in (*hosts.hosts, far):
                _complain_at_will(host)
            _build_far(hosts, far)
            _build_client(hosts)
            _build_director(hosts.director)
            Listeners(hosts.director, "director", (plan.OWN,), ())
            for number, real in enumerate(hosts.reals, 1):
                _build_real(real, plan.REALS[6][number - 1])
                Listeners(real, f"real{number}", (80, UNSERVED), (53, 80, UNSERVED, AT_LENGTH))
                for bind in ANY:
                    FtpServer(real, bind, ftp.PORT, f"real{number}")
            yield Site(hosts, far, state_dir)
        finally:
            far.close()


def _complain_at_will(host: Namespace) -> None:
    """Many cells at a time see more ICMP errors than a kernel sends to one client by default."""
    host.sysctl("net.ipv4.icmp_ratelimit", 0)
    host.sysctl("net.ipv6.icmp.ratelimit", 0)


def _build_far(hosts: Lab, far: Namespace) -> None:
    hosts.client.ip(
        f"link add far mtu {FAR_MTU} up type veth peer name eth0 netns {far.name}",
        "addr add 10.9.0.1/24 dev far",
        "addr add fd00:9::1/64 dev far nodad",
    )
    far.ip(
        "link set eth0 up",
        "addr add 10.9.0.2/24 dev eth0",
        "addr add fd00:9::2/64 dev eth0 nodad",
        "route add default via 10.9.0.1",
        "route add ::/0 via fd00:9::1",
    )


def _build_client(hosts: Lab) -> None:
    """Without GSO its packets are as large as on a wire; it gives up soon on unknown neighbours."""
    for key in ROUTING:
        hosts.client.sysctl(key, 1)
    for version in (4, 6):
        hosts.client.sysctl(f"net.ipv{version}.neigh.eth0.retrans_time_ms", 500)
    hosts.client.ip(
        "link set eth0 gso_max_segs 1",
        *(f"route add {network} via 10.0.0.1" for network in plan.inside_subnet(4)),
        *(f"route add {network} via fd00::1" for network in plan.inside_subnet(6)),
    )


def _build_director(director: Namespace) -> None:
    execute(["modprobe", "--all", "ip_vs", "ip_vs_ftp"])
    director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
    director.sysctl("net.ipv4.conf.all.send_redirects", 0)


def _build_real(real: Namespace, own6: str) -> None:
    execute(["modprobe", "--all", "ipip", "ip6_tunnel", "sit", "fou", "fou6"])
    real.sysctl("net.ipv4.conf.all.arp_ignore", 1)
    real.ip(*(f"link set {device} up" for device in ("tunl0", "sit0")))
    real.ip(f"link add tunnel6 up type ip6tnl mode any local {own6}")
    real.sysctl("net.ipv4.conf.tunnel6.rp_filter", 0)
    for family in ("-4", "-6"):
        real.run(["ip", family, "fou", "add", "port", "6080", "gue"])
    real.sysctl("net.ipv4.conf.tunl0.rp_filter", 0)
    for version, gateway in ((4, "10.0.1.254"), (6, "fd00:1::fe")):
        commands = [f"route add default via {gateway} table {PAST}", *_owning(version)]
        batch = "\n".join(commands) + "\n"
        execute(["ip", "-n", real.name, f"-{version}", "-batch", "-"], input=batch)


def _owning(version: int) -> Iterator[str]:
    """Accept the VIPs of dr and tun, and answer past the director."""
    for network, past in plan.owned_by_reals(version):
        yield f"route add local {network} dev lo"
        if past:
            yield f"rule add from {network} lookup {PAST}"


def vip(site: Site, cell: Cell, kind: str = "all") -> str:
    """Return the VIP of a cell; raise NotOffered if vipctl refused the service."""
    if refusal := site.refusals[kind, cell.forwarding]:
        raise NotOffered(refusal)
    return plan.vip(kind, cell)


class NotOffered(Exception):
    """vipctl refused the service that a cell is about; says the word for it."""
