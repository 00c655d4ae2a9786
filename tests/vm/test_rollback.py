"""Where the kernel refuses half-way, all is as before: IPVS, packets' way, sysctls, the state."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.vm.conftest import traceless
from tests.vm.observe import kernel_state, tcp

VIP4, VIP6 = "203.0.113.7", "2001:db8:1::7"
WEB = ["--service=web", "--real=10.0.1.11", "--real=fd00:1::11", "--scheduler=rr"]
BROADCAST = "10.0.1.255"  # no real server, says the kernel
UNLOADABLE = Path("/etc/modprobe.d/vipctl-test.conf")


@pytest.fixture(scope="module", autouse=True)
def _lblcr_cannot_load() -> Iterator[None]:
    UNLOADABLE.write_text("install ip_vs_lblcr /bin/false\n")
    yield
    UNLOADABLE.unlink()


def _file(tmp_path: Path, services: str) -> str:
    path = tmp_path / "state.yaml"
    path.write_text(f"services:\n{services}")
    return str(path)


REFUSED: dict[str, Callable[[Path], list[str]]] = {
    "real server of a new service": lambda _: [
        *("add-range", "198.51.100.0/24", "--service=new", "--real=10.0.1.11"),
        *(f"--real={BROADCAST}", "--real=fd00:1::11", "--set-sysctls", "--persistence=9"),
    ],
    "scheduler of a new service": lambda _: [
        *("add-range", "198.51.100.0/24", "--service=new", "--real=10.0.1.11"),
        "--scheduler=lblcr",
    ],
    "scheduler": lambda _: [
        *("set-service", "web", "--scheduler=lblcr", "--forward=dr", "--persistence=9"),
        *("--fwmark=99", "--set-sysctls"),
    ],
    "real servers": lambda _: ["add-real", "web", "10.0.1.12", BROADCAST, "fd00:1::12"],
    "file": lambda path: [
        "apply",
        _file(
            path,
            "  a: {ranges: [192.0.2.0/24], reals: [10.0.1.12], forward: tun, set_sysctls: true}\n"
            f"  web: {{ranges: [203.0.113.0/28], reals: [10.0.1.12, {BROADCAST}]}}\n"
            "  z: {ranges: [192.0.3.0/24], reals: [10.0.1.12]}\n",
        ),
    ],
}


@pytest.fixture(scope="module")
def vipctl(net: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vipctl]:
    """With one service, which every test has to leave alone."""
    with traceless(net.director, tmp_path_factory.mktemp("rollback")) as command:
        command("add-range", VIP4, VIP6, *WEB)
        yield command


@pytest.mark.parametrize("words", REFUSED.values(), ids=REFUSED.keys())
def test_everything_is_as_before(
    net: Lab, vipctl: Vipctl, words: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    before = kernel_state(net.director), vipctl("list-services")
    assert not before[1]["pending"]
    code, error = vipctl.error(*words(tmp_path))
    if "lblcr" in error["message"]:
        assert (code, error["kind"]) == (5, "missing")
        assert "modprobe ip_vs_lblcr" in error["hint"]
    else:
        assert (code, error["kind"]) == (4, "kernel")
        assert BROADCAST in error["message"]
    assert "way back" not in error["message"]
    assert (kernel_state(net.director), vipctl("list-services")) == before
    assert tcp(net.client, [VIP4, VIP6]) == Counter(real1=2)
