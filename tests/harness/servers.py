"""HTTP and UDP servers on a host, as threads of this process: nothing to wait for."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from tests.harness.lab import family
from tests.harness.netns import Namespace
from tests.harness.traffic import content_length, describe, read_head

LINUX_IP_PKTINFO = 8  # linux/in.h; the socket module names it from Python 3.12 on
LINUX_IP_FREEBIND = 15
LINUX_IPV6_FREEBIND = 78  # linux/in6.h


class _Server:
    """A socket on a host and a thread that serves it, until closed or until the host goes."""

    def __init__(self, ns: Namespace, kind: socket.SocketKind, bind: str, port: int) -> None:
        self.ns = ns
        with ns:
            self.socket = socket.socket(family(bind), kind)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.socket.family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind((bind, port))
        ns.at_close(self.close)

    def _start(self, serve: Callable[[], None]) -> None:
        threading.Thread(target=serve, daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        _shut(self.socket)
        self.socket.close()


def _shut(handle: socket.socket) -> None:
    """Wake the thread that waits for this socket."""
    with suppress(OSError):
        handle.shutdown(socket.SHUT_RDWR)


class TcpServer(_Server):
    """An HTTP server: says its name, the peer and what it got in the body of a GET or POST."""

    def __init__(self, ns: Namespace, bind: str, port: int, name: str) -> None:
        super().__init__(ns, socket.SOCK_STREAM, bind, port)
        self.name = name
        self.connections: set[socket.socket] = set()
        self.socket.listen(1024)
        self._start(self._accept)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, peer = self.socket.accept()
                self.connections.add(connection)
                self._start(partial(self._converse, connection, peer[0]))

    def _converse(self, connection: socket.socket, peer: str) -> None:
        with suppress(OSError), connection, connection.makefile("rwb") as stream:
            while head := read_head(stream.readline):
                body = stream.read(content_length(head))
                text = describe(self.name, peer, body)
                stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
                stream.flush()
        self.connections.discard(connection)

    def close(self) -> None:
        """Stop serving and end the connections, as if the server's process had died."""
        super().close()
        for connection in list(self.connections):
            _shut(connection)


class ScriptedServer(_Server):
    """A TCP server that does with each connection what a function says."""

    def __init__(
        self, ns: Namespace, bind: str, port: int, script: Callable[[socket.socket], None]
    ) -> None:
        super().__init__(ns, socket.SOCK_STREAM, bind, port)
        self.script = script
        self.connections: list[socket.socket] = []
        self.socket.listen(1024)
        self._start(self._accept)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.connections.append(connection)
                self._start(partial(self._converse, connection))

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            self.script(connection)

    def close(self) -> None:
        """Stop serving and end the connections."""
        super().close()
        for connection in self.connections:
            _shut(connection)


class ScriptedUdpServer(_Server):
    """A UDP server that answers what a function makes of a datagram; nothing, if that is None."""

    def __init__(
        self, ns: Namespace, bind: str, port: int, script: Callable[[bytes], bytes | None]
    ) -> None:
        super().__init__(ns, socket.SOCK_DGRAM, bind, port)
        self.script = script
        self._start(self._answer)

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                body, peer = self.socket.recvfrom(65535)
                if not peer:
                    return
                if (answer := self.script(body)) is not None:
                    self.socket.sendto(answer, peer)


class UdpServer(_Server):
    """A UDP server that answers from the address the datagram was sent to."""

    def __init__(self, ns: Namespace, bind: str, port: int, name: str) -> None:
        super().__init__(ns, socket.SOCK_DGRAM, bind, port)
        self.name = name
        if self.socket.family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self.socket.setsockopt(socket.IPPROTO_IPV6, LINUX_IPV6_FREEBIND, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, LINUX_IP_PKTINFO, 1)
            self.socket.setsockopt(socket.IPPROTO_IP, LINUX_IP_FREEBIND, 1)
        self._start(self._answer)

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                body, ancillary, _, peer = self.socket.recvmsg(65535, 256)
                if not (body or ancillary):
                    return
                source = [_answer_from(*item) for item in ancillary]
                with suppress(OSError):
                    self.socket.sendmsg([describe(self.name, peer[0], body)], source, 0, peer)


def _answer_from(level: int, kind: int, data: bytes) -> tuple[int, int, bytes]:
    """Turn the packet information of a request into that of its answer."""
    if level == socket.IPPROTO_IPV6:
        return level, kind, struct.pack("16si", data[:16], 0)
    return level, kind, struct.pack("i4s4x", 0, data[8:12])
