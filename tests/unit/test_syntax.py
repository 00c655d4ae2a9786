"""Names, marks, ports and schedulers as operators write them."""

from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import NAMES, acceptance, services
from vipctl.errors import UsageError
from vipctl.services import syntax
from vipctl.services.director import SETTINGS
from vipctl.services.option import Option
from vipctl.services.options import EVERY_OPTION
from vipctl.services.real import OPTIONS
from vipctl.services.service import Service, from_plain, plain
from vipctl.services.values import SCHEDULERS, Persistence, Port, Scheduler

RIP, RIP6 = IPv4Address("10.0.1.11"), IPv6Address("fd00:1::11")


def refusal(parse: Callable[[str], object], text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert caught.value.hint
    return caught.value


# names


@pytest.mark.parametrize("name", [*NAMES, "w", "0", "web-1.example_com", "fwmark", "Fwmark-1"])
def test_names(name: str) -> None:
    assert syntax.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            "-web",
            ".web",
            "_web",
            "web ",
            " web",
            "web\n",
            "we b",
            "web/1",
            "web:1",
            "wéb",
        ),
        *("x" * 64, "web\0", "\udcff", "--help", "a,b", "１"),
    ],
)
def test_bad_names_are_quoted(name: str) -> None:
    assert repr(name) in refusal(syntax.check_name, name).message


@pytest.mark.parametrize("name", ["fwmark-", "fwmark-17", "fwmark-web"])
def test_names_of_acceptance_only_services_are_not_to_be_chosen(name: str) -> None:
    assert "--fwmark" in (refusal(syntax.check_name, name).hint or "")


# numbers


@pytest.mark.parametrize(
    ("text", "mark"),
    [("1", 1), ("17", 17), ("0x11", 17), ("0X1F", 31), ("4294967295", 2**32 - 1), ("007", 7)],
)
def test_marks(text: str, mark: int) -> None:
    assert syntax.parse_mark(text) == mark


BAD_NUMBERS = ["", " ", "x", "-1", "+1", " 1", "1 ", "1_0", "1.0", "1e3", "0x", "0xg", "１", "1\n"]


@pytest.mark.parametrize("text", [*BAD_NUMBERS, "0", "0x0", "4294967296", "9" * 5000])
def test_bad_marks_are_quoted(text: str) -> None:
    error = refusal(syntax.parse_mark, text)
    assert f"{text!r} is not a fwmark" in error.message
    assert "from 1 to 4294967295" in (error.hint or "")


# ports


def test_ports_are_sorted_and_each_is_there_once() -> None:
    ports = syntax.parse_ports(["udp/53", "tcp/443", "tcp/80", "udp/53"])
    assert ports == (Port("tcp", 80), Port("tcp", 443), Port("udp", 53))
    assert [str(port) for port in ports] == ["tcp/80", "tcp/443", "udp/53"]


def test_all_is_no_restriction_and_stands_alone() -> None:
    assert syntax.parse_ports(["all"]) == syntax.parse_ports([]) == ()
    with pytest.raises(UsageError, match="'all' is not a port"):
        syntax.parse_ports(["all", "tcp/80"])


@pytest.mark.parametrize("text", ["sctp/3868", "tcp/1", "udp/65535"])
def test_ports(text: str) -> None:
    assert str(syntax.parse_port(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "80", "tcp80", "TCP/80", "icmp/8", "/80", " tcp/80", "tcp:80", "tcp-udp/53", "tcp/8/tcp"],
)
def test_bad_ports_are_quoted(text: str) -> None:
    assert f"{text!r} is not a port" in refusal(syntax.parse_port, text).message


@pytest.mark.parametrize("number", [*BAD_NUMBERS, "0", "65536", "80-", "0x50"])
def test_bad_port_numbers_are_quoted(number: str) -> None:
    assert f"{number!r} is not a port" in refusal(syntax.parse_port, f"tcp/{number}").message


