"""Several services from a file: balanced, idempotent, pruned, all or nothing, and back again."""

from collections import Counter
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.vm.observe import ipvs, kernel_state, outcomes, tcp, unordered

FILE = """
services:
  web:
    ranges: [203.0.113.0/24, "2001:db8:1::/64"]
    reals: [10.0.1.11, "10.0.1.12,weight=2", "fd00:1::11"]
    scheduler: wrr
    ports: [tcp/80]
  dns:
    ranges: [203.0.113.53]
    reals: ["10.0.1.12:53"]
    ports: [udp/53]
  sticky:
    ranges: [198.51.100.10-198.51.100.99]
    reals: [10.0.1.11, 10.0.1.12]
    scheduler: "sh,fallback,port"
    persistence: 100
    set_sysctls: true
    fwmark: 99
  fwmark-17:
    ranges: [192.0.2.0/24]
"""
FEWER = """
services:
  web:
    ranges: [203.0.113.0/25]
    reals: [10.0.1.12]
    scheduler: wrr
    ports: [tcp/80]
"""
BROKEN = FILE.replace("10.0.1.11, 10.0.1.12]", "10.0.1.11, 10.0.1.255]").replace("wrr", "rr")
SERVICES = {
    "-A -f 4096 -s wrr",
    "-a -f 4096 -r 10.0.1.11:0 -m -w 1",
    "-a -f 4096 -r 10.0.1.12:0 -m -w 2",
    "-A -f 4096 -6 -s wrr",
    "-a -f 4096 -6 -r [fd00:1::11]:0 -m -w 1",
    "-A -f 4097 -s wlc",
    "-a -f 4097 -r 10.0.1.12:53 -m -w 1",
    "-A -f 99 -s sh -p 100 -b sh-fallback,sh-port",
    "-a -f 99 -r 10.0.1.11:0 -m -w 1",
    "-a -f 99 -r 10.0.1.12:0 -m -w 1",
}


def test_round_trip(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    file, exported = tmp_path / "state.yaml", tmp_path / "exported.yaml"
    apply = ["apply", str(file)]
    file.write_text(FILE)
    assert vipctl(*apply)["changed"]
    assert ipvs(net.director) == SERVICES
    assert tcp(net.client, ["203.0.113.1", "203.0.113.53", "203.0.113.2"]) == Counter(
        real1=1, real2=2
    )
    assert outcomes(net.client, ["203.0.113.53"], 53) == {"203.0.113.53": ("refused", "real2")}
    before = kernel_state(net.director)
    exported.write_text(vipctl.text("export").stdout)
    assert not vipctl(*apply)["changed"]
    assert not vipctl("apply", str(exported))["changed"]
    assert kernel_state(net.director) == before

    file.write_text(BROKEN)
    assert vipctl.error(*apply)[0] == 4
    assert unordered(kernel_state(net.director)) == unordered(before)
    assert vipctl.text("export").stdout == exported.read_text()

    file.write_text(FEWER)
    assert vipctl(*apply)["removed_services"] == ["dns", "fwmark-17", "sticky"]
    assert ipvs(net.director) == {"-A -f 4096 -s wrr", "-a -f 4096 -r 10.0.1.12:0 -m -w 1"}
    assert outcomes(net.client, ["203.0.113.53", "203.0.113.153"], 80) == {
        "203.0.113.53": ("real2", "timeout"),
        "203.0.113.153": ("unreachable", "unreachable"),
    }
    assert vipctl("apply", str(exported))["changed"]
    assert unordered(kernel_state(net.director)) == unordered(before)
