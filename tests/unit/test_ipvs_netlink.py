"""What is said to IPVS and understood of it; a socket with prepared answers is the kernel."""

import errno
import socket
from collections.abc import Iterator
from contextlib import nullcontext
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vipctl import files
from vipctl.errors import KernelError, Missing
from vipctl.linux import genetlink, ipvs, netlink
from vipctl.linux.ipvs import messages
from vipctl.linux.ipvs.messages import Dest, Key, Virtual
from vipctl.linux.netlink import CODE, HEADER, NLA_F_NESTED, NLMSG_DONE, NLMSG_ERROR, attribute
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.syntax import parse_tunnel
from vipctl.services.values import Forward, Persistence

NUMBER = 29  # of the family
WEB = Key(17, 4)
REAL = RealServer(ip_address("10.0.1.11"), 80, 3)
ALL = b"\xff\xff\xff\xff"
VIRTUAL = Virtual("wrr", 1, 300, ALL, (Dest(REAL, 3),))
FOREIGN = attribute(200, b"of a later kernel")


def answer(content: bytes, kind: int = NUMBER) -> bytes:
    return netlink.pack(kind, 0, content)


def nested(kind: int, *content: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(content))


def number(value: int) -> bytes:
    return netlink.NUMBER.pack(value)


def error(code: int) -> bytes:
    return answer(CODE.pack(-code) + bytes(HEADER.size), NLMSG_ERROR)


FAMILY = answer(
    b"\1\2\0\0" + attribute(2, b"IPVS\0") + attribute(1, genetlink.SHORT.pack(NUMBER)),
    genetlink.GENL_ID_CTRL,
)
SERVICE = (
    FOREIGN,
    attribute(9, ALL),
    attribute(8, number(300)),
    attribute(7, number(3) + number(0xFFFFFFFF)),  # with a flag of the kernel's own
    attribute(6, b"wrr\0"),
)
DEST = (
    attribute(11, b"\2\0"),
    attribute(1, b"\x0a\0\1\x0b" + bytes(12)),
    attribute(2, b"\0\x50"),
    attribute(3, number(0x103)),  # with flags of a connection
    FOREIGN,
    attribute(4, number(3)),
    attribute(5, number(0)),
    attribute(6, number(0)),
    attribute(13, b"\0"),
    attribute(14, b"\0\0"),
    attribute(15, b"\0\0"),
)
# What ipvsadm sets, and nothing of vipctl's.
OF_SERVICES = [
    attribute(7, number(7) + number(0xFFFFFFFF)),  # one packet
    attribute(7, number(0x43) + number(0xFFFFFFFF)),  # of a later kernel
    attribute(8, number(301)),
    attribute(9, b"\xff\xff\xff\0"),
    attribute(11, b"sip\0"),
]
OF_DESTS = [
    attribute(5, number(100)),
    attribute(6, number(50)),
    attribute(13, b"\1"),
    attribute(14, b"\0\x50"),
    attribute(15, b"\1\0"),
]
FOUND = answer(b"\4\1\0\0" + FOREIGN + nested(1, *SERVICE))
LISTED = answer(b"\5\1\0\0" + nested(2, *DEST) + FOREIGN) + answer(bytes(4), NLMSG_DONE)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What is sent to it is answered, and what it receives was asked."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(5)
    theirs.settimeout(5)
    monkeypatch.setattr(netlink, "connect", lambda *_: nullcontext(ours))
    with ours, theirs:
        yield theirs


def answers(kernel: socket.socket, *prepared: bytes) -> None:
    for each in prepared:
        kernel.send(each)


def asked(kernel: socket.socket) -> tuple[int, int, int, dict[int, bytes]]:
    """The family, netlink flags, the command and attributes."""
    message = kernel.recv(1 << 16)
    size, kind, flags, _, _ = HEADER.unpack_from(message)
    assert size == len(message)
    return kind, flags, message[HEADER.size], genetlink.parsed(message, HEADER.size + 4)


def test_reads_what_it_knows_among_foreign_attributes(kernel: socket.socket) -> None:
    answers(kernel, FAMILY, FOUND, LISTED, error(errno.ESRCH))
    assert ipvs.read([17]) == {WEB: VIRTUAL}
    assert asked(kernel) == (16, 1, 3, {2: b"IPVS\0"})
    for expected in (NUMBER, 1, 4), (NUMBER, 0x301, 8):
        *message, named = asked(kernel)
        assert tuple(message) == expected
        assert genetlink.parsed(named[1]) == {1: b"\2\0", 5: number(17)}
    *_, named = asked(kernel)
    assert genetlink.parsed(named[1]) == {1: b"\x0a\0", 5: number(17)}


