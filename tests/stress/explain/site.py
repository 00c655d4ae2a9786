"""The hosts of a situation, and what is done to them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from string import Template
from typing import NamedTuple

from tests.conformance.servers import DatagramServer, WebServer, stand_in
from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import CommandError, Namespace, execute
from tests.harness.servers import TcpServer, UdpServer
from tests.harness.traffic import tcp_get
from tests.netns.addresses import OTHER_RANGES, RANGES
from tests.netns.ailments import TPROXY, words
from tests.netns.stored import balance
from tests.stress.explain import clients
from tests.stress.explain.breakages import Line
from tests.stress.explain.situation import Situation
from vipctl.health.verdicts import NONE, OfService, State, Verdict, Verdicts
from vipctl.state import verdicts

PORTS = (80, 443)
REALS = {4: ("10.0.1.11", "10.0.1.12"), 6: ("fd00:1::11", "fd00:1::12")}
FAR = {4: ("10.9.9.11", "10.9.9.12"), 6: ("fd09::11", "fd09::12")}
WAYS = {"nat": "-m", "dr": "-g", "tun": "-i"}  # ipvsadm's
FULL = "net.netfilter.nf_conntrack_max"
REFUSING = """table inet refusing {
    chain c { type filter hook input priority 0; tcp dport { 80, 443 } reject with tcp reset; }
}"""
TRACKING = """table inet tracking {
    chain c { type filter hook input priority 0; ct state new; }
}"""


class Site(NamedTuple):
    """`balanced`: there are real servers and IPVS, or else a counter stands in for both."""

    situation: Situation
    net: Lab
    vipctl: Vipctl
    balanced: bool
    proxies: list[TcpServer | UdpServer]

    @property
    def reals(self) -> tuple[str, ...]:
        """The addresses of the real servers, of the situation's IP version."""
        return (FAR if self.situation.far else REALS)[self.situation.version]

    def unplug(self, number: int) -> None:
        """Take a real server's cable."""
        self.net.reals[number].ip("link set eth0 down")

    def refuse(self, number: int) -> None:
        """Have a real server refuse what is for its ports."""
        self.net.reals[number].run(["nft", "-f", "-"], input=REFUSING)

    def lose_vips(self, number: int) -> None:
        """Take the VIPs from a real server, which passes nothing on."""
        self.net.reals[number].ip(*(f"route del local {prefix} dev lo" for prefix in RANGES))

    def lead_back_elsewhere(self, number: int) -> None:
        """Have a real server answer clients by the router, past the director."""
        gateways = "default via 10.0.1.254", "::/0 via fd00:1::fe"
        self.net.reals[number].ip(*(f"route replace {gateway}" for gateway in gateways))

    def end_proxies(self) -> None:
        """As if they had died."""
        for proxy in self.proxies:
            proxy.close()

    def fail(self, *numbers: int) -> None:
        """Have health checks say so of these real servers."""
        self.vipctl.text("set-service", "web", "--check", "tcp:80")
        failed = dict.fromkeys((self.reals[n] for n in numbers), Verdict(State.DOWN, share=0))
        with self.vipctl.host:
            verdicts.write(self.vipctl.state_dir, Verdicts({"web": OfService(0x1000, failed)}))
        self.vipctl.text("restore")

    def flush_module(self) -> None:
        """Take away all that vip_shim has here."""
        from vipctl.linux import shim

        with self.vipctl.host:
            shim.flush()

    def fill_tracking(self) -> None:
        """Have connections tracked, and no room for any but one that there is: in all hosts."""
        self.net.director.run(["nft", "-f", "-"], input=TRACKING)
        tcp_get(self.net.client, "10.0.0.1", 22)
        execute(["sysctl", "-w", f"{FULL}=1"])

    def break_it(self) -> None:
        """Do what the situation says. What another breakage has left no place for, fails."""
        for one in self.situation.breakages:
            for line in one.make:
                with suppress(CommandError):
                    self._do(line)

    def _do(self, line: Line) -> None:
        if callable(line):
            line(self)
            return
        said = words(self._filled(line), self.situation.method, self.situation.version)
        first, *rest = said.split()
        if first == "vipctl":
            self.vipctl.text(*rest)
        else:
            self.net.director.run(["sh", "-c", said])

    def _filled(self, line: str) -> str:
        asked = self.situation
        ends = [f"[{real}]" if asked.version == 6 else real for real in self.reals]
        facts = {
            "vip": asked.vip, "six": "-6" if asked.version == 6 else "", "way": WAYS[asked.forward],
            "real": ends[0], "other": ends[1], "bare": self.reals[0], "bare2": self.reals[1],
        }  # fmt: skip
        return Template(line).safe_substitute(facts)


