"""What is not vipctl's stays as it is, whatever the command."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import snapshot

# The same names elsewhere, and a table of everything.
FOREIGN_TABLES = """
table ip vipctl {
    map v4_24 { type ipv4_addr : mark; elements = { 203.0.113.0 : 0x63 } }
    chain prerouting { type filter hook prerouting priority mangle; policy accept;
        ip daddr 192.0.2.77 meta mark set 0x63
    }
}
table inet vipctl2 {
    map v4_24 { type ipv4_addr : mark; elements = { 203.0.113.0 : 0x63 } }
    map v6_64 { type ipv6_addr : mark; }
    chain after_ipvs { type filter hook input priority 100; policy accept; }
    chain leftover { drop
    }
}
"""
TABLES = ("ip vipctl", "inet vipctl2")
FOREIGN_ROUTING = (
    "rule add pref 4299 fwmark 99 lookup 99",
    "rule add pref 4301 fwmark 99 lookup 99",
    "rule add pref 4301 fwmark 17 lookup 30320",
    "rule add pref 4302 nop",
    "rule add pref 4302 to 192.0.2.0/24 lookup 99 protocol static",
    "rule add pref 5210 fwmark 17 lookup 52",
    "-6 rule add pref 4301 fwmark 99 lookup 99",
    "route add local default dev lo table 99",
    "route add 192.0.2.0/24 via 10.0.0.2 table 30320 proto static",
    "route add blackhole 198.18.0.0/15 proto 118",
    "-6 route add unreachable 2001:db8:9::/48 table 30320",
)
YAML = """
services:
  fwmark-21:
    ranges: [203.0.113.0/24, 2001:db8:1::/64]
    ping: true
  dns:
    ranges: [198.51.100.0/24]
    ports: [udp/53]
"""
FILE = "{file}"
COMMANDS = [
    "add-range 203.0.113.0/24 2001:db8:1::/64 --fwmark 17",
    "add-range 203.0.113.0/24 --fwmark 17",
    "add-range 203.0.113.9 --fwmark 17",
    "add-service web --port tcp/80",
    "add-range 198.51.100.10-198.51.100.99 --service web",
    "set-service web --leftover drop --ping --scheduler rr",
    "set-service fwmark-17 --ping",
    "list-ranges",
    "list-services",
    "status",
    "export",
    "--check --diff remove-range 203.0.113.0/25",
    "remove-range 203.0.113.0/25",
    "restore",
    "add-real web 10.0.1.11",
    f"apply {FILE}",
    f"apply {FILE}",
    "remove-service fwmark-21",
    "remove-service dns",
]


def _foreign(net: Lab) -> dict[str, str]:
    """Return what is not vipctl's of what the kernel lists."""
    lists = {
        name: net.director.run(["nft", "list", "table", *name.split()]).stdout for name in TABLES
    }
    for command, text in snapshot.kernel(net.director).items():
        if command.startswith("ip"):
            ours = (" proto 118", " table 30320 proto 118 ")["route" in command]
            lines = [line for line in text.splitlines() if ours not in f"{line} "]
            lists[command] = "\n".join(lines)
    return lists


def test_every_command_leaves_other_peoples_things_alone(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    file = tmp_path / "state.yaml"
    file.write_text(YAML)
    net.director.run(["nft", "-f", "-"], input=FOREIGN_TABLES)
    for command in FOREIGN_ROUTING:
        net.director.run(["ip", *command.split()])
    foreign, settings = _foreign(net), snapshot.sysctls(net.director)
    everything = snapshot.kernel(net.director)
    for command in COMMANDS:
        done = vipctl.text(*command.format(file=file).split())
        assert done.code == (5 if "add-real" in command else 0), done
        assert _foreign(net) == foreign, command
    assert snapshot.kernel(net.director) == everything
    assert snapshot.sysctls(net.director) == settings


@pytest.mark.parametrize("restoring", ["restore", "add-range 203.0.113.0/24 --fwmark 17"])
def test_so_does_restoring(net: Lab, vipctl: Vipctl, restoring: str) -> None:
    vipctl("add-range", "203.0.113.0/24", "2001:db8:1::/64", "--fwmark", "17", "--ping")
    net.director.run(["nft", "delete", "table", "inet", "vipctl"])
    net.director.run(["nft", "-f", "-"], input=FOREIGN_TABLES)
    for command in FOREIGN_ROUTING:
        net.director.run(["ip", *command.split()])
    foreign, settings = _foreign(net), snapshot.sysctls(net.director)
    assert vipctl(*restoring.split())["changed"] is True
    assert _foreign(net) == foreign
    assert snapshot.sysctls(net.director) == settings