def service(*more: bytes) -> bytes:
    return answer(b"\4\1\0\0" + nested(1, *SERVICE, *more))


def dest(*more: bytes) -> bytes:
    return answer(b"\5\1\0\0" + nested(2, *DEST, *more)) + answer(bytes(4), NLMSG_DONE)


@pytest.mark.parametrize(
    ("found", "listed", "command"),
    [(service(more), LISTED, "set service") for more in OF_SERVICES]
    + [(FOUND, dest(more), "set real server") for more in OF_DESTS],
)
def test_what_others_set_is_seen_and_set_back(
    kernel: socket.socket, found: bytes, listed: bytes, command: str
) -> None:
    answers(kernel, FAMILY, found, listed, error(errno.ESRCH))
    read = ipvs.read([17])
    assert read != {WEB: VIRTUAL}
    for _ in range(4):
        asked(kernel)
    answers(kernel, FAMILY, error(0))
    ipvs.add({WEB: VIRTUAL}, read)
    asked(kernel)
    assert asked(kernel)[2] == messages.COMMANDS[command]


def of(mark: int, family: bytes = b"\2\0") -> tuple[bytes, ...]:
    return attribute(1, family), attribute(5, number(mark)), *SERVICE


def test_all_services_are_read_at_once_and_gaps_are_asked_for(kernel: socket.socket) -> None:
    by_address = attribute(1, b"\2\0"), attribute(2, b"\6\0"), *SERVICE
    listed = [of(17), of(18), by_address, of(17, b"\x0a\0")]
    dumped = b"".join(answer(b"\4\1\0\0" + nested(1, *one)) for one in listed)
    answers(kernel, FAMILY, dumped + answer(bytes(4), NLMSG_DONE), FOUND, error(errno.ESRCH))
    alone = VIRTUAL._replace(dests=())
    missed, absent = Key(19, 4), Key(20, 6)
    assert ipvs.services([WEB, missed, absent]) == {WEB: alone, Key(17, 6): alone, missed: alone}
    asked(kernel)
    assert asked(kernel) == (NUMBER, 0x301, 4, {})
    for mark in (19, 20):
        *message, named = asked(kernel)
        assert message == [NUMBER, 1, 4]
        assert genetlink.parsed(named[1])[5] == number(mark)


def test_a_kernel_that_knows_no_tunnels_has_none(kernel: socket.socket) -> None:
    old = answer(b"\5\1\0\0" + nested(2, *DEST[:-3])) + answer(bytes(4), NLMSG_DONE)
    answers(kernel, FAMILY, FOUND, old, error(errno.ESRCH))
    assert ipvs.read([17]) == {WEB: VIRTUAL}


def test_an_answer_cut_short_is_not_half_understood(kernel: socket.socket) -> None:
    whole = nested(1, *SERVICE)
    size = netlink.ATTRIBUTE.pack(len(whole) - 3, 1)
    answers(kernel, FAMILY, answer(b"\4\1\0\0" + size + whole[4:-3]))
    with pytest.raises(KernelError, match="cut short"):
        ipvs.read([17])


def test_writes_a_service_and_its_real_servers(kernel: socket.socket) -> None:
    answers(kernel, FAMILY, error(0), error(0))
    ipvs.add({WEB: VIRTUAL}, {})
    asked(kernel)
    *message, named = asked(kernel)
    assert message == [NUMBER, 5, 1]
    assert genetlink.parsed(named[1]) == {
        1: b"\2\0",
        5: number(17),
        6: b"wrr\0",
        7: number(1) + number(0xFFFFFFFF),
        8: number(300),
        9: ALL,
    }
    *message, named = asked(kernel)
    assert message == [NUMBER, 5, 5]
    assert genetlink.parsed(named[1]) == {1: b"\2\0", 5: number(17)}
    assert genetlink.parsed(named[2]) == {
        1: b"\x0a\0\1\x0b" + bytes(12),
        2: b"\0\x50",
        3: number(3),
        4: number(3),
        5: number(0),
        6: number(0),
        11: b"\2\0",
        13: b"\0",
        14: b"\0\0",
        15: b"\0\0",
    }


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ipip", (b"\0", b"\0\0", b"\0\0")),
        ("gue", (b"\1", b"\x17\xc0", b"\0\0")),
        ("gue:80+csum", (b"\1", b"\0\x50", genetlink.SHORT.pack(1))),
        ("gue:80+remcsum", (b"\1", b"\0\x50", genetlink.SHORT.pack(2))),
        ("gre", (b"\2", b"\0\0", b"\0\0")),
        ("gre+csum", (b"\2", b"\0\0", genetlink.SHORT.pack(1))),
    ],
)
def test_tunnels_are_read_as_they_are_written(
    kernel: socket.socket, text: str, written: tuple[bytes, ...]
) -> None:
    reals = (REAL._replace(port=0, tunnel=parse_tunnel(text)),)
    wanted = ipvs.desired([Service("web", 17, reals=reals, forward=Forward.TUN)])
    answers(kernel, FAMILY, error(0), error(0))
    assert not ipvs.add(wanted, {})
    for _ in range(2):
        asked(kernel)
    *_, named = asked(kernel)
    attributes = genetlink.parsed(named[2])
    assert tuple(attributes[kind] for kind in (13, 14, 15)) == written
    there = b"".join(attribute(*one) for one in attributes.items())
    answers(kernel, FAMILY, FOUND, dest(there), error(errno.ESRCH))
    assert ipvs.read([17])[WEB].dests == wanted[WEB].dests


