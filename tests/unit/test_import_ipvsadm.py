"""Lines of ipvsadm: by address, by hand, wrong ones, and what is not carried over."""

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.importing import of_ipvsadm, told
from vipctl.errors import UsageError
from vipctl.importing import ipvsadm
from vipctl.importing.gather import Gathered

PORTS = st.sampled_from([0, 53, 80, 443])
RULES = st.lists(
    st.tuples(
        st.sampled_from(["-t", "-u"]),
        st.sampled_from(["203.0.113.7", "203.0.113.8", "203.0.113.9", "[2001:db8::1]"]),
        PORTS,
        st.sampled_from(["-s rr", "-s wlc", "-s rr -p 60"]),
        st.sampled_from(["11", "12"]),
    ),
    max_size=12,
    unique_by=lambda rule: rule[:3],
)
Rule = tuple[str, str, int, str, str]


def lines(rules: Sequence[Rule]) -> str:
    found = []
    for kind, vip, port, options, host in rules:
        rip = f"[fd00:1::{host}]" if ":" in vip else f"10.0.1.{host}"
        found.append(f"-A {kind} {vip}:{port} {options}")
        found.append(f"-a {kind} {vip}:{port} -r {rip}:{port} -m -w 1")
    return "\n".join(found)


@given(RULES)
def test_rules_by_address(rules: list[Rule]) -> None:
    """Each packet goes where it went: to the service of its port, else to that of every port."""
    found = of_ipvsadm(lines(rules))
    assert not found.notes
    assert len({service.name for service, _ in found.services}) == len(found.services)
    for kind, protocol in (("-t", "tcp"), ("-u", "udp")):
        for vip in ("203.0.113.7", "203.0.113.8", "203.0.113.9", "[2001:db8::1]"):
            for port in (1, 53, 80, 443, 65535):
                by = {r[2]: (r[3], r[4]) for r in rules if r[:2] == (kind, vip)}
                assert _holder(found, vip, protocol, port) == by.get(port, by.get(0))


def _holder(found: Gathered, vip: str, protocol: str, port: int) -> tuple[str, str] | None:
    """Options and server of the service that gets such packets."""
    where = ip_address(vip.strip("[]"))
    holders = [
        service
        for service, ranges in found.services
        if where in ranges
        and any(p.protocol == protocol and p.number <= port <= p.end for p in service.ports)
    ]
    if not holders:
        return None
    (service,) = holders
    persistent = " -p 60" if service.persistence.seconds else ""
    (real,) = service.reals
    assert real.port == 0
    return f"-s {service.scheduler}{persistent}", str(real.address)[-2:]


def test_the_name_says_what_is_missing() -> None:
    """Of a fwmark nobody knows the VIPs."""
    found = of_ipvsadm("-A -f 17 -s rr\n-a -f 17 -r 10.0.1.11:0 -m -w 1")
    ((service, ranges),) = found.services
    assert (service.name, service.fwmark, list(ranges.prefixes())) == ("mark-17", 17, [])


HAND = """\
# comments, the name of the command, long options, names of ports
ipvsadm -C
ipvsadm --add-service --tcp-service 203.0.113.7:http --scheduler=sh -b flag-1 --persistent
ipvsadm -a -t 203.0.113.7:http -r 10.0.1.11 -w5 -gx 9
--add-server --tcp-service=203.0.113.7:80 --real-server '10.0.1.12:80' --ipip --tun-type ipip
--set 900 0 300
"""


