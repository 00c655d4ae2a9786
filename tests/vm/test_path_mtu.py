"""A router's "fragmentation needed" is addressed to the VIP, and has to reach the real server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.lab import Lab, family
from tests.harness.netns import Namespace
from tests.vm.conftest import traceless
from tests.vm.observe import is_ipv6

NARROW = 1280  # bytes that pass the last link of the way to the client
HEADERS = {4: 40, 6: 60}  # IP and TCP without options
SIZE = 300_000
PORT = 8080
VIPS = ("203.0.113.7", "2001:db8:1::7")


@contextmanager
def _far_client(net: Lab) -> Iterator[Namespace]:
    """A host behind the client, which routes for it over a link that is narrower than it says.

    far --- (1280 bytes) --- client --- director
    """
    far = Namespace.create("far")
    routes = ("10.9.0.0/24 via 10.0.0.2", "fd00:9::/64 via fd00::2")
    try:
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            net.client.sysctl(key, 1)
        net.client.ip(
            f"link add far mtu {NARROW} up type veth peer name eth0 netns {far.name}",
            "addr add 10.9.0.1/24 dev far",
            "addr add fd00:9::1/64 dev far nodad",
        )
        far.ip(
            "link set eth0 up",
            "addr add 10.9.0.2/24 dev eth0",
            "addr add fd00:9::2/64 dev eth0 nodad",
            "route add default via 10.9.0.1",
            "route add ::/0 via fd00:9::1",
        )
        net.director.ip(*(f"route add {route}" for route in routes))
        yield far
    finally:
        net.director.ip(*(f"route del {route}" for route in routes))
        far.close()


class _Download:
    """A server of one client: sends SIZE bytes, then notes how large its segments have become."""

    def __init__(self, ns: Namespace, bind: str) -> None:
        with ns:
            self.socket = socket.create_server((bind, PORT), family=family(bind))
        self.segment = 0
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self.socket, self.socket.accept()[0] as connection:
            connection.sendall(b"x" * SIZE)
            connection.recv(1)  # the client has it all
            self.segment = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)

    def fetched_by(self, client: Namespace, vip: str) -> int:
        """Download as a client; return the number of bytes."""
        with client:
            connection = socket.socket(family(vip), socket.SOCK_STREAM)
        with connection:
            connection.settimeout(10)
            connection.connect((vip, PORT))
            got = 0
            while got < SIZE and (data := connection.recv(65536)):
                got += len(data)
            connection.sendall(b"x")
            self.thread.join(10)
            return got


def _assert_segments_shrink(net: Lab, far: Namespace, vip: str) -> None:
    server = _Download(net.reals[0], "::" if is_ipv6(vip) else "0.0.0.0")
    assert server.fetched_by(far, vip) == SIZE
    assert server.segment <= NARROW - HEADERS[6 if is_ipv6(vip) else 4]


@pytest.mark.parametrize("forward", ["nat", "dr"])
def test_need_frag_reaches_the_real_server(
    request: pytest.FixtureRequest, forward: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    net: Lab = request.getfixturevalue("net" if forward == "nat" else "direct")
    state_dir = tmp_path_factory.mktemp("mtu")
    with traceless(net.director, state_dir) as vipctl, _far_client(net) as far:
        reals = ["--real=10.0.1.11", "--real=fd00:1::11", f"--forward={forward}"]
        vipctl("add-range", *VIPS, "--service=web", *reals)
        for vip in VIPS:
            _assert_segments_shrink(net, far, vip)
