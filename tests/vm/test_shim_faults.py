"""Memory that fails at each of a command's calls in turn leaves all as it was, and nothing behind.

In the module that is built with DEBUG=1 every call fails on demand that can for want of memory.
Linux 6.1 does not list hooks (CONFIG_NETFILTER_NETLINK_HOOK of Debian's).
"""

import errno
import itertools
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.harness import module, slabs
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.stress.netlink.asking import VIP4, VIP6, four, info, port, prefixes, services, six
from tests.stress.netlink.client import ACK, DONE, DUMP, ERROR, REQUEST, Client, Refused, Value
from tests.vm.test_shim_own import pair, refused
from vipctl.linux import shim

__all__ = ["pair"]  # a fixture

PARAMETER = Path("/sys/module/vip_shim/parameters/fail_nth")  # 0 once it has failed
NETLINK_NETFILTER, NFNL_HOOK_GET, NFNLA_HOOK_HOOKNUM = 12, 12 << 8, 1
SCATTERED4 = b"".join(four(str(IPv4Address((20 << 24) + 77777 * n))) for n in range(12))
SCATTERED6 = b"".join(six(f"2001:db8:{n * 4099 % 65536:x}::{n}") for n in range(12))
PORTS = b"".join(map(port, range(1, 40)))
Command = tuple[str, dict[str, Value]]
BOTH: dict[str, Value] = {"PREFIXES4": VIP4 + SCATTERED4, "PREFIXES6": VIP6 + SCATTERED6}
ONE: Command = ("SET_SERVICE", {"MARK": 1})
FILLED: Sequence[Command] = (ONE, ("ADD", {"MARK": 1, **BOTH}))
STAGED: Sequence[Command] = (
    ("BEGIN", {}),
    ("SET_SERVICE", {"MARK": 1, "PORTS": PORTS, "STAGED": True}),
    ("ADD", {"MARK": 1, "STAGED": True, **BOTH}),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A command, and those that were there before."""

    command: str
    attributes: dict[str, Value]
    before: Sequence[Command] = ()


CASES = {
    "the first service": Case("SET_SERVICE", {"MARK": 1}),
    "the first service, with ports": Case("SET_SERVICE", {"MARK": 1, "PORTS": PORTS}),
    "one more, with ports": Case("SET_SERVICE", {"MARK": 900, "PORTS": PORTS}, [ONE]),
    "pings of one that is there": Case("SET_SERVICE", {"MARK": 1, "FLAGS": shim.PING}, [ONE]),
    "prefixes": Case("ADD", {"MARK": 1, **BOTH}, [ONE]),
    "prefixes that another has": Case(
        "ADD",
        {"MARK": 2, **BOTH},
        [ONE, ("SET_SERVICE", {"MARK": 2}), ("ADD", {"MARK": 1, "PREFIXES6": SCATTERED6})],
    ),
    "a state beside": Case("BEGIN", {}, [ONE]),
    "the first service of it": Case(STAGED[1][0], STAGED[1][1], STAGED[:1]),
    "prefixes of it": Case(STAGED[2][0], STAGED[2][1], STAGED[:2]),
    "the first in use": Case("COMMIT", {}, STAGED),
    "services told": Case("GET_SERVICE", {}, FILLED),
    "prefixes told": Case("GET", {}, FILLED),
    "a count told": Case("INFO", {}, FILLED),
}
NEEDS_NONE = {
    "another in use": Case("COMMIT", {}, [ONE, *STAGED]),
    "prefixes gone": Case("DEL", BOTH, FILLED),
    "the last service gone": Case("DEL_SERVICE", {"MARK": 1}, [ONE]),
    "all gone": Case("FLUSH", {}, FILLED),
}


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    module.load(module.DEBUG)
    yield
    module.unload()


@pytest.fixture
def host() -> Iterator[Namespace]:
    """One with addresses."""
    namespace = Namespace.create("shim")
    namespace.ip("link set lo up", *(f"addr add 10.{n}.0.1/24 brd + dev lo" for n in range(5)))
    try:
        yield namespace
    finally:
        namespace.close()


def fail_at(nth: int) -> None:
    """Have the nth of the module's calls fail that can; 0 for none."""
    PARAMETER.write_text(str(nth))


def has_failed() -> bool:
    return int(PARAMETER.read_text()) == 0


def found(link: Client) -> tuple[object, ...]:
    """What there is, but for the count of changes."""
    told = [(mark, told.attributes) for mark, told in sorted(services(link).items())]
    return info(link, "SERVICES"), info(link, "COUNT"), told, prefixes(link)


def tried(host: Namespace, case: Case, nth: int) -> tuple[int, tuple[object, ...]]:
    """The error of the answer, if any, and what there is then."""
    with host, Client() as link, Client() as asking:
        for command, attributes in case.before:
            link(command, **attributes)
        fail_at(nth)
        flags = REQUEST | (DUMP if case.command.startswith("GET") else ACK)
        link.send(case.command, flags, **case.attributes)
        error = 0
        try:
            list(link.answer())
        except Refused as refusal:
            error = refusal.error
        failed = nth > 0 and has_failed()
        fail_at(0)
        now = found(asking), *in_use(host)
        asking("FLUSH")
        assert failed == bool(error)
        return error, now


def in_use(host: Namespace) -> tuple[bool, bool]:
    """Whether it has the module's hooks, and fragments are put together: asked without nft(8)."""
    with host:
        listed = b"".join(hooks(family, number) for family in (2, 10) for number in range(5))
    return b"vip_" in listed, b"defrag" in listed


def hooks(family: int, number: int) -> bytes:
    """What nfnetlink tells of them, which has the names of their functions in it."""
    body = struct.pack("=BBHHH", family, 0, 0, 8, NFNLA_HOOK_HOOKNUM) + struct.pack(">I", number)
    listed, ended = b"", False
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asking:
        header = 16 + len(body), NFNL_HOOK_GET, REQUEST | DUMP, 0, 0
        asking.send(struct.pack("=IHHII", *header) + body)
        while not ended:
            data = asking.recv(1 << 16)
            listed += data
            while data:
                length, kind = struct.unpack_from("=IH", data)
                ended |= kind in {ERROR, DONE}
                data = data[(length + 3) & ~3 :]
    return listed


def before(host: Namespace, case: Case) -> tuple[object, ...]:
    """What there is before the command."""
    with host, Client() as link, Client() as asking:
        for command, attributes in case.before:
            link(command, **attributes)
        now = found(asking), *in_use(host)
        asking("FLUSH")
        return now


@pytest.mark.parametrize("name", CASES)
def test_what_is_refused_for_memory_leaves_all_as_it_was(host: Namespace, name: str) -> None:
    case, nth = CASES[name], 1
    there = before(host, case)
    while (outcome := tried(host, case, nth))[0]:
        assert outcome == (errno.ENOMEM, there), nth
        nth += 1
    assert nth > 1
    assert outcome == tried(host, case, 0)
    wait_until(lambda: not any(map(slabs.objects, slabs.NODES)), "no node is left")
    assert in_use(host) == (False, False)


@pytest.mark.parametrize("name", NEEDS_NONE)
def test_what_goes_needs_no_memory(host: Namespace, name: str) -> None:
    assert tried(host, NEEDS_NONE[name], 1)[0] == 0


def test_an_address_that_there_is_no_memory_for_is_the_directors_still(
    pair: tuple[Namespace, Namespace],
) -> None:
    """Sources are looked up then."""
    director, client = pair
    for nth in itertools.count(1):
        with director, Client() as link:
            link("FLUSH")
            link("SET_SERVICE", MARK=1, FLAGS=shim.DROP)
            link("ADD", MARK=1, PREFIXES4=VIP4)
        fail_at(nth)
        director.ip("addr add 172.20.0.1/24 brd + dev toward")
        failed = has_failed()
        fail_at(0)
        assert refused(director, client, "172.20.0.1"), nth
        assert not refused(director, client, "172.21.0.1"), nth
        director.ip("addr del 172.20.0.1/24 dev toward")
        if not failed:
            break
    assert nth > 3
