"""`vipctl watch --alive` beside IPVS: its device follows health checks, and the connection sync."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import execute
from tests.harness.servers import TcpServer
from tests.harness.waiting import wait_until
from vipctl.state import verdicts

PORT, PATIENCE = 8080, 120.0  # seconds: a guest takes ten of them to start Python
CHECK = "tcp,every=1s,timeout=1s,fall=2,rise=2"
WEB = ("add-range", "203.0.113.7", "--service=web", f"--port=tcp/{PORT}", f"--check={CHECK}")
DOWN = "vipctl0 is down: no service has a real server left"
UP = "vipctl0 is up: this director is fit"


@contextmanager
def watching(vipctl: Vipctl, log: Path) -> Iterator[None]:
    execute(["modprobe", "tun"])
    words = ("watch", "--alive", "vipctl0")
    argv = ["ip", "netns", "exec", vipctl.host.name, *vipctl.argv, *words]
    with log.open("w") as stderr, subprocess.Popen(argv, stderr=stderr) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)
    Path(verdicts.path(vipctl.state_dir)).unlink(missing_ok=True)


def wait_for(log: Path, *lines: str) -> None:
    """Until this, and no more, is said of the device."""
    expected = [f"vipctl: {line}" for line in lines]

    def said() -> list[str]:
        lines = log.read_text().splitlines()
        return [line for line in lines if "vipctl0" in line and " stays down: " not in line]

    try:
        wait_until(lambda: said() == expected, f"it says {expected}", PATIENCE)
    except TimeoutError as e:
        raise AssertionError(log.read_text()) from e


def test_a_director_without_real_servers_is_not_to_be_chosen(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    vipctl(*WEB, f"--real=10.0.1.11:{PORT}")
    log = tmp_path / "log"
    server = TcpServer(net.reals[0], "0.0.0.0", PORT, "real1")
    with watching(vipctl, log):
        wait_for(log, UP)
        server.close()
        wait_for(log, UP, DOWN)
        server = TcpServer(net.reals[0], "0.0.0.0", PORT, "real1")
        wait_for(log, UP, DOWN, UP)
    server.close()


def test_a_director_that_synchronises_connections_comes_later(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    vipctl("add-range", "203.0.113.7", "--fwmark", "17")
    vipctl("set-sync", "--interface", "lo", "--id", "7")
    log = tmp_path / "log"
    with watching(vipctl, log):
        wait_for(log, UP)
        taken = "connections of other directors are not taken"
        assert taken not in vipctl("status")["watch"]["alive"]["why"]
    vipctl("remove-sync")
