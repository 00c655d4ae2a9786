"""Method tproxy: what is under way goes on, and learns how large its packets may be."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import Connection, content_length, read_head
from tests.harness.waiting import wait_until
from tests.netns import haproxy
from tests.netns.addresses import RANGES, VIPS
from tests.netns.haproxy import ALSO_KEEPING, DOWNLOAD, KEEPING, PLAIN

NARROW = 1280  # bytes that pass the last link of the way to the client
FAR = ("10.9.0.2", "fd00:9::2")
HEADERS = {False: 40, True: 60}  # IP and TCP without options; of IPv6


@pytest.fixture
def vipctl(balanced: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """vipctl on the director, with a service; it goes afterwards."""
    with haproxy.cleared(balanced.director, tmp_path) as command:
        _add(command, "web", *RANGES)
        yield command


def _add(vipctl: Vipctl, name: str, *ranges: str) -> None:
    vipctl("add-range", *ranges, "--service", name, "--method=tproxy", f"--to-port={PLAIN}")


def _download(connection: Connection) -> int:
    """Return how many bytes came."""
    connection.socket.sendall(f"GET /large HTTP/1.1\r\nHost: {connection.host}\r\n\r\n".encode())
    return len(connection.stream.read(content_length(read_head(connection.stream.readline))))


class _Downloading:
    """A client that downloads again and again on one connection."""

    def __init__(self, client: Namespace, vip: str) -> None:
        self.connection = Connection(client, vip, 80)
        self.finished, self.wrong = 0, ""
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._go_on, daemon=True)
        self.thread.start()

    def _go_on(self) -> None:
        try:
            while not self.ends.is_set():
                assert _download(self.connection) == DOWNLOAD
                self.finished += 1
        except (OSError, AssertionError) as error:
            self.wrong = repr(error)

    def has_done(self, downloads: int) -> bool:
        """Tell whether so many are finished, or one was wrong."""
        return bool(self.wrong) or self.finished >= downloads

    def close(self) -> None:
        """End after the present download."""
        self.ends.set()
        self.thread.join(10)
        self.connection.close()


@contextmanager
def _downloads(balanced: Lab) -> Iterator[list[_Downloading]]:
    clients = [_Downloading(balanced.client, vip) for vip in VIPS]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def _assert_go_on(clients: list[_Downloading]) -> None:
    """Wait until each has begun and finished one more; nothing was wrong."""
    for client in clients:
        enough = client.finished + 2
        wait_until(partial(client.has_done, enough), "a download ends")
        assert not client.wrong


def test_downloads_survive_changes(balanced: Lab, vipctl: Vipctl) -> None:
    """Of ranges, of services, and of where the proxy listens."""
    with _downloads(balanced) as clients:
        vipctl("add-range", "198.51.100.7", "2001:db8:2::/48", "--service", "web")
        _assert_go_on(clients)
        vipctl("remove-range", "198.51.100.7", "2001:db8:2::/48")
        _add(vipctl, "another", "198.51.100.0/25", "2001:db8:3::1")
        _assert_go_on(clients)
        vipctl("set-service", "web", f"--to-port={KEEPING}")
        vipctl("remove-service", "another")
        _assert_go_on(clients)


def test_connections_stay_where_they_are(balanced: Lab, vipctl: Vipctl) -> None:
    """The servers see the director's address on the first, the client's on the second."""
    for vip, own in zip(VIPS, ("10.0.1.1", "fd00:1::1"), strict=True):
        vipctl("set-service", "web", f"--to-port={PLAIN}")
        with Connection(balanced.client, vip, 80) as connection:
            assert haproxy.understand(connection.ask()).peer == own
            vipctl("set-service", "web", f"--to-port={KEEPING}")
            assert haproxy.understand(connection.ask()).peer == own
            assert haproxy.ask(balanced.client, vip).peer in (balanced.client4, balanced.client6)


@contextmanager
def _behind(balanced: Lab, router: Namespace, *nexthops: str) -> Iterator[Namespace]:
    """Build a host behind another, over a link that is narrower than it says."""
    far = Namespace.create("far")
    try:
        for key in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            router.sysctl(key, 1)
        router.ip(
            f"link add far mtu {NARROW} up type veth peer name eth0 netns {far.name}",
            "addr add 10.9.0.1/24 dev far",
            "addr add fd00:9::1/64 dev far nodad",
        )
        far.ip(
            *("link set eth0 up", f"addr add {FAR[0]}/24 dev eth0"),
            *(f"addr add {FAR[1]}/64 dev eth0 nodad", "route add default via 10.9.0.1"),
            "route add ::/0 via fd00:9::1",
        )
        networks = zip(("10.9.0.0/24", "fd00:9::/64"), nexthops, strict=True)
        balanced.director.ip(*(f"route replace {network} via {hop}" for network, hop in networks))
        yield far
    finally:
        far.close()


def _segment(director: Namespace, *which: str) -> int:
    """Return how large the segments of the only such connection are."""
    found = director.run(["ss", "-Htin", "state", "established", *which]).stdout
    (size,) = re.findall(r"\bmss:(\d+)", found)
    return int(size)


def test_need_frag_reaches_the_proxy(balanced: Lab, vipctl: Vipctl) -> None:
    """A router's error about what a client gets is addressed to the VIP."""
    vipctl("set-service", "web", "--port=tcp/80")
    with _behind(balanced, balanced.client, "10.0.0.2", "fd00::2") as far:
        for vip in VIPS:
            with Connection(far, vip, 80) as connection:
                assert _download(connection) == DOWNLOAD
                largest = NARROW - HEADERS[":" in vip]
                assert _segment(balanced.director, "src", f"[{vip}]") <= largest


def test_need_frag_of_a_kept_address_reaches_the_proxy(
    balanced: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    """A router's error about what a server gets is addressed to the client."""
    vipctl("set-service", "web", f"--to-port={ALSO_KEEPING}")
    sections = [haproxy.listen(ALSO_KEEPING, (server,)) for server in FAR]
    with (
        _behind(balanced, balanced.reals[0], balanced.real4(0), balanced.real6(0)) as far,
        haproxy.running(balanced.director, tmp_path, *sections),
    ):
        for vip, server, bind in zip(VIPS, FAR, haproxy.ANY, strict=True):
            haproxy.ToldServer(far, bind, haproxy.SERVED, "far")
            with Connection(balanced.client, vip, 80) as connection:
                assert haproxy.understand(connection.ask(b"x" * DOWNLOAD)).server == "far"
                largest = NARROW - HEADERS[":" in vip]
                assert _segment(balanced.director, "dst", f"[{server}]") <= largest
