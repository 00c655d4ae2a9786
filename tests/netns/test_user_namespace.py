"""In a user namespace, where root may not have buffers of any size."""

import json
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from vipctl import methods
from vipctl.linux import netlink
from vipctl.reconcile.acceptance import acceptances, prefixes
from vipctl.state.store import Store

METHODS = ("fwmark", "route", "tproxy")
MANY = 20_000  # more than go into one message
# Its arguments are the words of each command, separated by lines.
SCRIPT = """
ip link set lo up
while read -r words; do
    "$@" $words || exit
done
"""


def inside(vipctl: Vipctl, *commands: str) -> list[dict[str, Any]]:
    """Run commands as root of a user namespace, on a host without anything; all must succeed."""
    argv = ["unshare", "-Urn", "sh", "-c", SCRIPT, "sh", *vipctl.argv, "--json"]
    done = subprocess.run(
        argv, input="\n".join(commands) + "\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def ranges(path: Path, name: str, *, step: int) -> str:
    """Of every STEP-th address."""
    file = path / name
    numbers = range(0, MANY * step, step)
    file.write_text("".join(f"198.{18 + n // 65536}.{n // 256 % 256}.{n % 256}\n" for n in numbers))
    return f"@{file}"


@pytest.mark.parametrize("method", METHODS)
def test_twenty_thousand_vips(vipctl: Vipctl, tmp_path: Path, method: str) -> None:
    """As large a change as may come, there and back."""
    options = f"--method {method}" + (" --to-port 8080" if method == "tproxy" else "")
    every, third = (ranges(tmp_path, f"every-{step}", step=step) for step in (2, 3))
    done = inside(
        vipctl,
        f"add-range {every} --service web {options}",
        f"add-range {third} 2001:db8:1::/64 --service web",
        "status",
        f"remove-range {every}",
        "set-service web --fwmark 17",
        "restore",
        "status",
        "remove-service web",
    )
    assert [found.get("changed") for found in done] == [
        *(True, True, False, True, True, False, False, True)
    ]
    assert [done[at]["kernel"] for at in (2, 6)] == ["as stored"] * 2


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers as large as Debian allows to everybody (net.core.wmem_max)."""

    def make_room(link: socket.socket, forced: int, option: int, size: int) -> None:
        link.setsockopt(socket.SOL_SOCKET, option, min(size, 212_992))

    monkeypatch.setattr(netlink, "_make_room", make_room)


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("method", ["fwmark", "route"])
def test_more_than_the_buffer_takes(vipctl: Vipctl, tmp_path: Path, method: str) -> None:
    every, third = (ranges(tmp_path, f"every-{step}", step=step) for step in (2, 3))
    for words in (
        ["add-range", every, "--service", "web", "--method", method],
        ["add-range", third, "2001:db8:1::/64", "--service", "web"],
        ["set-service", "web", "--fwmark", "17"],
        ["remove-range", every],
    ):
        assert vipctl(*words)["changed"] is True
        assert vipctl("status")["kernel"] == "as stored"
        with vipctl.host:
            assert not drifted(vipctl)
    assert vipctl("remove-service", "web")["changed"] is True


def drifted(vipctl: Vipctl) -> bool:
    """Whether any prefix differs: what vipctl noted of the kernel is not believed."""
    with Store.read(vipctl.state_dir) as store:
        wanted = acceptances(store)
        return not all(
            methods.get(name).holds(found, prefixes(store, name, found), "none")
            for name, found in wanted.items()
        )


def test_a_socket_says_how_much_it_takes(net: Lab) -> None:
    """Of root as much as it asks for."""
    with net.director, netlink.connect(size=100 << 20) as link:
        assert netlink.room(link) > 100 << 20