@contextmanager
def site(situation: Situation, directory: Path, *, ipvs: bool) -> Iterator[Site]:
    """Build it whole; break it, and remove it afterwards."""
    before = execute(["sysctl", "-n", FULL], check=False).stdout.strip()
    with lab(reals=2 if ipvs else 0) as net:
        clients.prepare(net)
        vipctl = Vipctl(net.director, directory / "state")
        built = Site(situation, net, vipctl, ipvs, [])
        try:
            _serve(built)
            _offer(built)
            built.break_it()
            yield built
        finally:
            if ipvs and before:
                execute(["sysctl", "-w", f"{FULL}={before}"])
            with net.director:
                verdicts.write(vipctl.state_dir, NONE)


def _serve(built: Site) -> None:
    for number, real in enumerate(built.net.reals):
        _be_real(built, real, number)
    TcpServer(built.net.director, "0.0.0.0", 22, "director")
    if built.situation.proxied:
        for bind in ("0.0.0.0", "::"):
            built.proxies.append(WebServer(built.net.director, bind, 8080, "proxy"))
            stand_in(built.proxies[-1].socket)


def _be_real(built: Site, real: Namespace, number: int) -> None:
    """Answer as the forwarding method needs it, and at an address that is far."""
    forward = built.situation.forward
    for bind in ("0.0.0.0", "::"):
        for port in PORTS:
            TcpServer(real, bind, port, f"real{number}")
        stand_in(DatagramServer(real, bind, 53, f"real{number}").socket)
    if forward != "nat":
        built.net.accept_vips(real, *RANGES, tun=forward == "tun")
    near = {version: found[number] for version, found in REALS.items()}
    far = {version: found[number] for version, found in FAR.items()}
    real.ip(f"address add {far[4]}/32 dev lo", f"address add {far[6]}/128 dev lo nodad")
    built.net.director.ip(*(f"route add {far[v]} via {near[v]} dev eth1" for v in far))


def _offer(built: Site) -> None:
    """The services, by commands; where there is no IPVS, real servers are stored alone."""
    asked, vipctl = built.situation, built.vipctl
    named = ["--service=web", *(f"--port={port}" for port in asked.ports)]
    reals = tuple(f"{r},weight={w}" for r, w in zip(built.reals, asked.weights, strict=True))
    if asked.proxied:
        vipctl("add-range", *RANGES, *named, f"--method={TPROXY}", "--to-port=8080")
    elif built.balanced:
        how = [f"--method={asked.method}", f"--forward={asked.forward}"]
        how += [f"--scheduler={asked.scheduler}", *(f"--real={real}" for real in reals)]
        vipctl("add-range", *RANGES, *named, *how, *asked.options)
    else:
        vipctl("add-range", *RANGES, *named, f"--method={asked.method}", *asked.options)
        balance(vipctl, asked.method, reals, asked.forward, asked.scheduler)
    if asked.other == TPROXY:
        vipctl("add-range", *OTHER_RANGES, "--service=other", "--method=tproxy", "--to-port=8081")
    elif asked.other:
        vipctl("add-range", *OTHER_RANGES, "--fwmark=99", f"--method={asked.other}")
