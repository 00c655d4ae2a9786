"""The module beside other people's TPROXY, NAT, logs; and the director as a client of its VIPs."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness import kernellog, module
from tests.harness.command import Vipctl
from tests.harness.lab import Lab, family
from tests.harness.netns import Namespace
from tests.harness.servers import UdpServer
from tests.harness.traffic import udp_ask
from tests.vm.observe import outcomes, tcp, udp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
BOTH = [VIP4, VIP6]
WEB = ("203.0.113.0/24", "2001:db8:1::/64", "--service=web", "--method=shim")
REALS = ("--real=10.0.1.11", "--real=fd00:1::11")
TRANSPARENT = {4: (socket.IPPROTO_IP, 19), 6: (socket.IPPROTO_IPV6, 75)}
PROXY, ASKED, CALLED = 9999, 8080, 5353  # ports
REFUSED = re.compile(r"TcpExt: (.*)\nTcpExt: (.*)")


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with module.loaded():
        yield


@contextmanager
def table(host: Namespace, *chains: str) -> Iterator[None]:
    """Somebody's nftables."""
    lines = ["table inet others {", *chains, "}", ""]
    host.run(["nft", "-f", "-"], input="\n".join(lines))
    try:
        yield
    finally:
        host.run(["nft", "delete", "table", "inet", "others"])


@contextmanager
def routed(host: Namespace, *words: str) -> Iterator[None]:
    """Rules and routes of somebody's."""
    host.ip(*(f"{what} add {rest}" for what, rest in map(_split, words)))
    try:
        yield
    finally:
        host.ip(*(f"{what} del {rest}" for what, rest in map(_split, words)))


def _split(words: str) -> tuple[str, str]:
    what, _, rest = words.partition(" ")
    return what, rest


@contextmanager
def proxy(host: Namespace, version: int) -> Iterator[socket.socket]:
    """Listens for connections to whatever address."""
    with host:
        listening = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(*TRANSPARENT[version], 1)
        listening.bind(("" if version == 4 else "::", PROXY))
        listening.listen()
        listening.settimeout(10)
        yield listening


@pytest.mark.parametrize(("version", "vip"), [(4, VIP4), (6, VIP6)])
def test_a_packet_that_has_a_socket_is_left_alone(
    net: Lab, vipctl: Vipctl, version: int, vip: str
) -> None:
    """Somebody's TPROXY takes a port of a VIP; all others are balanced."""
    vipctl("add-range", *WEB, *REALS)
    ip = "ip" if version == 4 else "ip6"
    rule = f"{ip} daddr {vip} tcp dport {ASKED} tproxy {ip} to :{PROXY} meta mark set 0x99 accept"
    chain = f"chain c {{ type filter hook prerouting priority mangle; {rule}; }}"
    everything = "0.0.0.0/0" if version == 4 else "::/0"
    host = net.director
    six = ["ip", "-6"] if version == 6 else ["ip"]
    host.run([*six, "rule", "add", "fwmark", "0x99", "lookup", "99"])
    try:
        with (
            routed(host, f"route local {everything} dev lo table 99"),
            table(host, chain),
            proxy(host, version) as listening,
        ):
            with net.client, socket.socket(family(vip)) as asking:
                asking.settimeout(10)
                asking.connect((vip, ASKED))
                accepted, _ = listening.accept()
                with accepted:
                    assert accepted.getsockname()[:2] == (vip, ASKED)
            assert tcp(net.client, [vip]) == {"real1": 1}
    finally:
        host.run([*six, "rule", "del", "fwmark", "0x99", "lookup", "99"])


