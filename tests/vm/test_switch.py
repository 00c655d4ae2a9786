"""A service goes from one method to another: a download goes on, and no datagram is lost."""

import http.client
import json
import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, family
from tests.harness.netns import Namespace
from tests.harness.traffic import read_head
from tests.harness.waiting import wait_until
from tests.netns.test_switch import FILE, FIRST, MOVED, MOVING, RANGES, STAYING, VIPS, Flow
from tests.vm.observe import kernel_state, tcp, unordered

UDP_PORT, HTTP_PORT = 9000, 8080
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
BUFFER = 128 << 20  # bytes: what a test does not read in time must not be lost for that
DRAINED = 5.0  # seconds
# Between hosts packets wait for a kernel thread, which a busy guest may keep from running.
BACKLOG, MANY = Path("/proc/sys/net/core/netdev_max_backlog"), 100_000
DROPPED = re.compile("Err|Discard|Drop|NoRoutes|NoPorts|DestUnreach|Filter|Unknown")
PIECE = bytes(range(256)) * 16
QUICK = ("fwmark", "route")  # ipset and legacy tables take a busy guest a minute or two
PACE = 0.05  # seconds from one piece of a download to the next
# 200 datagrams a second are to a guest what thousands are to a machine: tests/netns has 1,000.
INTERVAL = 0.005  # seconds
REALS = [f"--real={real}" for real in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]


class Receivers:
    """UDP sockets of all real servers; what came is read when somebody asks."""

    def __init__(self, reals: Iterable[Namespace]) -> None:
        self.sockets = [self._open(real, bind) for real in reals for bind in ("0.0.0.0", "::")]
        self.numbers: list[int] = []
        self.closed = threading.Event()
        self.reader = threading.Thread(target=self.keep_reading, daemon=True)
        self.reader.start()

    def read(self) -> int:
        """Return how many packets have come so far."""
        for receiver in self.sockets:
            with suppress(BlockingIOError):
                while True:
                    self.numbers += struct.unpack("!I", receiver.recv(64))
        return len(self.numbers)

    def keep_reading(self) -> None:
        """Read from time to time until closed: buffers have their limits."""
        while not self.closed.wait(DRAINED):
            self.read()

    def close(self) -> None:
        """Close them."""
        self.closed.set()
        self.reader.join()
        for receiver in self.sockets:
            receiver.close()

    @staticmethod
    def _open(real: Namespace, bind: str) -> socket.socket:
        with real:
            receiver = socket.socket(family(bind), socket.SOCK_DGRAM)
        receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        receiver.setblocking(False)
        if receiver.family == socket.AF_INET6:
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        receiver.bind((bind, UDP_PORT))
        return receiver


