"""A director that ipvsadm set up, with everything that it can say, becomes one of vipctl's."""

from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.traffic import tcp_get
from tests.vm.observe import ipvs

# Debian's 6.1 has no twos; lblc and lblcr leave sysctls behind.
SCHEDULERS = "rr wrr lc wlc dh sh sed nq fo ovf mh twos"
EVERYTHING = """\
-A -f 17 -s sh -p 300 -M 255.255.255.0 -b sh-fallback,sh-port
-a -f 17 -r 10.0.1.11:0 -m -w 2 -x 100 -y 50
-a -f 17 -r 10.0.1.12:8080 -m -w 65535 -x 1000
-A -f 17 -6 -s sh -p 300 -M 64 -b sh-fallback,sh-port
-a -f 17 -6 -r [fd00:1::11]:0 -m -w 1
-a -f 17 -6 -r [fd00:1::12]:443 -m -w 1 -x 7 -y 7
-A -f 18 -s mh -b mh-port,mh-fallback
-a -f 18 -r 10.0.1.11 -g -w 3
-a -f 18 -r 10.0.1.12 -i -w 0
-a -f 18 -r 10.0.1.13 -m
-A -f 19 -6 -s rr -o
-a -f 19 -6 -r [fd00:1::11]:0 -g -w 1
-a -f 19 -6 -r [fd00:1::12]:0 -i -w 1
-A -f 20 -s wlc -p 60 --pe sip
-a -f 20 -r 10.0.1.11 -m
-A -f 2147483649 -s fo -p
-a -f 2147483649 -r 10.0.1.11 -i -w 1
"""
BY_ADDRESS = """\
-A -t 203.0.113.7:80 -s rr
-a -t 203.0.113.7:80 -r 10.0.1.11:80 -m -w 1
-A -t 203.0.113.8:80 -s rr
-a -t 203.0.113.8:80 -r 10.0.1.11:80 -m -w 1
"""


def thresholds(net: Lab) -> list[str]:
    """Return services and real servers with these, in order."""
    listed = net.director.run(["ipvsadm", "-Ln", "--thresholds"]).stdout.splitlines()[3:]
    return [" ".join(line.split()[:4]) for line in listed]


@pytest.mark.parametrize("saved", [False, True])
def test_everything(net: Lab, vipctl: Vipctl, tmp_path: Path, saved: bool) -> None:
    """As it was written, or as ipvsadm says it is, which leaves thresholds out."""
    each = "".join(f"-A -f {n} -s {s}\n-a -f {n} -r 10.0.1.11 -m\n" for n, s in _numbered())
    file = tmp_path / "rules"
    file.write_text(EVERYTHING + each)
    net.director.run(["ipvsadm", "-R"], input=file.read_text())
    before, limits = ipvs(net.director), thresholds(net)
    if saved:
        file.write_text(net.director.run(["ipvsadm", "-Sn"]).stdout)
    net.director.run(["ipvsadm", "-C"])
    printed = vipctl.text("import", "ipvsadm", str(file))
    assert (printed.code, printed.stderr) == (0, "")
    document = tmp_path / "document"
    document.write_text(printed.stdout)
    assert vipctl("apply", str(document))["changed"] is True
    assert ipvs(net.director) == before
    assert (thresholds(net) == limits) is not saved
    assert vipctl("status")["kernel"] == "as stored"
    assert vipctl("apply", str(document))["changed"] is False


def _numbered() -> list[tuple[int, str]]:
    return list(enumerate(SCHEDULERS.split(), 100))


def test_services_by_address_are_served(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    rules, document = tmp_path / "rules", tmp_path / "document"
    rules.write_text(BY_ADDRESS)
    document.write_text(vipctl.text("import", "ipvsadm", str(rules)).stdout)
    assert list(vipctl("apply", str(document))["services"]) == ["203.0.113.7"]
    for vip in ("203.0.113.7", "203.0.113.8"):
        assert tcp_get(net.client, vip, 80).server == "real1"