def test_what_nat_takes_back_from_a_vip_has_no_mark(net: Lab, vipctl: Vipctl) -> None:
    """The director also translates the address of a host behind it into one that is a VIP."""
    vipctl("add-range", *WEB, *REALS)
    UdpServer(net.client, "0.0.0.0", CALLED, "client")
    translated = f"ip saddr 10.0.1.12 udp dport {CALLED} snat ip to 203.0.113.99"
    given = f"ip daddr 203.0.113.98 udp dport {CALLED} dnat ip to 10.0.1.12:53"
    chains = (
        f"chain a {{ type nat hook postrouting priority srcnat; {translated}; }}",
        f"chain b {{ type nat hook prerouting priority dstnat; {given}; }}",
        "chain c { type filter hook forward priority 0; meta mark != 0 counter; }",
    )
    with table(net.director, *chains):
        assert udp_ask(net.reals[1], net.client4, CALLED).server == "client"
        assert udp_ask(net.client, "203.0.113.98", CALLED).server == "real2"
        assert udp(net.client, BOTH) == {"real1": 2}
        listed = net.director.run(["nft", "list", "chain", "inet", "others", "c"]).stdout
    assert "counter packets 0 " in listed


def refused_by_rp_filter(host: Namespace) -> int:
    """As netstat(8) has it."""
    found = REFUSED.search(host.proc_net("netstat"))
    assert found
    names, numbers = (line.split() for line in found.groups())
    return int(dict(zip(names, numbers, strict=True))["IPReversePathFilter"])


@pytest.mark.parametrize(
    ("rp_filter", "source", "counted"),
    [(1, "10.0.1.200", 1), (2, "10.9.9.9", 1), (0, "10.0.1.1", 0), (1, "10.0.1.1", 0)],
)
def test_refused_sources_are_told_of_as_the_kernel_does(
    net: Lab, vipctl: Vipctl, rp_filter: int, source: str, counted: int
) -> None:
    """Those that rp_filter refuses are counted, and all are logged by log_martians."""
    vipctl("add-range", *WEB, *REALS)
    settings = {"net.ipv4.conf.all.rp_filter": rp_filter, "net.ipv4.conf.all.log_martians": 1}
    before = {key: net.director.sysctl(key) for key in settings}
    for key, value in settings.items():
        net.director.sysctl(key, value)
    net.client.ip(f"addr add {source}/32 dev lo")
    try:
        then, told = refused_by_rp_filter(net.director), len(kernellog.lines())
        assert not udp_ask(net.client, VIP4, 53, source=source, timeout=0.5).answered
        assert refused_by_rp_filter(net.director) - then == counted
    finally:
        net.client.ip(f"addr del {source}/32 dev lo")
        for key, old in before.items():
            net.director.sysctl(key, old)
    words = f"martian source {VIP4} from {source}, on dev eth0"
    assert any(words in line for line in kernellog.lines()[told:])
    assert vipctl("status")["services"]["web"]["packets"]["refused"] == 1


# the director as a client

GATEWAYS = ("route default via 10.0.0.2", "route ::/0 via fd00::2")


def test_the_director_itself_is_a_client(net: Lab, vipctl: Vipctl) -> None:
    """IPVS takes what it sends to a VIP, but with other people's marks."""
    vipctl("add-range", *WEB, *REALS, "--port=tcp/80", "--port=udp/80")
    marking = "chain c { type filter hook output priority raw; udp dport 80 meta mark set 0x99; }"
    with routed(net.director, *GATEWAYS):
        assert tcp(net.director, BOTH) == {"real1": 2}
        assert udp(net.director, BOTH) == {"real1": 2}
        with table(net.director, marking):
            tcp_met, udp_met = outcomes(net.director, [VIP4], 80)[VIP4]
        assert (tcp_met, udp_met != "real1") == ("real1", True)


LOOSE = "net.netfilter.nf_conntrack_tcp_loose"
SYNPROXY = (
    "chain a { type filter hook prerouting priority raw;"
    " tcp dport 80 tcp flags & (fin | syn | rst | ack) == syn notrack; }",
    "chain b { type filter hook input priority 0;"
    " tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm;"
    " tcp dport 80 ct state invalid drop; }",
)


def test_synproxy_on_the_director(net: Lab, vipctl: Vipctl) -> None:
    """As nft(8) has it: its handshake with the real server begins in LOCAL_OUT."""
    vipctl("add-range", *WEB, *REALS, "--set-sysctls")
    with routed(net.director, *GATEWAYS), table(net.director, *SYNPROXY):
        before = net.director.sysctl(LOOSE)
        net.director.sysctl(LOOSE, 0)
        try:
            assert tcp(net.client, BOTH) == {"real1": 2}
        finally:
            net.director.sysctl(LOOSE, before)
