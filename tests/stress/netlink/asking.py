"""What the tests of the module's netlink family ask, and the refusals they expect."""

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address

from tests.harness.netns import Namespace
from tests.stress.netlink.client import ACK, DUMP, REQUEST, Client, Message, Refused, Value
from vipctl.linux.shim import messages

MAX_SERVICES, MAX_PORTS, MAX_PLANES, MAX_ATTRIBUTE = 65536, 1024, 64, 65535 - 4
MAX_OWNER = 64
NOBODY = 65534  # a user
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
Prefix = tuple[int, int, int, bytes]  # mark, plane, IP version, struct vip_shim_prefix…


def four(address: str, length: int = 32) -> bytes:
    return messages.PREFIX[4].pack(IPv4Address(address).packed, length)


def six(address: str, length: int = 128) -> bytes:
    return messages.PREFIX[6].pack(IPv6Address(address).packed, length)


def port(number: int, protocol: int = socket.IPPROTO_TCP) -> bytes:
    return messages.PORT.pack(number, protocol)


VIP4, VIP6 = four("203.0.113.7"), six("2001:db8::7")


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


def set_services(link: Client, marks: Sequence[int]) -> None:
    """Many, without an answer to each."""
    for at in range(0, len(marks), 1024):
        some = marks[at : at + 1024]
        link.send_raw(b"".join(link.packed("SET_SERVICE", REQUEST, MARK=mark) for mark in some))


def info(link: Client, name: str) -> int:
    return link("INFO")[0].number(name)


def whose(link: Client) -> bytes:
    return link("INFO")[0].array("OWNER")


def refusal(call: Callable[[], object]) -> Refused:
    """The refusal of a call that must be refused."""
    try:
        call()
    except Refused as refused:
        return refused
    raise AssertionError("not refused")


WRONG: dict[str, dict[str, Value]] = {
    "bit": {"PREFIXES6": VIP6 + six("2001:db8::1", 127)},
    "length 0": {"PREFIXES6": six("::", 0)},
    "length 129": {"PREFIXES6": six("2001:db8::1", 129)},
    "half a prefix": {"PREFIXES6": VIP6 + VIP6[:10]},
}


REFUSALS: list[tuple[str, dict[str, Value], int, str]] = [
    ("SET_SERVICE", {}, errno.EINVAL, "missing"),
    ("SET_SERVICE", {"MARK": 0}, errno.ERANGE, "range"),
    ("SET_SERVICE", {"MARK": 1, "FLAGS": 32}, errno.EINVAL, "reserved bit"),
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
    ("SET_ROLE", {}, errno.EINVAL, "missing"),
    ("SET_ROLE", {"ROLE": 2}, errno.ERANGE, "range"),
    ("SET_ROLE", {"ROLE": 1, "STAGED": True}, errno.EINVAL, "BEGIN"),
    ("COMMIT", {}, errno.EINVAL, "BEGIN"),
    ("COMMIT", {"OWNER": bytes(MAX_OWNER + 1)}, errno.ERANGE, "policy"),
]


def wired(host: Namespace) -> Namespace:
    """Another host, with a wire to this one, that is its router."""
    client = Namespace.create("client")
    host.ip(
        f"link add toward type veth peer name back netns {client.name}",
        "address add 10.9.0.1/24 dev toward",
        "link set toward up",
    )
    client.ip(
        "address add 10.9.0.2/24 dev back",
        "link set back up",
        "route add default via 10.9.0.1",
    )
    return client


def counted(link: Client, mark: int) -> tuple[int, int]:
    """Packets that were accepted, and those that nobody took."""
    told = services(link)[mark]
    return told.number("ACCEPTED"), told.number("LEFT_OVER")


def send_three(client: Namespace, to: str) -> None:
    with client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for _ in range(3):
            sending.sendto(b"?", (to, 9))


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
    for command in messages.COMMANDS[1:]:
        flags = REQUEST | (DUMP if command in {"GET", "GET_SERVICE"} else ACK)
        link.send(command, flags, MARK=1)
        refused = refusal(lambda: list(link.answer()))
        assert refused.error == errno.EPERM, command


def nobody_is_refused(opened: Client) -> None:
    """Drop privileges; neither a socket that was opened with them nor a new one is of use then."""
    os.setresuid(NOBODY, NOBODY, NOBODY)
    everything_is_refused(opened)
    everything_is_refused(Client())


def nobody_has_a_network() -> None:
    """Drop privileges, have them again in namespaces of one's own, and be refused there too."""
    os.setresuid(NOBODY, NOBODY, NOBODY)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    with Client() as own:
        assert refusal(lambda: own("SET_SERVICE", MARK=5)).error == errno.EPERM


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
