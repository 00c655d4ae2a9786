"""Labs that all tests of a guest share, and a vipctl for each test that must leave no trace."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace, execute
from tests.harness.servers import TcpServer, UdpServer
from tests.vm.observe import forget_connections, forget_tracked, kernel_state

OWNED = ("203.0.113.0/24", "2001:db8:1::/64")  # by the real servers of `direct`
SERVICE_PORTS = (80, 53)
OWN_PORTS = (22, 53)  # of a director: sshd, a resolver
TRIES = 30  # seconds
_BUILT: dict[str, str] = {}  # directors as they are without vipctl, by name


def serve(host: Namespace, name: str, ports: tuple[int, ...]) -> None:
    """Have a host answer HTTP and UDP on these ports, both IP versions."""
    for port in ports:
        for bind in ("0.0.0.0", "::"):
            TcpServer(host, bind, port, name)
            UdpServer(host, bind, port, name)


@contextmanager
def served_lab(prepare: Callable[[Namespace], None] = lambda _: None) -> Iterator[Lab]:
    """A lab whose real servers serve; the director's IPVS is as the kernel has it.

    `prepare` makes the director different before it counts as built.
    """
    with lab() as built:
        prepare(built.director)
        for number, real in enumerate(built.reals, 1):
            serve(real, f"real{number}", SERVICE_PORTS)
        serve(built.director, "director", OWN_PORTS)
        execute(["modprobe", "ip_vs"])
        _BUILT[built.director.name] = _settled(built.director)
        yield built


def _settled(host: Namespace) -> str:
    """The state of a kernel that has finished with what it does by itself in a new namespace."""
    last = kernel_state(host)
    for _ in range(TRIES):
        time.sleep(1)
        before, last = last, kernel_state(host)
        if before == last:
            return last
    raise TimeoutError(f"{host.name} does not come to rest")


@contextmanager
def traceless(host: Namespace, state_dir: Path) -> Iterator[Vipctl]:
    """vipctl on a director; in the end all is removed, and the kernel must be as it was built."""
    vipctl = Vipctl(host, state_dir / "state")
    try:
        yield vipctl
    finally:
        for name in vipctl("list-services")["services"]:
            vipctl("remove-service", name)
        forget_connections(host)
        forget_tracked(host)
    built, _BUILT[host.name] = _BUILT[host.name], kernel_state(host)
    assert _BUILT[host.name] == built


@pytest.fixture(scope="session")
def net() -> Iterator[Lab]:
    """Real servers that answer through the director, as nat needs it."""
    with served_lab() as built:
        yield built


@pytest.fixture(scope="session")
def direct() -> Iterator[Lab]:
    """Real servers that own the VIPs of OWNED and answer the client themselves: dr and tun."""
    with served_lab() as built:
        for real in built.reals:
            built.accept_vips(real, *OWNED, tun=True)
        yield built


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """vipctl on the director of `net`."""
    with traceless(net.director, tmp_path) as command:
        yield command


@pytest.fixture
def vipctl_direct(direct: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """vipctl on the director of `direct`."""
    with traceless(direct.director, tmp_path) as command:
        yield command
