"""Options of services and of real servers, where balanced traffic shows them."""

import socket
import struct
from contextlib import ExitStack

from tests.conformance.cell import IPVS, PROXY, Cell
from tests.conformance.checks import YES, Check
from tests.conformance.checks.traffic import balanced
from tests.conformance.expectations import patience
from tests.conformance.observe import word, worst
from tests.conformance.plan import DIRECTOR
from tests.conformance.site import UNSERVED, Site, vip
from tests.harness.lab import CLIENT_SOURCES_4, CLIENT_SOURCES_6, family
from tests.harness.traffic import Connection, Reply, tcp_get, udp_ask

DATAGRAMS = 6
SOURCES = {4: CLIENT_SOURCES_4, 6: CLIENT_SOURCES_6}
RESET = struct.pack("ii", 1, 0)  # struct linger: no FIN, and IPVS forgets the connection soon


def _range_of_ports(site: Site, cell: Cell) -> str:
    target, limit = vip(site, cell, "range"), patience(cell)
    beyond = word(tcp_get(site.client, target, UNSERVED, timeout=limit))
    return worst(
        word(tcp_get(site.client, target, 80, timeout=limit)),
        word(udp_ask(site.client, target, 80, timeout=limit)),
        YES if beyond == "refused" else f"one beyond it: {beyond}",
    )


def _one_packet(site: Site, cell: Cell) -> str:
    """Datagrams of one port, which would stay on one server otherwise."""
    target = vip(site, cell, "ops")
    with site.client, socket.socket(family(target), socket.SOCK_DGRAM) as asking:
        asking.settimeout(patience(cell))
        asking.connect((target, 80))
        servers = [_server(asking) for _ in range(DATAGRAMS)]
    even = {servers.count(server) for server in ("real1", "real2")} == {DATAGRAMS // 2}
    return YES if even else " ".join(servers)


def _server(asking: socket.socket) -> str:
    asking.send(b"who")
    return asking.recv(1000).split()[0].decode()


def _sticky(site: Site, cell: Cell) -> str:
    """The client's addresses share a network, which the far host is not in."""
    target, limit = vip(site, cell, "sticky"), patience(cell)
    sources = SOURCES[cell.version][:3]
    near = [tcp_get(site.client, target, 80, source, limit) for source in sources]
    beyond = tcp_get(site.far, target, 80, timeout=limit)
    near += [tcp_get(site.client, target, 80, source, limit) for source in sources]
    seen = worst(*map(word, [*near, beyond]))
    if seen != YES:
        return seen
    together = len({reply.server for reply in near}) == 1
    return YES if together and beyond.server != near[0].server else "not by networks"


def _full(site: Site, cell: Cell) -> str:
    """Two servers that take one connection each, and a third client."""
    target, limit = vip(site, cell, "full"), patience(cell)
    with ExitStack() as stack:
        held = [stack.enter_context(Connection(site.client, target, 80, None, limit))]
        held.append(stack.enter_context(Connection(site.client, target, 80, None, limit)))
        replies = [connection.ask() for connection in held]
        third = word(tcp_get(site.client, target, 80, timeout=limit))
        for connection in held:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    if {reply.server for reply in replies} != {"real1", "real2"}:
        return "one has taken two"
    return YES if third == "refused" else f"one more is {third}"


def _source_nat(site: Site, cell: Cell) -> str:
    """A client beyond the director, and one that is a real server itself."""
    target, limit = vip(site, cell, "snat"), patience(cell)
    replies = [
        ask(host, target, 80, timeout=limit)
        for ask in (tcp_get, udp_ask)
        for host in (site.client, site.reals[0], site.reals[0])
    ]
    return worst(*(_translated(reply, cell) for reply in replies))


def _translated(reply: Reply, cell: Cell) -> str:
    seen = word(reply)
    return f"seen as {reply.peer}" if seen == YES and reply.peer != DIRECTOR[cell.version] else seen


def _mixed(site: Site, cell: Cell) -> str:
    return _by_both(site, cell, "mixed")


def _gue(site: Site, cell: Cell) -> str:
    return _by_both(site, cell, "gue")


def _across(site: Site, cell: Cell) -> str:
    return _by_both(site, cell, "across")


def _own(site: Site, cell: Cell) -> str:
    """A client beyond the director, and one of the network of real servers."""
    target, limit = vip(site, cell, "own"), patience(cell)
    hosts = (site.client, site.reals[0])
    replies = [tcp_get(host, target, 80, timeout=limit) for host in hosts]
    if all(reply.server == "director" for reply in replies):
        return YES
    return worst(*map(word, replies))


def _by_both(site: Site, cell: Cell, kind: str) -> str:
    """TCP and UDP reach both real servers."""
    target, limit = vip(site, cell, kind), patience(cell)
    return worst(
        balanced(cell, lambda: tcp_get(site.client, target, 80, timeout=limit)),
        balanced(cell, lambda: udp_ask(site.client, target, 80, timeout=limit)),
    )


CHECKS = {
    "port-range": Check(
        "a service may name ranges of ports (`--port tcp/70-80`)",
        _range_of_ports,
        kind="range",
        stage="plain",
        forwardings=(*IPVS, PROXY),
    ),
    "ops": Check(
        "datagrams of one client's port are balanced one by one (`--scheduler rr,ops`)",
        _one_packet,
        kind="ops",
        stage="plain",
        forwardings=("dr", "tun"),
    ),
    "persistence": Check(
        "clients of one network stay together (`--persistence 300,mask=24,mask6=64`)",
        _sticky,
        kind="sticky",
        stage="plain",
        forwardings=IPVS,
    ),
    "threshold": Check(
        "full real servers (`--real RIP,upper=N`) get no more connections, the next is refused",
        _full,
        kind="full",
        stage="plain",
        forwardings=IPVS,
    ),
    "source-nat": Check(
        "real servers may be clients, and need no way back to others (`--source-nat auto`)",
        _source_nat,
        kind="snat",
        stage="translated",
        forwardings=("nat",),
    ),
    "mixed": Check(
        "real servers of one service may have different forwarding methods "
        "(`--real RIP,forward=tun`)",
        _mixed,
        kind="mixed",
        stage="plain",
        forwardings=IPVS,
    ),
    "gue": Check(
        "real servers may be behind tunnels of GUE (`--real RIP,tunnel=gue`); GRE is alike",
        _gue,
        kind="gue",
        stage="plain",
        forwardings=("tun",),
    ),
    "across": Check(
        "real servers may be of the other IP version (`--real RIP,family=both`)",
        _across,
        kind="across",
        stage="plain",
        forwardings=("tun",),
    ),
    "own-real": Check(
        "the director may be a real server itself (`--real` with its own address)",
        _own,
        kind="own",
        stage="plain",
        forwardings=("nat",),
    ),
}
