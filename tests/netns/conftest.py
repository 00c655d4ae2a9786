"""A director of one's own for every test: building one takes less time than cleaning one up."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.servers import TcpServer, UdpServer
from tests.netns import haproxy, snapshot
from tests.netns.route import BeforeIpvs
from tests.netns.zygote import Zygote, striking

if TYPE_CHECKING:
    from tests.netns.drift import Drift

# What they assert is explained as a test's own assertions are.
pytest.register_assert_rewrite(
    *(f"tests.netns.{name}" for name in ("arrivals", "drift", "examining", "rollback"))
)


@contextmanager
def _settled_lab() -> Iterator[Lab]:
    with lab(reals=0) as built:
        snapshot.settle(built.director)
        yield built


@pytest.fixture
def net() -> Iterator[Lab]:
    """A client and a director; nothing here balances, so there are no real servers."""
    with _settled_lab() as built:
        yield built


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    """The same for all tests of a module: each leaves it whole."""
    with _settled_lab() as built:
        yield built


@pytest.fixture(scope="module")
def drift(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Drift"]:
    """A director by a method, its parameter; each test leaves it whole."""
    with _settled_lab() as built:
        yield request.param.director(built, tmp_path_factory.mktemp("drift") / "state")


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """For all tests of a module, a director with haproxy, in front of two real servers."""
    with haproxy.balanced_lab(tmp_path_factory.mktemp("haproxy")) as built:
        yield built


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return Vipctl(net.director, tmp_path / "state")


@pytest.fixture
def listeners(net: Lab) -> Iterator[None]:
    """Sockets of the director's own, bound to no address: TCP 22, UDP 53, 9999 of both."""
    servers = [
        kind(net.director, bind, port, "director")
        for kind, port in ((TcpServer, 22), (UdpServer, 53), (TcpServer, 9999), (UdpServer, 9999))
        for bind in ("0.0.0.0", "::")
    ]
    yield
    for server in servers:
        server.close()


@pytest.fixture
def before_ipvs(net: Lab) -> BeforeIpvs:
    """The counter of the `route` method; it goes when the director does."""
    return BeforeIpvs(net.director)


@pytest.fixture(scope="module")
def without_buffers() -> Iterator[Zygote]:
    """Where the kernel has no buffer for one message."""
    with Zygote(striking(("sendto", "sendmsg"), "error=ENOBUFS")) as zygote:
        yield zygote
