"""Real servers as operators write them."""

from ipaddress import IPv4Address, IPv6Address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.strategies import reals
from tests.unit.test_syntax import BAD_NUMBERS, refusal
from vipctl.errors import Refused, UsageError
from vipctl.services.real import (
    OPTIONS,
    RealServer,
    parse_changed,
    parse_real,
    parse_reals,
    real_key,
)
from vipctl.services.values import Tunnel

RIP, RIP6 = IPv4Address("10.0.1.11"), IPv6Address("fd00:1::11")


@pytest.mark.parametrize(
    ("text", "real"),
    [
        ("10.0.1.11", RealServer(RIP)),
        ("10.0.1.11:80", RealServer(RIP, 80)),
        ("10.0.1.11:80,weight=2", RealServer(RIP, 80, 2)),
        ("fd00:1::11", RealServer(RIP6)),
        ("fd00:1::11,weight=0", RealServer(RIP6, 0, 0)),
        ("[fd00:1::11]", RealServer(RIP6)),
        ("[fd00:1::11]:80", RealServer(RIP6, 80)),
        ("[FD00:1:0::11]:65535,weight=65535", RealServer(RIP6, 65535, 65535)),
        ("fd00:1::11:80", RealServer(IPv6Address("fd00:1::11:80"))),
        ("10.0.1.11,tunnel=ipip", RealServer(RIP)),
        ("10.0.1.11,family=own", RealServer(RIP)),
        ("10.0.1.11,family=both", RealServer(RIP, family="both")),
        ("10.0.1.11,tunnel=gre", RealServer(RIP, tunnel=Tunnel("gre"))),
        ("10.0.1.11,tunnel=gre+csum", RealServer(RIP, tunnel=Tunnel("gre", 0, "csum"))),
        ("10.0.1.11,tunnel=gue", RealServer(RIP, tunnel=Tunnel("gue", 6080))),
        ("10.0.1.11,tunnel=gue:1+csum", RealServer(RIP, tunnel=Tunnel("gue", 1, "csum"))),
        ("10.0.1.11,tunnel=gue+remcsum", RealServer(RIP, tunnel=Tunnel("gue", 6080, "remcsum"))),
    ],
)
def test_real_servers(text: str, real: RealServer) -> None:
    assert parse_real(text) == real
    assert parse_real(str(real)) == real


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ",",
            "web1",
            "10.0.1",
            "10.0.1.256",
            "10.0.1.11/32",
            "10.0.1.11:",
            ":80",
            "10.0.1.11:0",
        ),
        *("10.0.1.11:65536", "10.0.1.11:80:80", "10.0.1.11:http", "10.0.1.11 :80", "[fd00:1::11"),
        *(
            "fd00:1::11]:80",
            "[fd00:1::11]80",
            "[fd00:1::11]x80",
            "[fd00:1::11]:",
            "[fd00:1::11]:0",
            "[]:80",
            "[[::2]]",
        ),
        *("fe80::1%eth0", "10.0.1.11,", "10.0.1.11,2", "10.0.1.11,weight", "10.0.1.11,weight="),
        *("10.0.1.11,family=", "10.0.1.11,family=6"),
        *(
            f"10.0.1.11,tunnel={tunnel}"
            for tunnel in (
                *("", "GRE", "vxlan", "ipip:80", "ipip+csum", "gre:80", "gre+remcsum", "gre+"),
                *("gue:", "gue:0", "gue:65536", "gue:x", "gue+", "gue+sum", "gue+csum+remcsum"),
                *("gue+csum:80", "6080", ":6080"),
            )
        ),
        *("10.0.1.11,Weight=2", "10.0.1.11,weight=2,port=80", "10.0.1.11;weight=2", "10.0.1.11\0"),
    ],
)
def test_bad_real_servers_are_usage_errors(text: str) -> None:
    refusal(parse_real, text)


def test_a_weight_given_twice_is_refused() -> None:
    refusal(parse_real, f"{RIP},weight=1,weight=2")


@pytest.mark.parametrize("rip", ["127.0.0.1", "0.0.0.0", "::1", "fe80::1", "224.0.0.1", "ff02::1"])
def test_real_servers_that_cannot_be_are_refused_by_name(rip: str) -> None:
    with pytest.raises(Refused, match=rip) as refused:
        parse_real(rip)
    assert "on this director, one that an interface has" in str(refused.value.hint)


def test_a_real_server_given_twice_counts_once() -> None:
    assert parse_reals(["10.0.1.11", "10.0.1.11,weight=1"]) == (RealServer(RIP),)


def test_a_real_server_given_twice_with_different_weights_is_refused() -> None:
    with pytest.raises(UsageError, match=r"10\.0\.1\.11:80 is given twice"):
        parse_reals(["10.0.1.11:80", "10.0.1.11", "10.0.1.11:80,weight=2"])


@given(reals(ports=True), st.randoms())
def test_the_order_of_real_servers_does_not_matter(
    wanted: tuple[RealServer, ...], random: Random
) -> None:
    shuffled = [str(real) for real in wanted]
    random.shuffle(shuffled)
    assert parse_reals(shuffled) == wanted == tuple(sorted(wanted, key=real_key))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("10.0.1.11,weight=3", (RIP, None, {"weight": 3})),
        ("10.0.1.11:80,weight=0", (RIP, 80, {"weight": 0})),
        ("[fd00:1::11]:80,weight=9", (RIP6, 80, {"weight": 9})),
        ("10.0.1.11,lower=0,upper=9", (RIP, None, {"lower": 0, "upper": 9})),
    ],
)
def test_what_set_real_takes(text: str, parsed: tuple[object, ...]) -> None:
    assert parse_changed(text) == parsed


def test_set_real_without_a_weight_sets_nothing() -> None:
    assert "10.0.1.11,weight=N" in (refusal(parse_changed, "10.0.1.11").hint or "")


@pytest.mark.parametrize("number", [*BAD_NUMBERS, "-0", "65536"])
def test_bad_weights_are_quoted(number: str) -> None:
    error = refusal(parse_real, f"{RIP},weight={number}")
    assert f"{number!r} is not a weight" in error.message


@pytest.mark.parametrize("text", ["10.0.1.11,lower=1", "10.0.1.11,upper=5,lower=6"])
def test_what_ipvs_would_not_take_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="lower is more than upper"):
        parse_real(text)


def test_every_option_is_written_and_read() -> None:
    real = parse_real("10.0.1.11:80,weight=2,upper=9,lower=3")
    assert real == RealServer(RIP, 80, 2, 9, 3)
    assert str(real) == "10.0.1.11:80,weight=2,upper=9,lower=3"
    assert {key: option.default for key, option in OPTIONS.items()} == {
        key: value for key, value in RealServer._field_defaults.items() if key != "port"
    }


@pytest.mark.parametrize("number", [0, 1, 65535])
def test_weights(number: int) -> None:
    assert parse_real(f"{RIP},weight={number}") == RealServer(RIP, 0, number)
