"""Settings of the whole director: set, kept, put back; and what they do."""

import json
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.vm.observe import NODEST, udp
from vipctl.services.director import SETTINGS

TIMEOUTS = ["--tcp-timeout=700", "--tcpfin-timeout=70", "--udp-timeout=7"]
SWITCHED = [n for n, setting in SETTINGS.items() if setting.option.typed is bool]
VIP = "203.0.113.7"


def timeouts(director: Namespace) -> str:
    """Return what ipvsadm says: tcp, tcpfin, udp."""
    return director.run(["ipvsadm", "-L", "--timeout"]).stdout.split(":")[1].strip()


def switches(director: Namespace) -> dict[str, str]:
    """Return the sysctls as they are."""
    return {name: director.sysctl(SETTINGS[name].kernel) for name in SWITCHED}


def test_set_and_put_back(net: Lab, vipctl: Vipctl) -> None:
    before = timeouts(net.director), switches(net.director)
    opposite = {name: "yes" if value == "0" else "no" for name, value in before[1].items()}
    words = [f"--{name.replace('_', '-')}={word}" for name, word in opposite.items()]
    assert vipctl("--check", "set-director", *TIMEOUTS, *words)["changed"] is True
    assert (timeouts(net.director), switches(net.director)) == before
    assert vipctl("set-director", *TIMEOUTS, *words)["changed"] is True
    assert timeouts(net.director) == "700 70 7"
    assert switches(net.director) == {n: str(int(w == "yes")) for n, w in opposite.items()}
    assert vipctl("set-director", *TIMEOUTS)["changed"] is False
    done = vipctl("set-director", "--tcp-timeout=default", f"{words[0].split('=')[0]}=default")
    assert done["changed"] is True
    assert timeouts(net.director) == before[0].split()[0] + " 70 7"
    every = [f"--{name.replace('_', '-')}=default" for name in SETTINGS]
    assert vipctl("set-director", *every)["changed"] is True
    assert (timeouts(net.director), switches(net.director)) == before
    assert "director" not in vipctl("export")


def test_what_others_set_is_seen_and_set_again(net: Lab, vipctl: Vipctl) -> None:
    vipctl("set-director", *TIMEOUTS, "--sloppy-tcp=yes")
    for damage in ("ipvsadm --set 1 2 3", "sysctl -q net.ipv4.vs.sloppy_tcp=0"):
        net.director.run(damage.split())
        assert vipctl("status")["kernel"] == "differs"
        assert vipctl("restore")["restored"] is True
        assert vipctl("status")["kernel"] == "as stored"
    assert timeouts(net.director) == "700 70 7"
    vipctl("set-director", *(f"--{n.replace('_', '-')}=default" for n in SETTINGS))


def test_apply_makes_them_what_the_file_says(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    before = timeouts(net.director)
    file = tmp_path / "wanted.yaml"
    vipctl("set-director", "--tcp-timeout=800")
    file.write_text('{"director": {"udp_timeout": 8, "sloppy_tcp": true}, "services": {}}')
    done = vipctl("--diff", "apply", str(file))
    assert "udp_timeout: 8" in done["diff"]["after"]
    assert "tcp_timeout: 800" in done["diff"]["before"]
    assert timeouts(net.director) == " ".join([*before.split()[:2], "8"])
    exported = vipctl("export")
    assert exported["director"] == {"udp_timeout": 8, "sloppy_tcp": True}
    file.write_text(json.dumps({"director": exported["director"], "services": {}}))
    assert vipctl("apply", str(file))["changed"] is False
    file.write_text("services: {}")
    assert vipctl("apply", str(file))["changed"] is True
    assert timeouts(net.director) == before


@pytest.mark.parametrize("value", ["yes", "no"])
def test_what_services_need_gives_way_and_is_told(net: Lab, vipctl: Vipctl, value: str) -> None:
    add = "add-range", VIP, "--service=web", "--real=10.0.1.11", "--set-sysctls"
    done = vipctl("set-director", f"--expire-nodest-conn={value}"), vipctl(*add)
    vipctl("remove-service", "web")
    vipctl("set-director", "--expire-nodest-conn=default")
    other_way = vipctl(*add), vipctl("set-director", f"--expire-nodest-conn={value}")
    assert net.director.sysctl(NODEST) == str(int(value == "yes"))
    assert vipctl("status")["kernel"] == "as stored"
    for both in (done, other_way):
        told = [text for found in both for text in found["warnings"] if NODEST in text]
        assert len(told) == (value == "no")
    vipctl("remove-service", "web")
    vipctl("set-director", "--expire-nodest-conn=default")


def test_a_udp_client_is_forgotten(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", VIP, "--service=web", "--real=10.0.1.11")
    vipctl("set-director", "--udp-timeout=3")
    udp(net.client, [VIP])
    listed = net.director.run(["ipvsadm", "-Lnc"]).stdout.splitlines()
    (left,) = (line.split()[1] for line in listed if line.startswith("UDP"))
    assert left in ("00:00", "00:01", "00:02", "00:03")
    vipctl("set-director", "--udp-timeout=default")
    vipctl("remove-service", "web")