def test_changes_only_what_differs(kernel: socket.socket) -> None:
    answers(kernel, FAMILY, error(0))
    heavier = VIRTUAL._replace(dests=(Dest(REAL._replace(weight=4), 3),))
    ipvs.add({WEB: heavier}, {WEB: VIRTUAL})
    asked(kernel)
    *_, command, named = asked(kernel)
    assert (command, genetlink.parsed(named[2])[4]) == (6, number(4))


def _dests(*numbers: int) -> tuple[Dest, ...]:
    return tuple(Dest(RealServer(ip_address(f"10.0.1.{number}")), 0) for number in numbers)


@pytest.mark.parametrize(
    ("scheduler", "listed", "wanted", "commands"),
    [
        ("rr", (2, 1), (1, 2, 3), "+3"),
        ("sh", (1, 2), (1, 2, 3), "+3"),
        ("mh", (1, 3), (1, 2, 3), "+2 -3 +3"),
        ("dh", (2, 1), (1, 2), "-2 +2"),
        ("sh", (2, 3), (1, 2, 3), "+1 -2 +2 -3 +3"),
        ("sh", (1, 2, 3), (1, 3), "-2"),
        ("sh", (3, 1, 2), (1, 2), "-3"),
        ("sh", (), (1, 2), "+1 +2"),
    ],
)
def test_real_servers_are_added_in_order_where_it_matters(
    kernel: socket.socket,
    scheduler: str,
    listed: tuple[int, ...],
    wanted: tuple[int, ...],
    commands: str,
) -> None:
    new = Virtual(scheduler, 0, 0, ALL, _dests(*wanted))
    old = new._replace(dests=_dests(*listed))
    words = commands.split()
    answers(kernel, FAMILY, *[error(0)] * len(words))
    ipvs.add({WEB: new}, {WEB: old})
    asked(kernel)
    for word in words:
        *_, command, named = asked(kernel)
        assert (command, genetlink.parsed(named[2])[1][3]) == (
            5 if word[0] == "+" else 7,
            int(word[1:]),
        )


@pytest.mark.parametrize("scheduler", ["wrr", "sh"])
def test_the_order_is_compared_where_it_matters(kernel: socket.socket, scheduler: str) -> None:
    service = attribute(6, scheduler.encode() + b"\0")
    found = answer(b"\4\1\0\0" + nested(1, *SERVICE[:-1], service))
    dests = [
        answer(
            b"\5\1\0\0"
            + nested(2, DEST[0], attribute(1, bytes([10, 0, 1, n]) + bytes(12)), *DEST[2:])
        )
        for n in (11, 12)  # the kernel lists the last one first
    ]
    answers(
        kernel, FAMILY, found, b"".join(dests) + answer(bytes(4), NLMSG_DONE), error(errno.ESRCH)
    )
    (virtual,) = ipvs.read([17]).values()
    added = [int(dest.real.address) & 255 for dest in virtual.dests]
    assert added == ([12, 11] if scheduler == "sh" else [11, 12])


def test_a_kernel_without_ipvs_is_missing_it(kernel: socket.socket) -> None:
    answers(kernel, error(errno.ENOENT))
    with pytest.raises(Missing, match="no IPVS"):
        ipvs.read([17])


def test_an_unknown_scheduler_is_missing(kernel: socket.socket) -> None:
    answers(kernel, FAMILY, error(errno.ENOENT))
    (refused,) = ipvs.add({WEB: VIRTUAL}, {}).items()
    assert refused[0] == WEB
    assert isinstance(refused[1], Missing)
    assert "no IPVS scheduler 'wrr'" in refused[1].message


def test_a_refusal_is_told_in_the_kernels_words(kernel: socket.socket) -> None:
    answers(kernel, FAMILY, error(errno.EPERM))
    with pytest.raises(KernelError, match=r"get service of fwmark 0x11 .*not permitted"):
        ipvs.read([17])


