"""What the client meets, and what `explain` says that it meets."""

import json
import socket
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from tests.harness.lab import family
from tests.harness.traffic import tcp_get, udp_ask
from tests.harness.waiting import wait_until
from tests.stress.explain.site import Site
from tests.vm.observe import at_once

SILENCE = 1.5  # seconds
PATIENCE = 10.0  # where `explain` and the client do not agree
UNTIL_IPVS = {"service", "role", "source", "acceptance", "routing", "conntrack", "firewall INPUT"}
UNTIL_IPVS |= {"proxy", "firewall PREROUTING", "firewall neighbours"}
OWN = {*UNTIL_IPVS, "firewall OUTPUT", "firewall FORWARD"} - {"proxy"}
DISCARD = 9  # a port
LAST = {4: "10.0.0.1", 6: "fd00::1"}  # the director's
COUNTERS = """table inet fuzz {
    counter came {}
    counter taken {}
    chain first { type filter hook prerouting priority -450; udp dport 9 counter name came; }
    chain last {
        type filter hook input priority 98;
        meta mark { 0x1000, 99 } %s daddr %s counter name taken
    }
}"""


class Told(NamedTuple):
    """The causes that `explain` names, and of which steps on the director it cannot tell."""

    causes: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def answers(self) -> bool:
        """Whether it says that the client gets an answer."""
        return not self.causes


def told(site: Site) -> Told:
    """Without IPVS, up to where that would take the packet."""
    asked = site.situation
    words = [asked.vip, asked.port, f"--from={asked.client.sources[asked.version][asked.asking]}"]
    words += [f"--in={asked.client.device}"] if asked.client.device else []
    words += ["--probe"] if asked.probe else []
    done = site.vipctl.text("--json", "explain", *words)
    if done.code not in (0, 3):
        raise RuntimeError(f"explain {' '.join(words)}: {done}")
    whole = site.balanced or asked.proxied
    steps = [s for s in json.loads(done.stdout)["steps"] if whole or s["name"] in UNTIL_IPVS]
    causes = dict.fromkeys(s["cause"] for s in steps if s["cause"])
    doubts = (s["name"] for s in steps if s["state"] == "unknown" and _is_ours(s["name"]))
    return Told(tuple(causes), tuple(doubts))


def _is_ours(step: str) -> bool:
    """Whether it is of the director's own, or has asked others."""
    return step in OWN or step.startswith("probe")


def met(site: Site, patience: float) -> bool:
    """Whether each of the client's addresses gets an answer; without IPVS, comes where that is."""
    if not (site.balanced or site.situation.proxied):
        return _taken(site, patience)
    sources = site.situation.client.sources[site.situation.version]
    return all(at_once(*(partial(_answered, site, source, patience) for source in sources)))


def _answered(site: Site, source: str, patience: float) -> bool:
    """A firewall of the director's own has a socket there fail at once."""
    asked = site.situation
    protocol, port = asked.port.split("/")
    ask, host = tcp_get if protocol == "tcp" else udp_ask, asked.client.host(site.net)
    try:
        return ask(host, asked.vip, int(port), source=source, timeout=patience).answered
    except PermissionError:
        return False


def _taken(site: Site, patience: float) -> bool:
    """Count first packets where IPVS would take them; a datagram that follows each tells when."""
    asked, director = site.situation, site.net.director
    name = "ip" if asked.version == 4 else "ip6"
    director.run(["nft", "-f", "-"], input=COUNTERS % (name, asked.vip))
    sources = asked.client.sources[asked.version]
    try:
        with suppress(TimeoutError):
            _send(site, sources)
            wait_until(lambda: _counted(site, "came") >= len(sources), "all came", patience)
        return _counted(site, "taken") >= len(sources)
    finally:
        director.run(["nft", "delete", "table", "inet", "fuzz"])


def _send(site: Site, sources: tuple[str, ...]) -> None:
    asked = site.situation
    protocol, port = asked.port.split("/")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    for source in sources:
        _begin(site, kind, source, (asked.vip, int(port)))
        _begin(site, socket.SOCK_DGRAM, source, (LAST[asked.version], DISCARD))


def _begin(site: Site, kind: socket.SocketKind, source: str, to: tuple[str, int]) -> None:
    """Send a first packet, if there is a way."""
    with site.net.client, socket.socket(family(source), kind) as sending:
        sending.bind((source, 0))
        sending.setblocking(False)
        with suppress(OSError):
            sending.connect(to)
            sending.send(b"last")


def _counted(site: Site, name: str) -> int:
    listed = site.net.director.run(["nft", "-j", "list", "counter", "inet", "fuzz", name]).stdout
    (found,) = (one["counter"] for one in json.loads(listed)["nftables"] if "counter" in one)
    packets: int = found["packets"]
    return packets
