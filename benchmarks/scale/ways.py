"""How each contestant loads addresses, adds one more and removes them all: commands and files."""

import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.raw import ipset, nft
from benchmarks.scale.plan import MARK, METHODS
from benchmarks.scale.site import Site

VIPCTL = Path(sys.executable).with_name("vipctl")
TABLE = 77
LOCAL = (
    f"rule add fwmark {MARK} lookup {TABLE}",
    f"route add local default dev lo table {TABLE}",
)
PROTOCOL = 99  # of routes

PEER = """table ip peer {{
    set vips {{ type ipv4_addr; {flags} }}
    chain prerouting {{
        type filter hook prerouting priority mangle;
        ip daddr @vips meta mark set {mark}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Case:
    """What a contestant is asked for: addresses (or prefixes) of one IP version, and one more."""

    version: int
    vips: Sequence[str]
    extra: str


@dataclass(frozen=True, slots=True)
class Commands:
    """What is timed."""

    load: Sequence[str]
    more: Sequence[str]
    remove: Sequence[str]


Way = Callable[[Site, Case], Commands]


def vipctl(site: Site, *words: str) -> list[str]:
    """Return a command of vipctl with a state of this director's own."""
    return [str(VIPCTL), "--state-dir", str(site.scratch / "state"), *words]


def write(site: Site, name: str, lines: Iterable[str]) -> str:
    """Write a file for a command; return its path."""
    path = site.scratch / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def _method(method: str, site: Site, case: Case) -> Commands:
    listed = "@" + write(site, "vips", case.vips)
    marked = ("--fwmark", str(MARK))
    return Commands(
        vipctl(site, "add-range", listed, *marked, "--method", method),
        vipctl(site, "add-range", case.extra, *marked),
        vipctl(site, "remove-range", listed),
    )


def _address(site: Site, case: Case) -> Commands:
    site.host.ip("link add vips type bridge", "link set vips up")
    lines = (f"addr add {vip}/32 dev vips" for vip in case.vips)
    more = ["ip", "addr", "add", f"{case.extra}/32", "dev", "vips"]
    return Commands(_batch(site, lines), more, ["ip", "link", "delete", "vips"])


def _rule(site: Site, case: Case) -> Commands:
    """As kube-router for external IPs: all of one priority."""
    site.host.ip(f"route add local default dev lo table {TABLE}")

    def words(vip: str) -> str:
        return f"pref 32764 to {vip} lookup {TABLE}"

    remove = _batch(site, (f"rule del {words(vip)}" for vip in case.vips), "unbatch")
    load = _batch(site, (f"rule add {words(vip)}" for vip in case.vips))
    return Commands(load, ["ip", "rule", "add", *words(case.extra).split()], remove)


def _route(site: Site, case: Case) -> Commands:
    words = f"dev lo table local proto {PROTOCOL}"
    load = _batch(site, (f"route add local {vip} {words}" for vip in case.vips))
    more = ["ip", "route", "add", "local", case.extra, *words.split()]
    remove = ["ip", "route", "flush", "table", "local", "proto", str(PROTOCOL)]
    return Commands(load, more, remove)


def _batch(site: Site, lines: Iterable[str], name: str = "batch") -> list[str]:
    return ["ip", "-batch", write(site, name, lines)]


def _nft(flags: str, site: Site, case: Case) -> Commands:
    site.host.ip(*LOCAL)
    size = f"size {len(case.vips) * 2};"
    _run_nft(site, PEER.format(flags=flags or size, mark=MARK))
    elements = ("add element ip peer vips {", *(f"{vip}," for vip in case.vips), "}")
    return Commands(
        ["nft", "-f", write(site, "elements", elements)],
        ["nft", "add", "element", "ip", "peer", "vips", f"{{ {case.extra} }}"],
        ["nft", "flush", "set", "ip", "peer", "vips"],
    )


def _run_nft(site: Site, text: str) -> None:
    site.host.run(["nft", "-f", "-"], input=text)


def _ipset(kind: str, site: Site, case: Case) -> Commands:
    """As `ipset save` writes it: without `create`, each `add` asks the kernel for the type."""
    site.host.ip(*LOCAL)
    create = ipset.skeleton(kind, 4, len(case.vips))
    site.host.run(["ipset", "restore"], input=create)
    marks = f" skbmark {MARK:#x}/0xffffffff" if kind == "hash:net" else ""
    _have_iptables_ask(site, kind, 4)
    members = (f"add {ipset.NAME} {vip}{marks}" for vip in case.vips)
    return Commands(
        ["ipset", "restore", "-exist", "-file", write(site, "set", (create.strip(), *members))],
        ["ipset", "add", ipset.NAME, case.extra, *marks.split()],
        ["ipset", "flush", ipset.NAME],
    )


def _have_iptables_ask(site: Site, kind: str, version: int) -> None:
    program = "iptables-legacy" if version == 4 else "ip6tables-legacy"
    mark = f"-m set --match-set {ipset.NAME} dst -j MARK --set-mark {MARK}"
    if kind == "hash:net":
        mark = f"-j SET --map-set {ipset.NAME} dst --map-mark"
    site.host.run([program, "-t", "mangle", "-A", "PREROUTING", *mark.split()])


def _raw(mechanism: str, site: Site, case: Case, *, fixed: bool = False) -> Commands:
    if mechanism != "route":
        for line in LOCAL:
            site.host.run(["ip", f"-{case.version}", *line.split()])
    if mechanism == "nft":
        _run_nft(site, nft.skeleton(case.version, len(case.vips) if fixed else None))
    elif mechanism != "route":
        skeleton = ipset.skeleton(mechanism, case.version, len(case.vips))
        site.host.run(["ipset", "restore"], input=skeleton)
        _have_iptables_ask(site, mechanism, case.version)
    program = [sys.executable, "-m", "benchmarks.raw", mechanism]
    version, keys = str(case.version), _keys(site, "keys", case.vips)
    return Commands(
        [*program, "add", version, keys],
        [*program, "add", version, _keys(site, "key", [case.extra])],
        [*program, "flush", version, keys],
    )


def _keys(site: Site, name: str, addresses: Sequence[str]) -> str:
    path = site.scratch / name
    packed = partial(socket.inet_pton, socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET)
    path.write_bytes(b"".join(map(packed, addresses)))
    return str(path)


WAYS: dict[str, Way] = {
    **{method: partial(_method, method) for method in METHODS},
    "address": _address,
    "rule": _rule,
    "nft-interval": partial(_nft, "flags interval;"),
    "nft-hash": partial(_nft, ""),
    "ipset-net": partial(_ipset, "hash:net"),
    "ipset-ip": partial(_ipset, "hash:ip"),
    "ip-route": _route,
    "raw-nft": partial(_raw, "nft", fixed=True),
    "raw-nft-grown": partial(_raw, "nft"),
    "raw-route": partial(_raw, "route"),
    "raw-net": partial(_raw, "hash:net"),
    "raw-ip": partial(_raw, "hash:ip"),
}
