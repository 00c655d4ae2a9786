"""A bare client of the module's family: an answer with its flags, a refusal with its words."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from vipctl.linux.shim import messages

NETLINK_GENERIC = 16  # not every Python's socket has it
CONTROL, GET_FAMILY, FAMILY_ID, FAMILY_NAME = 16, 3, 1, 2
REQUEST, ACK, DUMP, INTERRUPTED, HAS_WORDS = 0x1, 0x4, 0x300, 0x10, 0x200
ERROR, DONE = 2, 3
SOL_NETLINK, CAP_ACK, EXT_ACK = 270, 10, 11
WORDS = 1  # NLMSGERR_ATTR_MSG
HEADER = struct.Struct("=IHHII")
GENERIC = struct.Struct("=BBH")
ATTRIBUTE = struct.Struct("=HH")
NUMBER = {name: number for number, (name, _) in enumerate(messages.ATTRIBUTES)}
KIND = dict(messages.ATTRIBUTES)
WIDTH = {"uint32": 4, "uint64": 8}

Value = int | bytes | bool


class Refused(Exception):
    """The kernel's answer: an error and the reason, empty if it gave none."""

    def __init__(self, error: int, words: str) -> None:
        super().__init__(error, words)
        self.error, self.words = error, words


@dataclass(frozen=True, slots=True)
class Message:
    """An answer; `interrupted` where something was changed under a dump."""

    interrupted: bool
    attributes: dict[str, Value] = field(default_factory=dict)

    def number(self, name: str) -> int:
        """Return an attribute that is a number."""
        value = self.attributes[name]
        assert isinstance(value, int)
        return value

    def array(self, name: str) -> bytes:
        """Return an attribute that is an array; without one, an empty one."""
        value = self.attributes.get(name, b"")
        assert isinstance(value, bytes)
        return value


class Client:
    """A socket in the network namespace in which it is made."""

    def __init__(self, receive: int = 32768) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self._socket.bind((0, 0))
        self._socket.setsockopt(SOL_NETLINK, EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400_000)
        self._receive, self._family = receive, _family()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def close(self) -> None:
        """Close the socket; what it has staged goes with it."""
        self._socket.close()

    def __call__(self, command: str, **attributes: Value) -> list[Message]:
        """Return the answer once it is complete; raise Refused."""
        self.send(command, REQUEST | ACK, **attributes)
        return list(self.answer())

    def dump(self, command: str) -> list[Message]:
        """Return all of a dump; the last message is its end."""
        self.send(command, REQUEST | DUMP)
        return list(self.answer())

    def send(self, command: str, flags: int, **attributes: Value) -> None:
        """Send, and leave the answer for `answer`."""
        self._socket.send(self.packed(command, flags, **attributes))

    def send_raw(self, data: bytes) -> None:
        """Send messages that `packed` has made."""
        self._socket.send(data)

    def packed(self, command: str, flags: int, **attributes: Value) -> bytes:
        """Return a message; its length is a multiple of 4."""
        generic = GENERIC.pack(messages.COMMANDS.index(command), messages.VERSION, 0)
        return _message(self._family, flags, generic, attributes)

    def answer(self) -> Iterator[Message]:
        """Yield messages as they come, those of a dump at most a buffer ahead of the kernel."""
        while True:
            data = self._socket.recv(self._receive)
            while data:
                length, kind, flags, *_ = HEADER.unpack_from(data)
                body, data = data[HEADER.size : length], data[(length + 3) & ~3 :]
                if kind in {ERROR, DONE}:
                    _raise(body, flags, own=20 if kind == ERROR else 4)
                    yield from [Message(bool(flags & INTERRUPTED))] * (kind == DONE)
                    return
                yield Message(bool(flags & INTERRUPTED), _named(body[GENERIC.size :]))


def _message(family: int, flags: int, generic: bytes, attributes: dict[str, Value]) -> bytes:
    body = generic + b"".join(
        _attribute(NUMBER[name], _value(name, value)) for name, value in attributes.items()
    )
    return HEADER.pack(HEADER.size + len(body), family, flags, 0, 0) + body


def _value(name: str, value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"" if value is True else value.to_bytes(WIDTH[KIND[name]], "little")


def _attribute(number: int, value: bytes) -> bytes:
    padding = bytes(-len(value) % 4)
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), number) + value + padding


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        length, number = ATTRIBUTE.unpack_from(data)
        yield number, data[ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


def _named(data: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for number, value in _attributes(data):
        name, kind = messages.ATTRIBUTES[number]
        found[name] = int.from_bytes(value, "little") if kind in WIDTH else value
    return found


def _raise(body: bytes, flags: int, own: int) -> None:
    (error,) = struct.unpack_from("=i", body)
    if error:
        told = dict(_attributes(body[own:])) if flags & HAS_WORDS else {}
        raise Refused(-error, told.get(WORDS, b"").rstrip(b"\0").decode())


def _family() -> int:
    """Ask with another socket: what one has received decides on the size of its dumps."""
    generic = GENERIC.pack(GET_FAMILY, 1, 0)
    body = generic + _attribute(FAMILY_NAME, f"{messages.NAME}\0".encode())
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC) as asking:
        asking.send(HEADER.pack(HEADER.size + len(body), CONTROL, REQUEST, 0, 0) + body)
        data = asking.recv(8192)
    length, kind, *_ = HEADER.unpack_from(data)
    if kind == ERROR:
        _raise(data[HEADER.size : length], 0, own=20)
    found = dict(_attributes(data[HEADER.size + GENERIC.size : length]))
    return int.from_bytes(found[FAMILY_ID], "little")
