"""Real traffic from a host: HTTP and UDP requests to the servers of `tests.harness.servers`."""

import errno
import socket
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from tests.harness.lab import family
from tests.harness.netns import Namespace

TIME_LIMIT = 5.0
LINUX_IP_RECVERR = 11  # linux/in.h
LINUX_IPV6_RECVERR = 25  # linux/in6.h


class Outcome(Enum):
    """What became of a request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    RESET = "reset"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"


ERRORS = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.ECONNRESET: Outcome.RESET,
    errno.EPIPE: Outcome.RESET,
    errno.EHOSTUNREACH: Outcome.UNREACHABLE,
    errno.ENETUNREACH: Outcome.UNREACHABLE,
    errno.EACCES: Outcome.UNREACHABLE,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An outcome; if answered: by which server, whom it saw as its peer, how many bytes it got."""

    outcome: Outcome
    server: str = ""
    peer: str = ""
    nbytes: int = 0

    @property
    def answered(self) -> bool:
        """Whether a server answered."""
        return self.outcome is Outcome.ANSWERED


def describe(server: str, peer: str, body: bytes) -> bytes:
    """Return what a server says about a request; `_understand` reads it."""
    return f"{server} {peer} {len(body)} {zlib.crc32(body)}".encode()


def _understand(text: bytes, sent: bytes) -> Reply:
    server, peer, nbytes, checksum = text.decode().split()
    if (int(nbytes), int(checksum)) != (len(sent), zlib.crc32(sent)):
        raise ValueError(f"{server} received {nbytes} bytes of {len(sent)}, or damaged ones")
    return Reply(Outcome.ANSWERED, server, peer, int(nbytes))


def _payload(nbytes: int) -> bytes:
    return (bytes(range(256)) * (nbytes // 256 + 1))[:nbytes]


def read_head(readline: Callable[[], bytes]) -> list[bytes]:
    """Return the lines of an HTTP head; none at the end of the connection."""
    head = []
    while (line := readline()).strip():
        head.append(line)
    return head


def content_length(head: list[bytes]) -> int:
    """Return the length of the body that follows an HTTP head."""
    for line in head:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


class Connection:
    """An HTTP connection of a client, kept open for several requests."""

    def __init__(
        self,
        ns: Namespace,
        dst: str,
        port: int,
        source: str | None = None,
        timeout: float = TIME_LIMIT,
    ) -> None:
        self.host = dst
        with ns:
            self.socket = socket.socket(family(dst), socket.SOCK_STREAM)
        try:
            self.socket.settimeout(timeout)
            if source:
                self.socket.bind((source, 0))
            self.socket.connect((dst, port))
        except BaseException:
            self.socket.close()
            raise
        self.stream = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, body: bytes = b"") -> Reply:
        """Send a GET, or a POST if there is a body; return the reply or raise OSError."""
        verb = "POST" if body else "GET"
        head = f"{verb} / HTTP/1.1\r\nHost: {self.host}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)
        answer = read_head(self.stream.readline)
        if not answer:
            raise ConnectionResetError(errno.ECONNRESET, "closed without an answer")
        return _understand(self.stream.read(content_length(answer)), body)

    def close(self) -> None:
        """Close the connection."""
        self.stream.close()
        self.socket.close()


def _outcome(ask: Callable[[], Reply]) -> Reply:
    try:
        return ask()
    except TimeoutError:
        return Reply(Outcome.TIMEOUT)
    except OSError as error:
        if error.errno not in ERRORS:
            raise
        return Reply(ERRORS[error.errno])


def tcp_get(
    ns: Namespace, dst: str, port: int, source: str | None = None, timeout: float = TIME_LIMIT
) -> Reply:
    """Send one HTTP request on a connection of its own."""
    return tcp_post(ns, dst, port, 0, source, timeout)


def tcp_post(
    ns: Namespace,
    dst: str,
    port: int,
    nbytes: int,
    source: str | None = None,
    timeout: float = TIME_LIMIT,
) -> Reply:
    """Upload so many bytes on a connection of its own; the server confirms length and checksum."""

    def ask() -> Reply:
        with Connection(ns, dst, port, source, timeout) as connection:
            return connection.ask(_payload(nbytes))

    return _outcome(ask)


def udp_ask(
    ns: Namespace,
    dst: str,
    port: int,
    nbytes: int = 16,
    source: str | None = None,
    timeout: float = TIME_LIMIT,
    ttl: int | None = None,
) -> Reply:
    """Send one datagram from a port of its own and wait for the answer or an ICMP error."""
    body = _payload(nbytes)

    def ask() -> Reply:
        with _udp_socket(ns, dst, source, ttl) as asking:
            asking.settimeout(timeout)
            asking.connect((dst, port))
            asking.send(body)
            return _understand(asking.recv(65535), body)

    return _outcome(ask)


def udp_send(ns: Namespace, destinations: list[str], port: int, nbytes: int = 16) -> None:
    """Send one datagram to each destination and wait for nothing."""
    for dst in destinations:
        with _udp_socket(ns, dst, None, None) as sending:
            sending.sendto(_payload(nbytes), (dst, port))


@contextmanager
def _udp_socket(
    ns: Namespace, dst: str, source: str | None, ttl: int | None
) -> Iterator[socket.socket]:
    with ns:
        asking = socket.socket(family(dst), socket.SOCK_DGRAM)
    with asking:
        if asking.family == socket.AF_INET6:
            level, error, hops = socket.IPPROTO_IPV6, LINUX_IPV6_RECVERR, socket.IPV6_UNICAST_HOPS
        else:
            level, error, hops = socket.IPPROTO_IP, LINUX_IP_RECVERR, socket.IP_TTL
        asking.setsockopt(level, error, 1)
        if ttl is not None:
            asking.setsockopt(level, hops, ttl)
        if source:
            asking.bind((source, 0))
        yield asking