class Downloads:
    """An HTTP server on every real server, whose answers end when they are told to."""

    def __init__(self, net: Lab) -> None:
        self.client = net.client
        self.finish = threading.Event()
        self.sent: dict[tuple[str, int], int] = {}  # checksums, by client
        self.listeners = [_listener(real, b) for real in net.reals for b in ("0.0.0.0", "::")]
        for listener in self.listeners:
            threading.Thread(target=self._serve, args=[listener], daemon=True).start()

    def begin(self, vip: str) -> "Download":
        """Start one."""
        return Download(self.client, vip)

    def close(self) -> None:
        """Close the listeners."""
        for listener in self.listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, peer = listener.accept()
                answer = partial(self._answer, connection, (peer[0], peer[1]))
                threading.Thread(target=answer, daemon=True).start()

    def _answer(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        checksum, count = 0, 0
        with connection, connection.makefile("rwb") as stream:
            read_head(stream.readline)
            stream.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while not self.finish.wait(PACE):
                piece = count.to_bytes(8, "big") + PIECE
                checksum, count = zlib.crc32(piece, checksum), count + 1
                stream.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                stream.flush()
            self.sent[peer] = checksum
            stream.write(b"0\r\n\r\n")


class Download(threading.Thread):
    """A client that reads an answer to its end."""

    def __init__(self, client: Namespace, vip: str) -> None:
        super().__init__(daemon=True)
        self.connection = http.client.HTTPConnection(vip, HTTP_PORT, timeout=30)
        with client:
            self.connection.connect()
        host, port = self.connection.sock.getsockname()[:2]
        self.name_of_client: tuple[str, int] = host, port
        self.nbytes, self.checksum, self.problem = 0, 0, "it has not ended"
        self.start()

    def has_more_than(self, nbytes: int) -> bool:
        """Tell whether more than so many bytes have come."""
        return self.nbytes > nbytes

    def run(self) -> None:
        """Read; raises nothing, but says what was wrong."""
        try:
            self.connection.request("GET", "/")
            response = self.connection.getresponse()
            while piece := response.read1(1 << 16):
                self.nbytes += len(piece)
                self.checksum = zlib.crc32(piece, self.checksum)
            self.problem = ""
        except (OSError, http.client.HTTPException) as error:
            self.problem = repr(error)
        finally:
            self.connection.close()


def _listener(real: Namespace, bind: str) -> socket.socket:
    with real:
        listener = socket.socket(family(bind), socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.bind((bind, HTTP_PORT))
    listener.listen(16)
    return listener


@contextmanager
def _undisturbed(net: Lab, downloaded: Iterable[str], *vips: str) -> Iterator[None]:
    """Downloads from some VIPs and a flow to all run meanwhile; they are whole in the end."""
    BACKLOG.write_text(f"{MANY}\n")
    with ExitStack() as stack:
        receivers, downloads = Receivers(net.reals), Downloads(net)
        stack.callback(receivers.close)
        stack.callback(downloads.close)
        running = [downloads.begin(vip) for vip in downloaded]
        flow = Flow(net.client, UDP_PORT, vips, INTERVAL)
        try:
            wait_until(lambda: receivers.read() >= FIRST, "datagrams arrive")
            wait_until(lambda: all(d.nbytes for d in running), "the downloads have begun")
            for host in net.hosts:
                _keep_neighbours(host)
            yield
            _go_on(receivers, running)
        finally:
            done = flow.stop()
            downloads.finish.set()
        for download in running:
            download.join(30)
            assert not download.problem
            assert download.checksum == downloads.sent[download.name_of_client]
        with suppress(TimeoutError):
            wait_until(lambda: receivers.read() >= done["sent"], "the last has arrived", 5)
        missing = set(range(int(done["sent"]))).difference(receivers.numbers)
        print(f"{done}, downloaded {[download.nbytes for download in running]}")
        assert not missing, f"{sorted(missing)} of {done}; counted: {_drops(net)}"
        assert len(receivers.numbers) == done["sent"], "none came twice"


def _keep_neighbours(host: Namespace) -> None:
    """A busy guest answers too late for them, and packets are dropped, which is not vipctl's."""
    found = json.loads(host.run(["ip", "-json", "neigh"]).stdout)
    host.ip(
        *(
            f"neigh replace {n['dst']} lladdr {n['lladdr']} dev {n['dev']} nud permanent"
            for n in found
            if "lladdr" in n
        )
    )


def _drops(net: Lab) -> list[str]:
    """What kernels say of packets that they did not want, by host; the first is of all hosts."""
    softnet = [line.split()[1] for line in Path("/proc/net/softnet_stat").read_text().splitlines()]
    found = [f"backlog {' '.join(softnet)} {_unresolved()}"]
    for host in net.hosts:
        words = host.run(["nstat", "-a", "-s"]).stdout.split()
        counters = dict(zip(words[1::3], words[2::3], strict=False))
        named = {n: c for n, c in counters.items() if DROPPED.search(n) and c != "0"}
        found.append(f"{host.name} {named}")
    return found


def _unresolved() -> dict[str, int]:
    """Count what was dropped on all hosts because a neighbour did not answer."""
    found = {}
    for table in ("arp_cache", "ndisc_cache"):
        header, *rows = map(str.split, Path(f"/proc/net/stat/{table}").read_text().splitlines())
        place = header.index("unresolved_discards")
        found[table] = sum(int(row[place], 16) for row in rows)
    return found


def _go_on(receivers: Receivers, running: list[Download]) -> None:
    """Wait until everything has gone on for a while."""
    datagrams, nbytes = receivers.read(), [download.nbytes for download in running]
    wait_until(lambda: receivers.read() >= datagrams + FIRST, "datagrams go on")
    for download, before in zip(running, nbytes, strict=True):
        wait_until(partial(download.has_more_than, before), "the downloads go on")


@pytest.mark.parametrize(("old", "new"), [QUICK, QUICK[::-1]])
def test_a_service_changes_its_method(net: Lab, vipctl: Vipctl, old: str, new: str) -> None:
    """All other pairs: tests/conformance/test_switch.py."""
    change_method(net, vipctl, old, new)


def change_method(net: Lab, vipctl: Vipctl, old: str, new: str) -> None:
    """Have a service change its method while a download and a flow run."""
    web = ["add-range", *RANGES, "--service=web", *REALS, "--scheduler=rr", "--set-sysctls"]
    vipctl(*web, "--method", new)
    as_new = unordered(kernel_state(net.director))
    vipctl("set-service", "web", "--method", old)
    with _undisturbed(net, VIPS, *VIPS):
        vipctl("set-service", "web", "--method", new)
    assert unordered(kernel_state(net.director)) == as_new, f"nothing of {old} is left"
    assert tcp(net.client, VIPS).keys() <= {"real1", "real2"}


def test_apply_swaps_methods_and_moves_prefixes(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """Connections of moved VIPs stay where they are."""
    one, other = QUICK
    file = tmp_path / "file.yaml"
    text = FILE.replace("fwmark-17", "web").replace("fwmark-18", "other")
    text = text.replace("leftover: drop", "reals: [10.0.1.11, 10.0.1.12, fd00:1::11, fd00:1::12]")
    file.write_text(text.format(one, other, *MOVED))
    vipctl("apply", str(file))
    file.write_text(text.format(other, one, *reversed(MOVED)))
    with _undisturbed(net, (STAYING[0], MOVING[-1]), *STAYING, *MOVING):
        assert vipctl("apply", str(file))["changed"] is True
    assert vipctl("restore")["changed"] is False
