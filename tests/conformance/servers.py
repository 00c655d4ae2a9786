"""Servers that say how large their segments are, answer at length, and may stand in for any VIP."""

import socket
import struct
from contextlib import suppress
from ipaddress import ip_address

from tests.harness.netns import Namespace
from tests.harness.servers import LINUX_IP_PKTINFO, TcpServer, UdpServer
from tests.harness.traffic import content_length, describe, read_head

ANY = ("0.0.0.0", "::")
DOWNLOAD = 200_000  # bytes
FRAGMENTED = 4000  # bytes of a datagram: three packets
AT_LENGTH = 4000  # the UDP port that is answered with as many bytes
LINUX_IP_TRANSPARENT = 19  # linux/in.h
LINUX_IP_RECVORIGDSTADDR = 20
LINUX_IPV6_RECVORIGDSTADDR = 74  # linux/in6.h
LINUX_IPV6_TRANSPARENT = 75


class WebServer(TcpServer):
    """An HTTP server: /large is a download, /segment how large its own segments have become."""

    def _converse(self, connection: socket.socket, peer: str) -> None:
        with suppress(OSError), connection, connection.makefile("rwb") as stream:
            while head := read_head(stream.readline):
                body = stream.read(content_length(head))
                text = self._text(head[0].split()[1], connection, peer, body)
                stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
                stream.flush()
        self.connections.discard(connection)

    def _text(self, path: bytes, connection: socket.socket, peer: str, body: bytes) -> bytes:
        if path == b"/large":
            return b"x" * DOWNLOAD
        if path == b"/segment":
            return b"%d" % connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        return describe(self.name, peer, body)


class NotingServer(UdpServer):
    """An ordinary UDP server that remembers where its datagrams were sent to, and is silent."""

    def __init__(self, ns: Namespace, bind: str, port: int, name: str) -> None:
        self.ns = ns
        self.reached: set[str] = set()
        super().__init__(ns, bind, port, name)
        if self.socket.family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, LINUX_IPV6_RECVORIGDSTADDR, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, LINUX_IP_RECVORIGDSTADDR, 1)

    def _answer(self) -> None:
        with suppress(OSError):
            while True:
                body, ancillary, _, peer = self.socket.recvmsg(65535, 256)
                if not (body or ancillary):
                    return
                for _, kind, data in ancillary:
                    if kind in (LINUX_IP_RECVORIGDSTADDR, LINUX_IPV6_RECVORIGDSTADDR):
                        self._take(_endpoint(data), peer, describe(self.name, peer[0], body))

    def _take(self, asked: tuple[str, int], _peer: tuple[str, int], _text: bytes) -> None:
        self.reached.add(asked[0])


class DatagramServer(NotingServer):
    """A UDP server that answers from the address and port that the client asked."""

    def _take(self, asked: tuple[str, int], peer: tuple[str, int], text: bytes) -> None:
        long = text.ljust(FRAGMENTED if asked[1] == AT_LENGTH else 0)
        with suppress(OSError):
            if asked[1] == self.socket.getsockname()[1]:
                self.socket.sendmsg([long], [_sent_from(asked[0])], 0, peer)
            else:
                self._stand_in_for(asked, peer, long)

    def _stand_in_for(self, asked: tuple[str, int], peer: tuple[str, int], text: bytes) -> None:
        """Another port's answer needs a socket; where one is bound, requests may meet it."""
        with self.ns, socket.socket(self.socket.family, socket.SOCK_DGRAM) as replying:
            replying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            stand_in(replying)
            replying.bind(asked)
            replying.sendto(text, peer)


def _sent_from(source: str) -> tuple[int, int, bytes]:
    """Return the control message that makes an address the source of a datagram."""
    packed = ip_address(source).packed
    if len(packed) == 4:
        return socket.IPPROTO_IP, LINUX_IP_PKTINFO, struct.pack("i4s4x", 0, packed)
    return socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("16si", packed, 0)


def stand_in(handle: socket.socket) -> None:
    """Let a socket take and send what is for addresses of others."""
    if handle.family == socket.AF_INET6:
        handle.setsockopt(socket.IPPROTO_IPV6, LINUX_IPV6_TRANSPARENT, 1)
    else:
        handle.setsockopt(socket.IPPROTO_IP, LINUX_IP_TRANSPARENT, 1)


def _endpoint(data: bytes) -> tuple[str, int]:
    """Read a struct sockaddr_in or sockaddr_in6."""
    (port,) = struct.unpack_from("!H", data, 2)
    packed = data[4:8] if len(data) < 24 else data[8:24]
    return str(ip_address(packed)), port


class Listeners:
    """A web and a datagram server on both IP versions, on some ports of a host."""

    def __init__(
        self, host: Namespace, name: str, tcp: tuple[int, ...], udp: tuple[int, ...]
    ) -> None:
        self.servers: list[TcpServer | UdpServer] = []
        for bind in ANY:
            self.servers += [WebServer(host, bind, port, name) for port in tcp]
            self.servers += [DatagramServer(host, bind, port, name) for port in udp]
        for server in self.servers:
            stand_in(server.socket)

    def close(self) -> None:
        """Stop all of them."""
        for server in self.servers:
            server.close()
