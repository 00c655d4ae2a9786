"""The module's netlink family does what kernel/uapi/vip_shim.h specifies, refuses with words."""

import errno
import itertools
import os
import random
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from tests.harness import module
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.stress.netlink.asking import (
    CHANGES,
    MAX_ATTRIBUTE,
    MAX_OWNER,
    MAX_PORTS,
    MAX_SERVICES,
    REFUSALS,
    VIP4,
    VIP6,
    WRONG,
    counted,
    four,
    in_a_process,
    info,
    nobody_has_a_network,
    nobody_is_refused,
    port,
    prefixes,
    refusal,
    send_three,
    services,
    set_services,
    six,
    whose,
    wired,
)
from tests.stress.netlink.client import DUMP, REQUEST, Client, Value
from tests.stress.netlink.fuzz import check_leaks, fuzz, held, silence, without_words
from vipctl.addresses.prefixes import RESERVED
from vipctl.linux import shim
from vipctl.linux.shim import messages
from vipctl.services import batch


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with silence(), module.loaded():
        yield


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    with closing(Namespace.create("shim")) as namespace:
        yield namespace


@pytest.fixture
def link(host: Namespace) -> Iterator[Client]:
    """A socket; afterwards the namespace has nothing."""
    with host:
        with Client() as client:
            yield client
        with Client() as client:
            client("FLUSH")


@pytest.fixture
def other(host: Namespace) -> Iterator[Client]:
    """Another socket of the same namespace."""
    with host, Client() as client:
        yield client


# what a command does, it does wholly


def test_every_length_of_prefix_goes_in_and_out(link: Client) -> None:
    """Also in one command, also where they lie within each other."""
    low, high = 0x9FFFFFFF, (1 << 127) - 1  # neither they nor their prefixes are reserved
    v4 = [four(str(IPv4Address(low >> 32 - n << 32 - n)), n) for n in range(3, 33)]
    v6 = [six(str(IPv6Address(high >> 128 - n << 128 - n)), n) for n in range(2, 129)]
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
    first = int(IPv4Address("10.0.0.0"))
    array = b"".join(
        messages.PREFIX[4].pack(struct.pack(">I", first + 2 * i), 32) for i in range(count)
    )
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
    set_services(link, range(1, MAX_SERVICES + 1))
    assert info(link, "SERVICES") == MAX_SERVICES
    refused = refusal(lambda: link("SET_SERVICE", MARK=0xFFFFFFFF))
    assert (refused.error, refused.words) == (errno.ENOSPC, "there are too many services")
    link("SET_SERVICE", MARK=MAX_SERVICES, FLAGS=shim.PING)
    link("DEL_SERVICE", MARK=1)
    link("SET_SERVICE", MARK=0xFFFFFFFF)
    link("FLUSH")
    assert info(link, "SERVICES") == 0


# refusals


def test_refusals_say_why_and_change_nothing(link: Client) -> None:
    link("SET_SERVICE", MARK=2, FLAGS=shim.DROP)
    link("ADD", MARK=2, PREFIXES6=VIP6)
    before = services(link), prefixes(link)
    for command, attributes, error, words in REFUSALS:
        refused = refusal(lambda: link(command, **attributes))  # noqa: B023
        assert (refused.error, words in refused.words) == (error, True), (command, attributes)
    assert (services(link), prefixes(link)) == before


@pytest.mark.parametrize("block", [block for block, _ in RESERVED])
def test_what_no_vip_can_be_in_is_refused(link: Client, block: str) -> None:
    """All of it, a part of it, and what has it in it; vipctl refuses the same."""
    network = ip_network(block)
    others = [network, network.supernet(), ip_network(network.broadcast_address)]
    link("SET_SERVICE", MARK=1)
    for prefix in others:
        packed = messages.PREFIX[prefix.version].pack(
            prefix.network_address.packed, prefix.prefixlen
        )
        array: dict[str, Value] = {f"PREFIXES{prefix.version}": packed}
        refused = refusal(lambda: link("ADD", MARK=1, **array))  # noqa: B023
        assert (refused.error, "no host can have" in refused.words) == (errno.EINVAL, True)
        link("DEL", **array)
    assert prefixes(link) == []


def test_without_any_service(link: Client) -> None:
    for command in ("DEL_SERVICE", "ADD"):
        refused = refusal(lambda: link(command, MARK=1))  # noqa: B023
        assert (refused.error, refused.words) == (errno.ENOENT, "there is no service")
    link("DEL", PREFIXES4=VIP4)
    link("FLUSH")
    assert (services(link), prefixes(link)) == ({}, [])


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


# whose it is


@pytest.mark.parametrize("owner", [b"", b"\0\xff somebody", bytes(range(MAX_OWNER))])
def test_whose_a_state_is_was_said_with_its_commit(link: Client, owner: bytes) -> None:
    link("BEGIN")
    link("SET_SERVICE", MARK=1, STAGED=True)
    link("COMMIT", OWNER=owner)
    link("SET_SERVICE", MARK=2)
    link("BEGIN")
    assert whose(link) == owner


