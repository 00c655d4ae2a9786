"""The messages of the module vip_shim; commands and attributes are named as in its header.

Numbers are from kernel/uapi/vip_shim.h, which specifies the protocol.
"""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from vipctl.errors import KernelError, Missing
from vipctl.linux.genetlink import HEADER, Attributes, Family, parsed
from vipctl.linux.netlink import NLM_F_ACK, NUMBER, Message, attribute

NAME = "vip_shim"
VERSION = 1

COMMANDS = (
    "UNSPEC", "INFO", "SET_SERVICE", "DEL_SERVICE", "GET_SERVICE", "ADD", "DEL", "GET", "BEGIN",
    "COMMIT", "FLUSH", "SET_ROLE",
)  # fmt: skip
ATTRIBUTES = (
    ("UNSPEC", "none"),
    ("PAD", "none"),
    ("VERSION", "uint32"),
    ("MARK", "uint32"),
    ("FLAGS", "uint32"),
    ("PORTS", "bytes"),
    ("PLANE", "uint32"),
    ("PREFIXES4", "bytes"),
    ("PREFIXES6", "bytes"),
    ("STAGED", "flag"),
    ("SERVICES", "uint32"),
    ("COUNT", "uint64"),
    ("ACCEPTED", "uint64"),
    ("LEFT_OVER", "uint64"),
    ("REFUSED", "uint64"),
    ("GENERATION", "uint32"),
    ("OWNER", "bytes"),
    ("ROLE", "uint32"),
)
LONG = struct.Struct("=Q")
NUMBERS = {name: number for number, (name, _) in enumerate(ATTRIBUTES)}
KINDS = dict(ATTRIBUTES)
PACK: dict[str, Callable[[Any], bytes]] = {
    "uint32": NUMBER.pack,
    "bytes": bytes,
    "flag": lambda _: b"",
}
UNPACK: dict[str, Callable[[bytes], Any]] = {
    "none": bytes,
    "uint32": lambda packed: NUMBER.unpack(packed)[0],
    "uint64": lambda packed: LONG.unpack(packed)[0],
    "bytes": bytes,
    "flag": lambda _: True,
}
PORT = struct.Struct(">HBx")  # struct vip_shim_port
PREFIX = {4: struct.Struct(">4sB3x"), 6: struct.Struct(">16sB3x")}  # struct vip_shim_prefix4, 6
CHUNK = 24 * 2600  # bytes of whole prefixes in a message: an attribute ends at 65,535
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": socket.IPPROTO_SCTP}

Told = dict[str, Any]  # attributes, by name


def info(link: Family) -> Told:
    answer = link.ask(COMMANDS.index("INFO"), b"")
    _check("INFO", answer)
    return told(parsed(answer.content, HEADER.size))


def do(link: Family, command: str, **named: Any) -> None:
    _check(command, link.ask(COMMANDS.index(command), packed(named), NLM_F_ACK))


def dump(link: Family, command: str) -> Iterator[Told]:
    """The state at one moment, whatever others change meanwhile."""
    return map(told, link.dump(COMMANDS.index(command), b""))


def _check(command: str, answer: Message) -> None:
    """Raises KernelError in the module's words, or Missing."""
    code = answer.failure()
    if code == errno.EPERM:
        hint = "run as root of the host: in a container's user namespace it cannot be used"
        raise Missing("vip_shim: no permission", hint=hint)
    if code:
        words = f"{answer.said() or os.strerror(code)} (errno {code})"
        raise KernelError(f"vip_shim: {command}: {words}", hint="dmesg may say more")


def packed(named: dict[str, Any]) -> bytes:
    return b"".join(attribute(NUMBERS[n], PACK[KINDS[n]](value)) for n, value in named.items())


def told(found: Attributes) -> Told:
    """The attributes by name, without those that this vipctl does not know."""
    names = {number: ATTRIBUTES[number] for number in found if number < len(ATTRIBUTES)}
    return {name: UNPACK[kind](found[number]) for number, (name, kind) in names.items()}