def test_rules_by_hand() -> None:
    found = of_ipvsadm(HAND)
    ((service, ranges),) = found.services
    assert list(ranges.prefixes()) == ["203.0.113.7/32"]
    assert [str(port) for port in service.ports] == ["tcp/80"]
    assert (str(service.scheduler), service.persistence.seconds) == ("sh,fallback", 360)
    assert (service.forward, *map(str, service.reals)) == (
        *("dr", "10.0.1.11,weight=5,upper=9", "10.0.1.12,forward=tun"),
    )
    assert found.director == {"tcp_timeout": 900, "udp_timeout": 300}
    assert not found.notes


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-A -f 17\n-a -f 18 -r 10.0.1.1", "rules:2: -f 18 is no service yet"),
        ("-A -f 17\n\n-A -f 17 -s rr", "rules:3: -f 17 is there already, by line 1"),
        ("-A -f 17 -6\n-a -f 17 -r 10.0.1.1", "rules:2: -f 17 is no service yet"),
        ("-A -f 0", "rules:1: '0' is not a fwmark"),
        ("-A -f -²", "rules:1: '-²' is not a fwmark"),
        ("-A -f -99999999999", "rules:1: '-99999999999' is not a fwmark"),
        ("-A -f", "rules:1: option -f requires argument"),
        ("-A -t 203.0.113.7:80 -q", "rules:1: option -q not recognized"),
        ("-A -t 203.0.113.7:0x50", "rules:1: '0x50' is not a port"),
        ("-A -t www.example.com:80", "rules:1: 'www.example.com' is not an IPv4 or IPv6 address"),
        ("-A -t 203.0.113.7:80 -u 203.0.113.7:80", "rules:1: which service it is about"),
        ("-A -s rr", "rules:1: which service it is about"),
        ("-A -f 17 rr", "rules:1: unexpected 'rr'"),
        ("-A -A -f 17", "rules:1: unexpected '-A -A -f 17'"),
        ("-D -f 17", "rules:1: -D is no line of ipvsadm -Sn"),
        ("-f 17 -A", "rules:1: -f is no line of ipvsadm -Sn"),
        ("--set 900", "rules:1: --set has three timeouts"),
        ("-A -f 17\n--set 900 x 300", "rules:2: 'x' is not a timeout"),
        ("-A -f '17", 'rules:1: "-A -f \'17": No closing quotation'),
        ("virtual_server 203.0.113.7 80 {", "rules:1: unexpected 'virtual_server"),
    ],
)
def test_a_line_that_is_none(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        of_ipvsadm(text)
    assert caught.value.message.startswith(said)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("more", "note", "left"),
    [
        ("-A -f 18 -s magic", "2: fwmark 18 (IPv4): left out: 'magic' is not a scheduler", 0),
        ("-A -f 18 -s wlc -b flag-3,flag-1", "2: -b flag-3: scheduler wlc has no such flag", 1),
        ("-A -f 18 -b sh-port", "2: -b sh-port: scheduler wlc has no such flag", 1),
        ("-A -f 18 -p 60 -M 255.0.255.0", "2: fwmark 18 (IPv4): left out: '255.0.255.0' is", 0),
        ("-A -f 18", "2: fwmark 18 (IPv4): has no real server", 1),
        ("-A -f 18 -o\n-a -f 18 -r 10.0.1.1 -m", "2: fwmark 18 (IPv4): left out: one-packet", 0),
        ("-A -f 17 -6 -s rr", "2: fwmark 17 (IPv6): has other options than rules:1, of", 0),
        ("-a -f 17 -r 10.0.1.1 -w 65536", "2: real server 10.0.1.1: left out: '65536' is not", 0),
        ("-a -f 17 -r 127.0.0.1 -m", "2: real server 127.0.0.1: left out: real server 127.", 0),
        ("-a -f 17 -r 10.0.1.1:80 -g", "2: real server 10.0.1.1: without port 80, which only", 0),
        ("-a -f 17 -r [fd00:1::1]:0 -g", "2: real server fd00:1::1: left out: only a tunnel", 0),
        ("-A -t 127.0.0.1:80", "2: 127.0.0.1 tcp port 80: left out: 127.0.0.1 holds loopback", 0),
        (
            "--start-daemon master --mcast-interface eth1 --syncid 7",
            "2: --start-daemon: a document has only services; on each director: "
            "vipctl set-sync --interface eth1 --id 7",
            0,
        ),
    ],
)
def test_what_is_not_carried_over_is_told(more: str, note: str, left: int) -> None:
    found = of_ipvsadm(f"-A -f 17\n{more}")
    assert [line for line in told(found) if line.startswith(note)]
    assert len(found.services) == 1 + left


@pytest.mark.parametrize(
    ("typed", "word"),
    [
        ("-i", None),
        ("-i --tun-type ipip", None),
        ("-i --tun-type gre --tun-csum", "gre+csum"),
        ("-i --tun-type gue --tun-port 6080 --tun-nocsum", "gue:6080"),
        ("-i --tun-type gue --tun-port 5555 --tun-remcsum", "gue:5555+remcsum"),
    ],
)
def test_tunnels(typed: str, word: str | None) -> None:
    """As a real server's option has it, or is to have it."""
    (virtual,) = ipvsadm.read("rules", f"-A -f 17\n-a -f 17 -r 10.0.1.1 {typed}").virtuals
    assert virtual.servers[0].words.get("tunnel") == word


BOTH = "-A -f 17\n-a -f 17 -r 10.0.1.1:0 -i\n-A -f 17 -6\n-a -f 17 -6 -r 10.0.1.1:0 -i"


def test_what_both_halves_have_serves_both_families() -> None:
    found = of_ipvsadm(BOTH)
    ((service, _),) = found.services
    assert [str(real) for real in service.reals] == ["10.0.1.1,family=both"]
    assert not found.notes


def test_what_the_halves_have_differently_is_told() -> None:
    found = of_ipvsadm(f"{BOTH} -w 7 --tun-type gre")
    ((service, _),) = found.services
    assert [str(real) for real in service.reals] == ["10.0.1.1"]
    assert told(found) == [
        "3: fwmark 17 (IPv6): real server 10.0.1.1: at rules:1 it has other options, which count"
    ]