@given(st.lists(st.tuples(st.integers(0, netlink.NLA_TYPE_MASK), st.binary(max_size=40))))
def test_attributes_are_read_as_they_were_packed(pairs: list[tuple[int, bytes]]) -> None:
    packed = b"".join(attribute(kind | NLA_F_NESTED, value) for kind, value in pairs)
    assert list(netlink.attributes(packed, 0)) == pairs


@pytest.mark.parametrize("size", [0, 3, 9, 0xFFFF])
def test_no_attribute_ends_before_its_header_or_behind_the_message(size: int) -> None:
    broken = netlink.ATTRIBUTE.pack(size, 1) + b"four"
    with pytest.raises(KernelError, match="cut short"):
        list(netlink.attributes(broken, 0))


def test_a_rest_too_small_for_an_attribute_is_none() -> None:
    assert list(netlink.attributes(attribute(1, b"four") + b"\1\2\3", 0)) == [(1, b"four")]


@pytest.mark.parametrize(
    ("persistence", "netmask", "netmask6"),
    [
        (Persistence(), ALL, number(128)),
        (Persistence(300, 24, 64), b"\xff\xff\xff\0", number(64)),
        (Persistence(300, 1), b"\x80\0\0\0", number(128)),
    ],
)
def test_neighbours_that_stay_together(
    persistence: Persistence, netmask: bytes, netmask6: bytes
) -> None:
    reals = REAL, RealServer(ip_address("fd00:1::11"))
    wanted = ipvs.desired([Service("web", 17, reals=reals, persistence=persistence)])
    assert [one.netmask for one in wanted.values()] == [netmask, netmask6]


def test_a_persistence_engine_is_asked_for(kernel: socket.socket) -> None:
    answers(kernel, FAMILY, error(0))
    assert not ipvs.add({WEB: VIRTUAL._replace(engine="sip", dests=())}, {})
    asked(kernel)
    *_, named = asked(kernel)
    engine = genetlink.parsed(named[1])[11]
    assert engine == b"sip\0"
    answers(kernel, FAMILY, service(attribute(11, engine)), LISTED, error(errno.ESRCH))
    assert ipvs.read([17]) == {WEB: VIRTUAL._replace(engine="sip")}


@pytest.mark.parametrize(
    ("loaded", "lacking"), [(True, "persistence engine 'sip'"), (False, "scheduler 'wrr'")]
)
def test_what_the_kernel_lacks_is_told_apart(
    kernel: socket.socket, monkeypatch: pytest.MonkeyPatch, loaded: bool, lacking: str
) -> None:
    monkeypatch.setattr(files, "exists", lambda path: loaded)
    answers(kernel, FAMILY, error(errno.ENOENT))
    refused = ipvs.add({WEB: VIRTUAL._replace(engine="sip", dests=())}, {})
    assert lacking in str(refused[WEB])


def test_each_real_server_is_forwarded_to_in_its_way() -> None:
    other = RealServer(ip_address("10.0.1.12"), forward="tun")
    service = Service("web", 17, reals=(REAL._replace(forward="nat"), other), forward=Forward.DR)
    third = RealServer(ip_address("10.0.1.13"))
    (virtual,) = ipvs.desired([service._replace(reals=(*service.reals, third))]).values()
    assert virtual.dests == (
        Dest(REAL, 0),
        Dest(other._replace(forward="service"), 2),
        Dest(third, 3),
    )


def test_a_real_server_of_both_families_is_in_both_virtual_services() -> None:
    both = RealServer(ip_address("10.0.1.12"), forward="tun", family="both")
    native = RealServer(ip_address("fd00:1::11"))
    found = ipvs.desired([Service("web", 17, reals=(REAL, both, native), forward=Forward.NAT)])
    plain = Dest(both._replace(forward="service", family="own"), 2)
    assert {key.version: virtual.dests for key, virtual in found.items()} == {
        4: (Dest(REAL, 0), plain),
        6: (plain, Dest(native, 0)),
    }


@pytest.mark.parametrize(
    ("version", "code", "cause"),
    [(6, errno.EINVAL, "sync daemon"), (4, errno.EINVAL, "ipvsadm -Ln"), (6, errno.EPERM, "-Ln")],
)
def test_why_a_real_server_of_the_other_family_is_refused(
    kernel: socket.socket, version: int, code: int, cause: str
) -> None:
    answers(kernel, FAMILY, error(0), error(code))
    refused = ipvs.add({Key(17, version): VIRTUAL}, {})
    assert cause in (refused[Key(17, version)].hint or "")
