"""The module's netlink family does what kernel/uapi/vip_shim.h specifies, and refuses with words."""

import errno
import os
import random
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.harness import module
from tests.harness.netns import Namespace
from tests.stress.netlink.client import ACK, DUMP, REQUEST, Client, Message, Refused, Value
from tests.stress.netlink.fuzz import check_leaks, fuzz, held, silence, without_words
from vipctl import shim

MAX_SERVICES, MAX_PORTS, MAX_PLANES, MAX_ATTRIBUTE = 65536, 1024, 64, 65535 - 4
NOBODY = 65534  # a user
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
Prefix = tuple[int, int, int, bytes]  # mark, plane, IP version, struct vip_shim_prefix…


def four(address: str, length: int = 32) -> bytes:
    return shim.PREFIX[4].pack(IPv4Address(address).packed, length)


def six(address: str, length: int = 128) -> bytes:
    return shim.PREFIX[6].pack(IPv6Address(address).packed, length)


def port(number: int, protocol: int = socket.IPPROTO_TCP) -> bytes:
    return shim.PORT.pack(number, protocol)


VIP4, VIP6 = four("203.0.113.7"), six("2001:db8::7")


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with module.loaded(), silence():
        yield


@pytest.fixture
def host() -> Iterator[Namespace]:
    namespace = Namespace.create("shim")
    try:
        yield namespace
    finally:
        namespace.close()


@pytest.fixture
def link(host: Namespace) -> Iterator[Client]:
    with host, Client() as client:
        yield client


@pytest.fixture
def other(host: Namespace) -> Iterator[Client]:
    """Another socket of the same namespace."""
    with host, Client() as client:
        yield client


def services(link: Client) -> dict[int, Message]:
    return {told.number("MARK"): told for told in link.dump("GET_SERVICE")[:-1]}


def prefixes(link: Client) -> list[Prefix]:
    """All there are, in order, which says of each once if it is told once."""
    return sorted(
        (told.number("MARK"), told.number("PLANE"), version, array[at : at + size])
        for told in link.dump("GET")[:-1]
        for version, size in ((4, 8), (6, 20))
        for array in [told.array(f"PREFIXES{version}")]
        for at in range(0, len(array), size)
    )


def info(link: Client, name: str) -> int:
    return link("INFO")[0].number(name)


def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


# what a command does, it does wholly


def test_every_length_of_prefix_goes_in_and_out(link: Client) -> None:
    """Also in one command, also where they lie within each other."""
    v4 = [four(str(IPv4Address(0xFFFFFFFF << (32 - n) & 0xFFFFFFFF)), n) for n in range(1, 33)]
    ones = (1 << 128) - 1
    v6 = [six(str(IPv6Address(ones << (128 - n) & ones)), n) for n in range(1, 129)]
    link("SET_SERVICE", MARK=1)
    link("ADD", MARK=1, PLANE=63, PREFIXES4=b"".join(v4), PREFIXES6=b"".join(v6))
    there = [*((1, 63, 4, prefix) for prefix in v4), *((1, 63, 6, prefix) for prefix in v6)]
    assert prefixes(link) == sorted(there)
    assert info(link, "COUNT") == services(link)[1].number("COUNT") == len(there)
    link("DEL", PLANE=63, PREFIXES4=b"".join(v4[::2]), PREFIXES6=b"".join(v6[1:]))
    there = [*((1, 63, 4, prefix) for prefix in v4[1::2]), (1, 63, 6, v6[0])]
    assert prefixes(link) == sorted(there)
    assert info(link, "COUNT") == services(link)[1].number("COUNT") == len(there)


def test_prefixes_change_hands(link: Client) -> None:
    for mark in (1, 2):
        link("SET_SERVICE", MARK=mark)
        link("ADD", MARK=mark, PREFIXES4=VIP4, PREFIXES6=VIP6)
    assert prefixes(link) == [(2, 0, 4, VIP4), (2, 0, 6, VIP6)]
    assert [services(link)[mark].number("COUNT") for mark in (1, 2)] == [0, 2]
    link("DEL_SERVICE", MARK=1)


def test_deleting_what_nobody_has_is_no_error(link: Client) -> None:
    link("SET_SERVICE", MARK=1)
    link("ADD", MARK=1, PREFIXES4=VIP4)
    link("DEL", PLANE=1, PREFIXES4=VIP4)
    link("DEL", PREFIXES4=four("203.0.113.0", 24) + VIP4, PREFIXES6=VIP6)
    assert prefixes(link) == []


