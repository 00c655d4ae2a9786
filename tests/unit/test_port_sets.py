"""Sets of ports, against sets of numbers; and how ports are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipctl.errors import Refused, UsageError
from vipctl.services import ports
from vipctl.services.methods import METHODS
from vipctl.services.ports import Ports, difference, disjoint, union
from vipctl.services.service import made
from vipctl.services.syntax import parse_port, parse_ports
from vipctl.services.values import Port

ENDS = st.tuples(st.integers(1, 30), st.integers(1, 30)).map(sorted)
SOME = st.lists(
    st.builds(lambda p, ends: ports.port(p, *ends), st.sampled_from(["tcp", "udp"]), ENDS)
)


def numbers(found: Ports) -> set[tuple[str, int]]:
    """Return them one by one."""
    return {(p.protocol, n) for p in found for n in range(p.number, p.end + 1)}


@given(SOME, SOME)
def test_sets(some: list[Port], others: list[Port]) -> None:
    left, right = union(some), union(others)
    assert numbers(left) == numbers(tuple(some))
    assert sum(p.end - p.number + 1 for p in left) == len(numbers(left))
    assert list(left) == sorted(left)
    assert union(Port(*one) for one in numbers(left)) == left
    assert union(left) == left
    assert numbers(difference(left, right)) == numbers(left) - numbers(right)
    assert difference(left, ()) == left
    assert disjoint(left, right) is not bool(numbers(left) & numbers(right))


@given(SOME)
def test_what_is_written_is_read(some: list[Port]) -> None:
    assert parse_ports(map(str, union(some))) == union(some)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("tcp/80", "tcp/80"),
        ("80/tcp", "tcp/80"),
        ("tcp/http", "tcp/80"),
        ("domain/udp", "udp/53"),
        ("tcp/10000-10100", "tcp/10000-10100"),
        ("10000-10100/sctp", "sctp/10000-10100"),
        ("tcp/7-7", "tcp/7"),
        ("udp", "udp"),
        ("udp/1-65535", "udp"),
        ("tcp/ftp-ssh", "tcp/21-22"),
        ("tcp/ftp-data", "tcp/20"),
    ],
)
def test_spellings(text: str, form: str) -> None:
    assert str(parse_port(text)) == form


def test_one_set_has_one_form() -> None:
    """However it was typed: else the same ports would count as a change."""
    typed = ["tcp/11-20", "tcp/1-10", "udp/1-99", "udp/100-65535"]
    assert [str(port) for port in parse_ports(typed)] == ["tcp/1-20", "udp"]
    service = made("web", {"fwmark": 1, "ports": parse_ports(["tcp/80-81"])})
    assert service.altered({"ports": parse_ports(["tcp/80", "tcp/81"])}) == service


@pytest.mark.parametrize(
    "text",
    [
        *("80", "http", "tcp/0", "tcp/65536", "tcp/", "/80", "tcp/9-8", "tcp/1-", "tcp/-1"),
        *("tcp/1-2-3", "tcp/80/udp", "tcp/udp", "icmp/8", "tcp/no-such-service", "TCP/80"),
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_port(text)


def test_the_module_has_a_list() -> None:
    most = METHODS["shim"].most_ports
    made("web", {"fwmark": 1, "method": "shim", "ports": parse_ports([f"tcp/1-{most}"])})
    with pytest.raises(Refused, match="1,024 ports"):
        made("web", {"fwmark": 1, "method": "shim", "ports": parse_ports([f"tcp/1-{most + 1}"])})
    made("web", {"fwmark": 1, "ports": parse_ports(["tcp", "udp", "sctp"])})
