"""What carries messages to other directors and from them, and what it has to do with the relay."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from vipctl.addresses.prefixes import IPAddress, bracketed
from vipctl.errors import KernelError
from vipctl.relay.outbox import Outbox

GREETING = b"vipctl sync 1\n"  # before messages in a stream
LENGTH = 2  # bytes before each of them, which say how long it is


def framed(message: bytes) -> bytes:
    """As it is in a stream."""
    return len(message).to_bytes(LENGTH, "big") + message


class Address(NamedTuple):
    """Where a director takes records."""

    host: IPAddress
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


class Holder(Protocol):
    """Who has the messages. A peer is called by its host, as text."""

    def take(self, peer: str, message: bytes) -> None:
        """A message of a peer."""

    def missed(self) -> Iterator[bytes]:
        """What a peer that comes is to be told before all else."""

    def present(self, peer: str, *, here: bool) -> None:
        """Whether records of a peer come from now on."""


class Sent(NamedTuple):
    """`there`: the peer gets records now. Messages that it got, and that were too many for it."""

    there: bool
    sent: int
    dropped: int


class Transport(Protocol):
    def send(self, message: bytes) -> None:
        """To every peer that is there. Never waits."""

    async def run(self) -> None:
        """Until it is cancelled."""

    def report(self) -> Mapping[str, Sent]:
        """How it stands with each peer."""


class Peer:
    """What is sent to one peer while it is there."""

    def __init__(self, address: Address) -> None:
        self.address, self.name = address, str(address.host)
        self.sent = 0
        self._outbox: Outbox | None = None
        self._dropped = 0  # by outboxes of before

    @contextmanager
    def there(self) -> Iterator[Outbox]:
        """It gets what is `put`, in what is returned, until it is no longer there."""
        self._outbox = outbox = Outbox()
        try:
            yield outbox
        finally:
            self._dropped += outbox.dropped
            self._outbox = None

    def put(self, message: bytes) -> None:
        if self._outbox:
            self._outbox.put(message)

    def report(self) -> Sent:
        now = self._outbox.dropped if self._outbox else 0
        return Sent(self._outbox is not None, self.sent, self._dropped + now)


def bound(address: Address, kind: socket.SocketKind) -> socket.socket:
    """A socket that takes what is sent there. Raises KernelError."""
    family = socket.AF_INET if address.host.version == 4 else socket.AF_INET6
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind is socket.SOCK_STREAM)
        made.bind((str(address.host), address.port))
    except OSError as e:
        made.close()
        raise KernelError(
            f"cannot listen on {address}: {e.strerror}",
            hint="name an address that this director has, and a port that nobody uses",
        ) from e
    return made