def test_deleting_where_there_is_nothing_is_no_error_either(link: Client) -> None:
    link("DEL", PREFIXES4=VIP4)


WRONG: dict[str, dict[str, Value]] = {
    "bit": {"PREFIXES6": VIP6 + six("2001:db8::1", 127)},
    "length 0": {"PREFIXES6": six("::", 0)},
    "length 129": {"PREFIXES6": six("2001:db8::1", 129)},
    "half a prefix": {"PREFIXES6": VIP6 + VIP6[:10]},
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_all_or_nothing(link: Client, command: str, wrong: str) -> None:
    link("SET_SERVICE", MARK=1)
    link("ADD", MARK=1, PREFIXES4=VIP4)
    more: dict[str, Value] = {"PREFIXES4": VIP4 + four("192.0.2.0", 24)}
    mark: dict[str, Value] = {"MARK": 1} if command == "ADD" else {}
    refused = refusal(lambda: link(command, **mark, **more, **WRONG[wrong]))
    assert (refused.error, "prefix" in refused.words) == (errno.EINVAL, True)
    assert prefixes(link) == [(1, 0, 4, VIP4)]


# limits


def test_as_many_prefixes_as_an_attribute_holds(link: Client) -> None:
    count = MAX_ATTRIBUTE // 8
    array = b"".join(shim.PREFIX[4].pack(struct.pack(">I", 2 * i), 32) for i in range(count))
    link("SET_SERVICE", MARK=1)
    link("ADD", MARK=1, PREFIXES4=array)
    assert b"".join(prefix for *_, prefix in prefixes(link)) == array
    link("DEL", PREFIXES4=array)
    assert info(link, "COUNT") == 0


def test_as_many_ports_as_allowed(link: Client) -> None:
    """They are told in full, to a socket that has not received anything yet, too."""
    ports = b"".join(port(number) for number in range(1, MAX_PORTS + 1))
    link("SET_SERVICE", MARK=1, PORTS=ports)
    link("SET_SERVICE", MARK=2)
    refused = refusal(lambda: link("SET_SERVICE", MARK=1, PORTS=ports + port(5000)))
    assert (refused.error, bool(refused.words)) == (errno.ERANGE, True)
    with Client() as fresh:
        told = services(fresh)
    assert sorted(told) == [1, 2]
    assert told[1].array("PORTS") == ports


def test_as_many_services_as_allowed(link: Client) -> None:
    for first in range(1, MAX_SERVICES + 1, 1024):
        link.send_raw(
            b"".join(
                link.packed("SET_SERVICE", REQUEST, MARK=mark)
                for mark in range(first, first + 1024)
            )
        )
    assert info(link, "SERVICES") == MAX_SERVICES
    refused = refusal(lambda: link("SET_SERVICE", MARK=0xFFFFFFFF))
    assert (refused.error, refused.words) == (errno.ENOSPC, "there are too many services")
    link("SET_SERVICE", MARK=MAX_SERVICES, FLAGS=shim.PING)
    link("DEL_SERVICE", MARK=1)
    link("SET_SERVICE", MARK=0xFFFFFFFF)
    link("FLUSH")
    assert info(link, "SERVICES") == 0


# refusals

REFUSALS: list[tuple[str, dict[str, Value], int, str]] = [
    ("SET_SERVICE", {}, errno.EINVAL, "missing"),
    ("SET_SERVICE", {"MARK": 0}, errno.ERANGE, "range"),
    ("SET_SERVICE", {"MARK": 1, "FLAGS": 16}, errno.EINVAL, "reserved bit"),
    ("SET_SERVICE", {"MARK": 1, "PORTS": port(0)}, errno.EINVAL, "a port is"),
    ("SET_SERVICE", {"MARK": 1, "PORTS": port(80, 1)}, errno.EINVAL, "a port is"),
    ("SET_SERVICE", {"MARK": 1, "PORTS": port(80)[:3] + b"\1"}, errno.EINVAL, "a port is"),
    ("SET_SERVICE", {"MARK": 1, "PORTS": port(80) + b"\0\1"}, errno.EINVAL, "a port is"),
    ("SET_SERVICE", {"MARK": 1, "STAGED": True}, errno.EINVAL, "BEGIN"),
    ("SET_SERVICE", {"MARK": 1, "VERSION": 1}, errno.EINVAL, "nsupported"),
    ("DEL_SERVICE", {}, errno.EINVAL, "missing"),
    ("DEL_SERVICE", {"MARK": 3}, errno.ENOENT, "no service has this mark"),
    ("DEL_SERVICE", {"MARK": 2}, errno.EBUSY, "delete them first"),
    ("ADD", {"PREFIXES4": VIP4}, errno.EINVAL, "missing"),
    ("ADD", {"MARK": 3, "PREFIXES4": VIP4}, errno.ENOENT, "no service has this mark"),
    ("ADD", {"MARK": 2, "PREFIXES4": VIP4, "PLANE": MAX_PLANES}, errno.ERANGE, "range"),
    ("DEL", {"PREFIXES4": VIP4, "PLANE": MAX_PLANES}, errno.ERANGE, "range"),
    ("DEL", {"PREFIXES4": VIP4, "STAGED": True}, errno.EINVAL, "BEGIN"),
    ("COMMIT", {}, errno.EINVAL, "BEGIN"),
]


def test_refusals_say_why_and_change_nothing(link: Client) -> None:
    link("SET_SERVICE", MARK=2, FLAGS=shim.DROP)
    link("ADD", MARK=2, PREFIXES6=VIP6)
    before = services(link), prefixes(link)
    for command, attributes, error, words in REFUSALS:
        refused = refusal(lambda: link(command, **attributes))  # noqa: B023
        assert (refused.error, words in refused.words) == (error, True), (command, attributes)
    assert (services(link), prefixes(link)) == before


def test_without_any_service(link: Client) -> None:
    for command in ("DEL_SERVICE", "ADD"):
        refused = refusal(lambda: link(command, MARK=1))  # noqa: B023
        assert (refused.error, refused.words) == (errno.ENOENT, "there is no service")
    assert (services(link), prefixes(link)) == ({}, [])
    link("FLUSH")


# a state beside the one in use


def test_a_staged_state_takes_the_place_of_the_one_in_use(link: Client) -> None:
    link("SET_SERVICE", MARK=1)
    link("ADD", MARK=1, PREFIXES4=VIP4)
    link("BEGIN")
    link("SET_SERVICE", MARK=2, STAGED=True)
    link("ADD", MARK=2, PREFIXES6=VIP6, STAGED=True)
    assert prefixes(link) == [(1, 0, 4, VIP4)]
    link("COMMIT")
    assert prefixes(link) == [(2, 0, 6, VIP6)]
    assert list(services(link)) == [2]
    assert "BEGIN" in refusal(lambda: link("COMMIT")).words


def test_a_staged_state_is_its_sockets_and_goes_with_it(link: Client, other: Client) -> None:
    link("BEGIN")
    link("SET_SERVICE", MARK=1, STAGED=True)
    busy = refusal(lambda: other("BEGIN"))
    assert (busy.error, busy.words) == (errno.EBUSY, "another socket has opened a state")
    for command, staged in (("SET_SERVICE", {"MARK": 1, "STAGED": True}), ("COMMIT", {})):
        assert "BEGIN" in refusal(lambda: other(command, **staged)).words  # noqa: B023
    link.close()
    other("BEGIN")
    assert "no service" in refusal(lambda: other("DEL_SERVICE", MARK=1, STAGED=True)).words
    other("COMMIT")
    assert services(other) == {}


def test_beginning_again_starts_anew(link: Client) -> None:
    link("BEGIN")
    link("SET_SERVICE", MARK=1, STAGED=True)
    link("BEGIN")
    link("COMMIT")
    assert services(link) == {}


def test_flush_drops_what_is_staged(link: Client, other: Client) -> None:
    link("BEGIN")
    other("FLUSH")
    assert "BEGIN" in refusal(lambda: link("COMMIT")).words


# dumps and changes


def replaced(link: Client) -> None:
    link("BEGIN")
    link("COMMIT")


CHANGES: dict[str, Callable[[Client], object]] = {
    "SET_SERVICE": lambda link: link("SET_SERVICE", MARK=9),
    "DEL_SERVICE": lambda link: link("DEL_SERVICE", MARK=8),
    "ADD": lambda link: link("ADD", MARK=1, PREFIXES4=VIP4),
    "DEL": lambda link: link("DEL", PREFIXES6=VIP6),
    "COMMIT": replaced,
    "FLUSH": lambda link: link("FLUSH"),
    "nothing": lambda link: link("INFO"),
    "staged": lambda link: link("BEGIN"),
}


@pytest.mark.parametrize("command", ["GET", "GET_SERVICE"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_dump_that_something_was_changed_under_says_so(
    host: Namespace, link: Client, command: str, change: str
) -> None:
    addresses = random.Random(1).sample(range(1 << 128), 3000)
    for mark in (*range(1, 9), *range(10, 120)):
        link("SET_SERVICE", MARK=mark)
    array = b"".join(shim.PREFIX[6].pack(a.to_bytes(16), 128) for a in addresses)
    link("ADD", MARK=1, PREFIXES6=array + VIP6)
    before = info(link, "GENERATION")
    with host, Client(receive=4096) as dumping:
        dumping.send(command, REQUEST | DUMP)
        answer = dumping.answer()
        first = next(answer)
        CHANGES[change](link)
        told = [first, *answer]
    changed = change not in {"nothing", "staged"}
    assert any(message.interrupted for message in told) is changed
    assert (info(link, "GENERATION") != before) is changed


# counters


def counted(link: Client, mark: int) -> tuple[int, int]:
    """Packets that were accepted, and those that nobody took."""
    told = services(link)[mark]
    return told.number("ACCEPTED"), told.number("LEFT_OVER")


def send_three(client: Namespace, to: str) -> None:
    with client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(3):
            sending.sendto(b"?", (to, 9))


def test_counters_go_on_over_a_commit(host: Namespace, link: Client) -> None:
    """Those of a service with the same mark; what others counted is gone."""
    client = Namespace.create("client")
    host.ip(
        f"link add up type veth peer name down netns {client.name}",
        "address add 10.9.0.1/24 dev up",
        "link set up up",
    )
    client.ip(
        "address add 10.9.0.2/24 dev down", "link set down up", "route add default via 10.9.0.1"
    )
    link("SET_SERVICE", MARK=1, FLAGS=shim.DROP)
    link("ADD", MARK=1, PREFIXES4=VIP4)
    send_three(client, "203.0.113.7")
    assert counted(link, 1) == (3, 3)
    link("SET_SERVICE", MARK=1, FLAGS=shim.DROP, PORTS=port(9, socket.IPPROTO_UDP))
    for times in (2, 3):
        link("BEGIN")
        for mark in (1, 2):
            link("SET_SERVICE", MARK=mark, FLAGS=shim.DROP, STAGED=True)
        link("ADD", MARK=1, PREFIXES4=VIP4, STAGED=True)
        link("COMMIT")
        send_three(client, "203.0.113.7")
        assert (counted(link, 1), counted(link, 2)) == ((3 * times, 3 * times), (0, 0))
    link("FLUSH")
    link("SET_SERVICE", MARK=1)
    assert counted(link, 1) == (0, 0)
    client.close()


# privileges


def in_a_process(call: Callable[[], object]) -> None:
    """Call it where privileges can be dropped; raise AssertionError if it raises."""
    child = os.fork()
    if not child:
        try:
            call()
        except BaseException as e:
            print(f"{type(e).__name__}: {e}", flush=True)
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def everything_is_refused(link: Client) -> None:
    for command in shim.COMMANDS[1:]:
        flags = REQUEST | (DUMP if command in {"GET", "GET_SERVICE"} else ACK)
        link.send(command, flags, MARK=1)
        refused = refusal(lambda: list(link.answer()))
        assert refused.error == errno.EPERM, command


def test_every_command_needs_privileges(link: Client) -> None:
    """Of who sends, and of who opened the socket."""

    def without() -> None:
        os.setresuid(NOBODY, NOBODY, NOBODY)
        everything_is_refused(link)
        everything_is_refused(Client())

    in_a_process(without)
    link("SET_SERVICE", MARK=1)


def test_a_user_namespaces_root_has_them_in_its_own_network(link: Client) -> None:
    link("SET_SERVICE", MARK=1)

    def inside() -> None:
        import ctypes  # noqa: F401

        os.setresuid(NOBODY, NOBODY, NOBODY)
        unshare(CLONE_NEWUSER | CLONE_NEWNET)
        with Client() as own:
            own("SET_SERVICE", MARK=5)
            own("ADD", MARK=5, PREFIXES4=VIP4)
            assert prefixes(own) == [(5, 0, 4, VIP4)]

    in_a_process(inside)
    assert list(services(link)) == [1]


def unshare(flags: int) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


# anything at all


def test_random_messages() -> None:
    fuzz(1, 300)
    before = held()
    reports = [fuzz(seed, 1500) for seed in (2, 3)]
    check_leaks(before, held())
    assert "it works afterwards" in reports[0]
    assert without_words("".join(reports)) == set()
