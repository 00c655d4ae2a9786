"""What comes back to a client about VIPs: answers, errors, and packets that loop."""

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from itertools import product

from tests.harness.lab import Lab, family
from tests.harness.netns import Namespace
from tests.netns.addresses import OWN, ROUTER
from tests.netns.packets import need_frag, tcp_ack, transmit, udp
from tests.netns.pings import answering

ETH_P_ALL = 3  # linux/if_ether.h
PORTS = 9, 80


def comes_back(net: Lab, vips: Iterable[str]) -> set[str]:
    """Send packets of every kind to VIPs; return those that any packet back names.

    The director takes the client for its default gateway: what it forwards comes back, too.
    """
    asked = list(vips)
    with listening(net) as wire:
        answering(net, asked)
        for vip, port in product(asked, PORTS):
            version = ip_address(vip).version
            source = net.client4 if version == 4 else net.client6
            forged = need_frag(ROUTER[version], vip), udp(source, vip, port)
            transmit(net.client, net.director, *forged, tcp_ack(source, vip, port))
            connect(net.client, vip, port)
        assert answering(net, OWN) == {*OWN}, "what was sent before has come as far as it goes"
        frames = list(received(wire))
    return {vip for vip in asked if any(ip_address(vip).packed in frame for frame in frames)}


def connect(client: Namespace, vip: str, port: int) -> None:
    """Send a SYN, and do not wait for the answer."""
    with client:
        handle = socket.socket(family(vip), socket.SOCK_STREAM)
    with handle:
        handle.setblocking(False)
        handle.connect_ex((vip, port))


@contextmanager
def listening(net: Lab) -> Iterator[socket.socket]:
    """A socket that gets all that passes the client's interface to the director."""
    ways = f"default via {net.client4}", f"::/0 via {net.client6}"
    net.director.ip(*(f"route add {way}" for way in ways))
    with net.client:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with wire:
        wire.bind(("eth0", ETH_P_ALL))
        yield wire
    net.director.ip(*(f"route del {way}" for way in ways))


def received(wire: socket.socket) -> Iterator[bytes]:
    """Frames that came from others."""
    wire.setblocking(False)
    while True:
        try:
            frame, (_, _, kind, *_) = wire.recvfrom(65535)
        except BlockingIOError:
            return
        if kind != socket.PACKET_OUTGOING:
            yield frame