def test_what_is_no_mark_is_decimal() -> None:
    """`0x50` was port 80, and may have been meant for 50."""
    every = [*EVERY_OPTION.values(), *OPTIONS.values(), *(s.option for s in SETTINGS.values())]
    numbers = [option for option in every if option.typed is int]
    taken = [option.metavar for option in numbers if _takes_hexadecimal(option)]
    assert taken == ["MARK"]
    for text in ("300,mask=0x18", "0x12c", "300,mask6=0x40"):
        refusal(syntax.parse_persistence, text)
    refusal(syntax.parse_endpoint, "10.0.1.11:0x50")


def _takes_hexadecimal(option: Option) -> bool:
    with suppress(UsageError):
        return bool(option.read(hex(max(1, option.bounds[0]))))
    return False


# schedulers


@pytest.mark.parametrize(
    ("text", "scheduler"),
    [
        ("rr", Scheduler("rr")),
        ("rr,ops", Scheduler("rr", ("ops",))),
        ("sh,fallback", Scheduler("sh", ("fallback",))),
        ("mh,port,fallback,port", Scheduler("mh", ("fallback", "port"))),
    ],
)
def test_schedulers(text: str, scheduler: Scheduler) -> None:
    assert syntax.parse_scheduler(text) == scheduler
    assert syntax.parse_scheduler(str(scheduler)) == scheduler


@pytest.mark.parametrize(
    "text", ["", "RR", "round-robin", "rr ", "ip_vs_rr", "fallback", "sh port"]
)
def test_bad_schedulers_are_quoted_and_the_good_ones_listed(text: str) -> None:
    error = refusal(syntax.parse_scheduler, text)
    assert f"{text!r} is not a scheduler" in error.message
    assert all(name in (error.hint or "").split() for name in SCHEDULERS)


@pytest.mark.parametrize(
    ("text", "flag", "hint"),
    [
        ("rr,fallback", "fallback", "ops"),
        ("sh,Port", "Port", "fallback port"),
        ("mh,", "", "fallback port"),
        ("sh,port, fallback", " fallback", "fallback port"),
    ],
)
def test_bad_flags_are_quoted_and_the_good_ones_listed(text: str, flag: str, hint: str) -> None:
    error = refusal(syntax.parse_scheduler, text)
    assert f"scheduler {text.split(',', maxsplit=1)[0]} has no flag {flag!r}" in error.message
    assert hint in (error.hint or "")


# services


@given(services(st.sampled_from(NAMES), 0x1000) | acceptance(17))
def test_a_service_is_read_back_as_it_was_written(service: Service) -> None:
    found = from_plain(service.name, plain(service))
    assert (found, repr(found)) == (service, repr(service)), "repr tells words from enumerations"


# persistence


@pytest.mark.parametrize(
    ("text", "persistence"),
    [
        ("0", Persistence()),
        ("300", Persistence(300)),
        ("300,mask=24", Persistence(300, 24)),
        ("300,mask6=64,mask=1", Persistence(300, 1, 64)),
        ("300,mask=32,mask6=128", Persistence(300)),
        ("300,pe=sip,mask=24", Persistence(300, 24, pe="sip")),
    ],
)
def test_persistence(text: str, persistence: Persistence) -> None:
    assert syntax.parse_persistence(text) == persistence


def test_persistence_of_before_is_a_number() -> None:
    assert syntax.parse_persistence(300) == Persistence(300)
    assert Persistence(300).plain() == 300
    assert Persistence(300, 24).plain() == "300,mask=24"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        *(("300,mask=33", "33"), ("300,mask=0", "0"), ("300,mask6=129", "129"), ("5m", "5m")),
        *(("300,24", "24"), ("300,mask=8,mask=8", "mask=8"), ("0,mask=24", "mask=24")),
        *(("2678401", "2678401"), ("", ""), ("300,", ""), ("300,MASK=24", "MASK=24")),
        *(("300,pe=ftp", "pe=ftp"), ("0,pe=sip", "pe=sip")),
    ],
)
def test_a_bad_persistence_is_named(text: str, named: str) -> None:
    assert repr(named) in refusal(syntax.parse_persistence, text).message