@pytest.mark.parametrize("ending", ["flush", "the last service goes", "nobody's takes its place"])
def test_an_owner_goes_with_its_state(link: Client, ending: str) -> None:
    link("BEGIN")
    link("SET_SERVICE", MARK=1, STAGED=True)
    link("COMMIT", OWNER=b"somebody")
    if ending == "flush":
        link("FLUSH")
    elif ending == "the last service goes":
        link("DEL_SERVICE", MARK=1)
    else:  # as an older vipctl commits
        link("BEGIN")
        link("SET_SERVICE", MARK=1, STAGED=True)
        link("COMMIT")
    link("SET_SERVICE", MARK=1)
    assert whose(link) == b""


# roles


def test_a_role_is_of_a_state(link: Client) -> None:
    assert refusal(lambda: link("SET_ROLE", ROLE=1)).error == errno.ENOENT
    link("SET_SERVICE", MARK=1)
    before = info(link, "GENERATION")
    link("SET_ROLE", ROLE=1)
    assert (info(link, "ROLE"), info(link, "GENERATION")) == (1, before + 1)
    link("BEGIN")
    link("SET_SERVICE", MARK=1, STAGED=True)
    link("COMMIT")
    assert info(link, "ROLE") == 0
    link("BEGIN")
    link("SET_SERVICE", MARK=1, STAGED=True)
    link("SET_ROLE", ROLE=1, STAGED=True)
    assert info(link, "ROLE") == 0
    link("COMMIT")
    assert info(link, "ROLE") == 1
    link("FLUSH")
    assert info(link, "ROLE") == 0


# dumps and changes


@pytest.mark.parametrize("command", ["GET", "GET_SERVICE"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_dump_tells_of_the_moment_it_was_asked_for(
    host: Namespace, link: Client, command: str, change: str
) -> None:
    """Whatever is changed while it is read."""
    dice = random.Random(1)
    set_services(link, (*range(1, 9), *range(10, 500)))
    addresses = (b"\x20" + dice.randbytes(15) for _ in range(3000))  # of 2000::/8, none reserved
    array = b"".join(messages.PREFIX[6].pack(address, 128) for address in addresses)
    link("ADD", MARK=1, PREFIXES6=array + VIP6)
    before, there = info(link, "GENERATION"), link.dump(command)
    with host, Client(receive=8192) as dumping:
        dumping.send(command, REQUEST | DUMP)
        answer = dumping.answer()
        first = next(answer)
        CHANGES[change](link)
        assert [first, *answer] == there
    assert (info(link, "GENERATION") != before) is (change not in {"nothing", "staged"})


READS = 20
HALVES, WHOLES = (
    [(10 << 24) + (number << 32 - length) for number in range(4000 << length - 24)]
    for length in (25, 24)
)


def change_all_the_time() -> None:
    """Have the same addresses now as halves, now as wholes, and never rest."""
    arrays = [
        b"".join(messages.PREFIX[4].pack(start.to_bytes(4), length) for start in starts)
        for starts, length in ((HALVES, 25), (WHOLES, 24))
    ]
    with Client() as changing:
        for array in itertools.cycle(arrays):
            changing("BEGIN")
            for mark in (1, 2):
                changing("SET_SERVICE", MARK=mark, STAGED=True)
            changing("ADD", MARK=1, PREFIXES4=array, STAGED=True)
            changing("COMMIT")
            for flags in (shim.DROP, 0) * 10:
                changing("SET_SERVICE", MARK=2, FLAGS=flags)


def test_a_reader_needs_no_pause(host: Namespace, link: Client) -> None:
    """What it reads was so at one moment, though it never stays so."""
    before = info(link, "GENERATION")
    with host:
        child = os.fork()
        if not child:
            change_all_the_time()
        try:
            wait_until(lambda: 2 in services(link), "something is there")
            for _ in range(READS):
                starts = [entry.start for entry in batch.entries(shim.prefixes())]
                assert starts in (HALVES, WHOLES)
                assert shim.services()[1].prefixes in (len(HALVES), len(WHOLES))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert info(link, "GENERATION") > before + READS


def test_another_namespace_counts_from_elsewhere(link: Client) -> None:
    """Nor does the module, loaded again, come to where it was before."""
    elsewhere = Namespace.create("elsewhere")
    try:
        with elsewhere, Client() as other:
            assert info(other, "GENERATION") != info(link, "GENERATION")
    finally:
        elsewhere.close()


# counters


def test_counters_go_on_over_a_commit(host: Namespace, link: Client) -> None:
    """Those of a service with the same mark; what others counted is gone."""
    client = wired(host)
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


def test_every_command_needs_privileges(link: Client) -> None:
    """Of who sends, and of who opened the socket."""
    in_a_process(lambda: nobody_is_refused(link))
    link("SET_SERVICE", MARK=1)


def test_a_user_namespaces_root_does_not_have_them(link: Client) -> None:
    """Not even in a network namespace of its own: anybody can make one."""
    in_a_process(nobody_has_a_network)
    assert services(link) == {}


# anything at all


def test_random_messages() -> None:
    fuzz(1, 300)
    before = held()
    reports = [fuzz(seed, 800) for seed in (2, 3)]
    check_leaks(before, held())
    assert "it works afterwards" in reports[0]
    assert without_words("".join(reports)) == set()
