"""Health checks as operators write them, and those that no service could have."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import checks
from tests.unit.test_syntax import refusal
from vipctl.cli import base
from vipctl.errors import Refused
from vipctl.services.checks import Check, parse_check, parse_checks
from vipctl.services.options import OPTIONS
from vipctl.services.ports import Ports
from vipctl.services.real import RealServer
from vipctl.services.service import Service, made
from vipctl.services.syntax import parse_ports
from vipctl.services.values import AllDown, CheckVia, Forward

RIP, OTHER = RealServer(ip_address("10.0.1.11")), RealServer(ip_address("10.0.1.12"), 8080)
FALLBACK = RealServer(ip_address("10.0.1.99"))


def service(**given: Any) -> Service:
    return made("web", {"fwmark": 0x1000, "reals": (RIP,), **given})


@given(checks())
def test_what_is_written_is_read_back(check: Check) -> None:
    assert parse_check(str(check)) == check
    assert str(parse_check(str(check))) == str(check)


@given(st.lists(checks(), max_size=5))
def test_checks_have_one_form(found: list[Check]) -> None:
    texts = [*map(str, found)]
    assert parse_checks(texts) == parse_checks([*reversed(texts), *texts])


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("tcp", Check("tcp")),
        ("tcp:80", Check("tcp", port=80)),
        ("http", Check("http", "/")),
        (
            "http:/a?b=c,status=200,body=^ok$,host=www.example.org,port=8080",
            Check("http", "/a?b=c", 8080, (200, 200), "^ok$", "www.example.org"),
        ),
        ("http:/,body=a{2\\,3}", Check("http", "/", body="a{2,3}")),
        ("http:/a\\,b", Check("http", "/a,b")),
        (
            "https:/,sni=www.example.org,verify=no",
            Check("https", "/", sni="www.example.org", verify=False),
        ),
        ("udp:53,send=00ff,expect=01", Check("udp", port=53, send=b"\0\xff", expect=b"\1")),
        ("dns:example.org,mx", Check("dns", "example.org", record="MX")),
        ("dns:example.org", Check("dns", "example.org")),
        ("exec:/usr/local/bin/ok", Check("exec", "/usr/local/bin/ok")),
        ("tcp,every=10,timeout=2.5s,fall=2,rise=5", Check("tcp", "", 0, every=10, timeout=2.5,
                                                          fall=2, rise=5)),
        ("tcp,every=500ms", Check("tcp", every=0.5, timeout=0.5)),
    ],
)  # fmt: skip
def test_forms(text: str, check: Check) -> None:
    assert parse_check(text) == check


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "is not a check"),
        ("tpc:80", "is not a check"),
        ("tcp:", "is not a check"),
        ("TCP", "is not a check"),
        ("tcp:0", "'0' is not a port"),
        ("tcp:65536", "not a port"),
        ("tcp:http", "not a port"),
        ("tcp:80,status=200", "unexpected 'status=200'"),
        ("tcp:80,port=81", "unexpected"),
        ("tcp,every", "unexpected 'every'"),
        ("tcp,every=2s,every=2s", "says every twice"),
        ("tcp,every=0", "is not a time"),
        ("tcp,every=-1", "is not a time"),
        ("tcp,every=nan", "is not a time"),
        ("tcp,every=99999999999", "is not a time"),
        ("tcp,every=1,timeout=2", "before its timeout"),
        ("tcp,timeout=3", "before its timeout"),
        ("tcp,fall=0", "number of times"),
        ("http://www.example.org/", "not a path"),
        ("http:path", "not a path"),
        ("http:/a b", "not a path"),
        ("http:/a\r\nX: y", "not a path"),
        ("http:/a\\", "not a path"),
        ("http:/é", "not a path"),
        ("http:/,sni=a", "unexpected 'sni=a'"),
        ("http:/,host=a b", "not a host's name"),
        ("http:/,host=a\r\nX: y", "not a host's name"),
        ("http:/,host=-a", "not a host's name"),
        ("http:/,host=a..b", "not a host's name"),
        ("https:/,sni=" + "a" * 64, "not a host's name"),
        ("https:/,sni=" + "a." * 127 + "b", "not a host's name"),
        ("http:/,status=99", "status of HTTP"),
        ("http:/,status=300-200", "ends before it begins"),
        ("http:/,status=2xx", "status of HTTP"),
        ("http:/,body=(", "regular expression"),
        ("http:/,body=", "cannot be looked for"),
        ("http:/,body=a\\\\", "cannot be looked for"),
        ("http:/,body=a{2,3}", "unexpected '3}'"),
        ("https:/,verify=maybe", "yes or no"),
        ("https:/", "whose certificate"),
        ("udp:53", "sends nothing"),
        ("udp:53,send=0", "hexadecimal"),
        ("udp:53,send=xy", "hexadecimal"),
        ("udp:53,send=" + "00" * 1025, "hexadecimal"),
        ("dns", "not a host's name"),
        ("dns:example.org,XYZ", "type of DNS records"),
        ("dns:exa mple", "not a host's name"),
        ("exec", "path of a program"),
        ("exec:ok.sh", "path of a program"),
        ("exec:/bin/ok\n", "path of a program"),
    ],
)
def test_bad_ones_are_refused_with_a_hint(text: str, about: str) -> None:
    assert about in refusal(parse_check, text).message


@pytest.mark.parametrize(
    ("words", "sorted_words"),
    [
        ("set-service web --check tcp", "set-service web --check tcp"),
        ("set-service web --check tcp:80 --json", "--json set-service web --check tcp:80"),
        ("add-range A --check http:/ --check", "--check add-range A --check http:/"),
        ("add-service --check web --check no", "--check add-service web --check no"),
        ("--check set-service web --check dns:a,MX", "--check set-service web --check dns:a,MX"),
        ("set-service --check web --port tcp/80", "--check set-service web --port tcp/80"),
        ("remove-service --check tcp", "--check remove-service tcp"),
        ("set-service web --check -- tcp", "--check set-service web -- tcp"),
        ("set-service web --check=tcp", "set-service web --check=tcp"),
        ("set-service web --check", "--check set-service web"),
        ("set-service web --state-dir", "--state-dir set-service web"),
    ],
)
def test_the_command_line_tells_them_from_a_dry_run(words: str, sorted_words: str) -> None:
    assert base._common_first(words.split()) == sorted_words.split()


def test_none_of_them_is_a_word() -> None:
    assert parse_checks(["no"]) == parse_checks([]) == ()
    refusal(lambda text: parse_checks([text, "tcp"]), "no")


TCP, DNS, HTTP = parse_check("tcp"), parse_check("dns:example.org"), parse_check("http:/")


@pytest.mark.parametrize(
    ("check", "ports", "real", "asked"),
    [
        ("tcp:81", "tcp/80", OTHER, 81),
        ("tcp", "tcp/80", OTHER, 8080),
        ("tcp", "tcp/80", RIP, 80),
        ("http:/", "tcp/80 udp/53", RIP, 80),
        ("dns:a", "tcp/80 udp/53", RIP, 53),
        ("exec:/bin/ok", "tcp/80", RIP, 80),
        ("exec:/bin/ok", "", RIP, 0),
        ("tcp", "tcp/80 tcp/443", OTHER, 8080),
    ],
)
def test_the_port_that_is_asked(check: str, ports: str, real: RealServer, asked: int) -> None:
    one = parse_check(check)
    found = service(checks=(one,), reals=(real,), ports=parse_ports(ports.split()))
    assert found.check_port(one, real) == asked


@pytest.mark.parametrize("ports", ["", "tcp/80 tcp/443", "tcp/80-90", "tcp", "udp/53"])
def test_a_port_must_be_told(ports: str) -> None:
    named: Ports = parse_ports(ports.split())
    for check in (TCP, HTTP):
        with pytest.raises(Refused, match="names no port") as caught:
            service(checks=(check,), ports=named)
        assert caught.value.hint
        assert service(checks=(check,), ports=named, reals=())
        assert service(checks=(check._replace(port=80),), ports=named)
        assert service(checks=(check,), ports=named, reals=(OTHER,))
        with pytest.raises(Refused, match="names no port"):
            service(checks=(check,), ports=named, reals=()).with_reals([RIP])


def test_the_way_follows_the_forwarding_method() -> None:
    named = (TCP._replace(port=80),)
    for forward, by_vip in (("nat", False), ("dr", True), ("tun", True)):
        read = {"forward": Forward(forward), "checks": named}
        assert service(**read).checked_by_vip(RIP) is by_vip
        assert service(**read).checked_by_vip(RIP._replace(forward="nat")) is False
        for via, always in (("rip", False), ("vip", True)):
            asked = service(**read, check_via=CheckVia(via))
            assert asked.checked_by_vip(RIP) is always


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_local_vips_hide_what_real_servers_answer(forward: str) -> None:
    named = {"checks": (TCP._replace(port=80),), "method": "route", "forward": Forward(forward)}
    with pytest.raises(Refused, match="method route the director drops") as caught:
        service(**named)
    assert "--check-via rip" in str(caught.value.hint)
    assert service(**named, check_via=CheckVia.RIP)
    assert service(**named, reals=(RealServer(ip_address("fd00:1::11")),))
    assert service(**{**named, "forward": Forward.NAT}, check_via=CheckVia.VIP)


def test_datagrams_are_not_asked_through_nat() -> None:
    dns = {"checks": (DNS._replace(port=53),)}
    assert service(**dns)
    with pytest.raises(Refused, match="remembers"):
        service(**dns, check_via=CheckVia.VIP)
    for forward in ("dr", "tun"):
        assert service(**dns, forward=Forward(forward))


def test_a_fallback_is_used_unless_clients_are_refused() -> None:
    assert service().when_all_down() == "keep"
    assert service(fallback=FALLBACK).when_all_down() == "fallback"
    assert service(fallback=FALLBACK, all_down=AllDown.FALLBACK).when_all_down() == "fallback"
    assert service(all_down=AllDown.REFUSE).when_all_down() == "refuse"
    for given_, about in (
        ({"all_down": AllDown.FALLBACK}, "names no server"),
        ({"all_down": AllDown.REFUSE, "fallback": FALLBACK}, "leaves nothing"),
        ({"fallback": RIP}, "one of the service's real servers"),
        ({"fallback": OTHER, "forward": Forward.DR}, "cannot translate"),
    ):
        with pytest.raises(Refused, match=about) as caught:
            service(**given_)
        assert caught.value.hint


@pytest.mark.parametrize("name", ["slow_start", "dead_after"])
def test_times_are_read_as_people_write_them(name: str) -> None:
    read = OPTIONS[name].read
    assert [read(text) for text in ("30", "30s", "1m", 30, "0")] == [30, 30, 60, 30, 0]
    for bad in ("", "-1", "1d", "1e9", "999999"):
        refusal(read, bad)
