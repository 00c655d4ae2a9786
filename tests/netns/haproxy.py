"""haproxy on a director, in front of web servers that say what it tells them of clients."""

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer
from tests.harness.traffic import Reply, content_length, describe, read_head, tcp_get
from tests.harness.waiting import wait_until
from tests.netns import snapshot

PLAIN, KEEPING, ALSO_KEEPING = 8080, 8081, 8082  # KEEPING: the servers see the client's address
SERVED = 80  # the servers' port
DOWNLOAD = 300_000  # bytes of /large
LISTENING = "0A"  # TCP_LISTEN of /proc/net/tcp
LIMIT = 10.0

DEFAULTS = """
global
    nbthread 1
    maxconn 200
defaults
    mode http
    timeout connect 3s
    timeout client 20s
    timeout server 20s
    http-reuse never
"""
LISTEN = """
listen {name}
    bind {name} {only}transparent
    http-request set-header X-Client %[src]
    http-request set-header X-Vip %[dst]:%[dst_port]
    balance roundrobin
"""
ANY = ("0.0.0.0", "::")


class Seen(NamedTuple):
    """Which server answered, whom haproxy saw asking for what, whom the server saw asking."""

    server: str
    client: str
    vip: str
    peer: str


class ToldServer(TcpServer):
    """A web server that adds what haproxy told it to its name; /large is a download."""

    def _converse(self, connection: socket.socket, peer: str) -> None:
        with suppress(OSError), connection, connection.makefile("rwb") as stream:
            while head := read_head(stream.readline):
                text = self._text(head, peer, stream.read(content_length(head)))
                stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
                stream.flush()
        self.connections.discard(connection)

    def _text(self, head: list[bytes], peer: str, body: bytes) -> bytes:
        if head[0].split()[1] == b"/large":
            return b"x" * DOWNLOAD
        told = [_header(head, name) for name in ("x-client", "x-vip")]
        return describe("|".join((self.name, *told)), peer, body)


def _header(head: list[bytes], wanted: str) -> str:
    for line in head:
        name, _, value = line.decode().partition(":")
        if name.lower() == wanted:
            return value.strip()
    return ""


def ask(client: Namespace, vip: str, port: int = 80, source: str | None = None) -> Seen:
    """Send a request that must be answered."""
    return understand(tcp_get(client, vip, port, source))


def understand(reply: Reply) -> Seen:
    """Read what a `ToldServer` said."""
    assert reply.answered, reply
    server, client, vip = reply.server.split("|")
    return Seen(server, client, vip, reply.peer)


def told_servers(net: Lab, port: int = SERVED) -> None:
    """Start a web server for each IP version on each real server."""
    for number, real in enumerate(net.reals, 1):
        for bind in ANY:
            ToldServer(real, bind, port, f"real{number}")


@contextmanager
def balanced_lab(directory: Path) -> Iterator[Lab]:
    """Build a director with haproxy, in front of two real servers."""
    with lab() as net:
        each = [tuple(map(server, range(2))) for server in (net.real4, net.real6)]
        sections = [listen(port, servers) for port in (PLAIN, KEEPING) for servers in each]
        snapshot.settle(net.director)
        told_servers(net)
        with running(net.director, directory, *sections):
            yield net


@contextmanager
def cleared(director: Namespace, directory: Path) -> Iterator[Vipctl]:
    """Have vipctl on a director; its services go afterwards."""
    vipctl = Vipctl(director, directory / "state")
    yield vipctl
    for name in vipctl("list-services")["services"]:
        vipctl("remove-service", name)


@contextmanager
def running(host: Namespace, directory: Path, *sections: str) -> Iterator[None]:
    """Run haproxy on a host; stop it afterwards."""
    file, log = directory / "haproxy.cfg", directory / "haproxy.log"
    file.write_text(DEFAULTS + "".join(sections))
    argv = ["ip", "netns", "exec", host.name, "haproxy", "-db", "-f", str(file)]
    with log.open("ab") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output)
    try:
        ports = [int(port) for port in re.findall(r"bind .*:(\d+)", file.read_text())]
        wait_until(partial(_ready, host, process, log, ports), "haproxy listens", LIMIT)
        yield
    finally:
        process.kill()
        process.wait(LIMIT)


def listen(port: int, servers: tuple[str, ...]) -> str:
    """Return a section of haproxy's configuration, for servers of one IP version."""
    bind, host = ("::", "[{}]") if ":" in servers[0] else ("", "{}")
    lines = [LISTEN.format(name=f"{bind}:{port}", only="v6only " if bind else "")]
    if port != PLAIN:
        lines.append("    source 0.0.0.0 usesrc clientip\n")
    for number, address in enumerate(servers, 1):
        lines.append(f"    server real{number} {host.format(address)}:{SERVED}\n")
    return "".join(lines)


def _ready(host: Namespace, process: subprocess.Popen[bytes], log: Path, ports: list[int]) -> bool:
    assert process.poll() is None, log.read_text()
    return all(_listens(host, name, port) for name in ("tcp", "tcp6") for port in ports)


def _listens(host: Namespace, name: str, port: int) -> bool:
    lines = [line.split() for line in host.proc_net(name).splitlines()[1:]]
    return any(line[1].endswith(f":{port:04X}") and line[3] == LISTENING for line in lines)
