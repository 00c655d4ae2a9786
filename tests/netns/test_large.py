"""Sets that are large enough for numpy and packed messages, as an operator sees them."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

NUMBER = 12_000
FIRST = {4: int(ip_address("198.18.0.0")), 6: int(ip_address("2001:db8::"))}


@pytest.fixture
def files(tmp_path: Path) -> dict[int, Path]:
    """Every other address of each IP version, thousands of them."""
    found = {version: tmp_path / f"vips{version}" for version in FIRST}
    for version, file in found.items():
        lines = (f"{ip_address(FIRST[version] + 2 * n)}\n" for n in range(NUMBER))
        file.write_text("".join(lines))
    return found


@pytest.mark.parametrize("method", ["fwmark", "route", "fwmark-iptables"])
def test_many_come_and_go(net: Lab, vipctl: Vipctl, files: dict[int, Path], method: str) -> None:
    words = [f"@{file}" for file in files.values()]
    done = vipctl("add-range", *words, "--fwmark", "17", "--method", method)
    assert done["added"] == {"prefixes": 2 * NUMBER, "addresses": 2 * NUMBER}
    assert vipctl("add-range", *words, "--fwmark", "17")["changed"] is False
    assert vipctl("restore")["changed"] is False
    assert vipctl("add-range", "198.18.0.1", "--fwmark", "17")["added"]["prefixes"] == 1
    assert vipctl("remove-range", f"@{files[6]}")["removed"]["prefixes"] == NUMBER
    assert vipctl("status")["kernel"] == "as stored"
    assert vipctl("remove-service", "fwmark-17")["changed"] is True
    assert "proto 118" not in net.director.run(["ip", "route", "show", "table", "local"]).stdout


def test_many_are_counted_not_listed(vipctl: Vipctl, files: dict[int, Path]) -> None:
    vipctl("add-range", f"@{files[4]}", "192.0.2.0/24", "--fwmark", "17")
    said = vipctl.text("list-ranges").stdout
    assert "12,000" in said
    assert "198.18.0.2" not in said
    assert "vipctl export" in said
    assert len(vipctl("list-ranges")["ranges"]) == NUMBER + 1
    shown = vipctl.text("--check", "--diff", "remove-range", "192.0.2.0/24").stdout
    assert "192.0.2.0/24" in shown
    assert (
        "12,001 prefixes" in vipctl.text("--check", "--diff", "remove-service", "fwmark-17").stdout
    )
