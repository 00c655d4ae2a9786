"""FTP where nobody translates what it says: its passive ports are a range of the service."""

from collections.abc import Iterator
from contextlib import suppress
from ftplib import Error
from pathlib import Path

import pytest

from tests.harness import ftp, module
from tests.harness.command import Vipctl
from tests.harness.ftp import FtpServer
from tests.harness.lab import Lab
from tests.vm.conftest import traceless
from tests.vm.observe import SHORT

VIPS = "203.0.113.7", "2001:db8:1::7"
RANGES = "203.0.113.0/24", "2001:db8:1::/64"
REALS = ["--real=10.0.1.11", "--real=10.0.1.12", "--real=fd00:1::11", "--real=fd00:1::12"]
PORT = 2121  # which ip_vs_ftp does not look at
PASSIVE = range(10000, 10101)


class Ranged(FtpServer):
    """Its passive ports are few."""

    passive = PASSIVE


@pytest.fixture(scope="module")
def served(net: Lab) -> Iterator[Lab]:
    """Real servers that speak FTP."""
    servers = [
        Ranged(real, bind, PORT, f"real{number}")
        for number, real in enumerate(net.reals, 1)
        for bind in ("0.0.0.0", "::")
    ]
    with module.loaded():
        yield net
    for server in servers:
        server.close()


def downloads(net: Lab, times: int = 4) -> set[bool]:
    """Whether the file comes, by each IP version."""
    return {_downloaded(net, vip) for vip in VIPS for _ in range(times)}


def _downloaded(net: Lab, vip: str) -> bool:
    with suppress(OSError, EOFError, Error):
        return ftp.download(net.client, vip, "EPSV", SHORT, PORT) == ftp.FILE
    return False


@pytest.mark.parametrize("method", ["fwmark", "shim", "fwmark-iptables", "route"])
def test_passive_ports_are_a_range_and_clients_stay(
    served: Lab, tmp_path: Path, method: str
) -> None:
    """Persistence is what brings the data's connection to the server that waits for it."""
    with traceless(served.director, tmp_path) as vipctl:
        ports = [f"--port=tcp/{PORT}", f"--port=tcp/{PASSIVE[0]}-{PASSIVE[-1]}"]
        words = [*RANGES, "--service=ftp", *REALS, *ports, "--scheduler=rr", "--set-sysctls"]
        vipctl("add-range", *words, f"--method={method}", "--persistence=60")
        assert downloads(served) == {True}
        if method == "fwmark":
            without_persistence_it_fails(served, vipctl)


def without_persistence_it_fails(net: Lab, vipctl: Vipctl) -> None:
    """The other server listens for nobody; so does a service without these ports."""
    vipctl("set-service", "ftp", "--port", f"tcp/{PORT}")
    assert downloads(net, 1) == {False}
    vipctl("set-service", "ftp", "--port", f"tcp/{PORT}", "--port", "tcp/10000-10100",
           "--persistence", "0")  # fmt: skip
    assert False in downloads(net)
