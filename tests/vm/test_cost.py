"""What a command asks IPVS: nothing of the real servers of services that it does not change."""

import json
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.vm.conftest import traceless
from vipctl.linux.genetlink import GENL_ID_CTRL, Family
from vipctl.linux.ipvs import messages

REALS = [f"10.0.1.{n}" for n in range(11, 15)]
NAMES = {number: name for name, number in messages.COMMANDS.items()}
MORE = ("add-range", "198.18.1.1", "--service", "s1")


def document(path: Path, services: int) -> str:
    """Of services with real servers, a range each."""
    forms = {
        f"s{n}": {"ranges": [f"198.19.{n}.0/24"], "reals": REALS} for n in range(1, services + 1)
    }
    path.write_text(json.dumps({"services": forms}))
    return str(path)


def asked(vipctl: Vipctl, *words: str) -> Counter[str]:
    """How often each command of IPVS is sent."""
    found: Counter[str] = Counter()

    def counting(family: Family, command: int, content: bytes) -> bytes:
        if family.number != GENL_ID_CTRL:
            found[NAMES[command]] += 1
        return packed(family, command, content)

    packed = Family._pack
    with mock.patch.object(Family, "_pack", counting):
        vipctl(*words)
    return found


def test_other_services_are_asked_for_at_once_and_without_their_real_servers(
    net: Lab, tmp_path: Path
) -> None:
    counts = []
    for number in (2, 12):
        with traceless(net.director, tmp_path / str(number)) as vipctl:
            vipctl("apply", document(tmp_path / "document", number))
            counts.append([asked(vipctl, word) for word in ("restore", "status")])
            counts[-1].append(asked(vipctl, *MORE))
    (*wholes, few), (*all_of_them, many) = counts
    assert many == few == {"get service": 3, "list real servers": 1}
    assert [found["list real servers"] for found in wholes] == [2, 2]
    assert [found["list real servers"] for found in all_of_them] == [12, 12]


@pytest.mark.parametrize("word", ["restore", "apply"])
def test_a_real_server_of_another_service_is_found_by_who_compares_all(
    net: Lab, vipctl: Vipctl, tmp_path: Path, word: str
) -> None:
    words = (word, document(tmp_path / "document", 2)) if word == "apply" else (word,)
    vipctl("apply", document(tmp_path / "document", 2))
    before = ipvs_of(net)
    net.director.run(["ipvsadm", "-e", "-f", "4097", "-r", REALS[1], "-m", "-w", "9"])
    net.director.run(["ipvsadm", "-d", "-f", "4097", "-r", REALS[2]])
    assert not vipctl("add-range", "198.19.1.1", "--service", "s1")["restored"]
    assert vipctl("status")["kernel"] == "differs"
    assert vipctl("--check", *words)["restored"]
    assert vipctl(*words)["restored"]
    assert ipvs_of(net) == before
    assert vipctl("status")["kernel"] == "as stored"


@pytest.mark.parametrize(
    "damage", ["-D -f 4097", "-E -f 4097 -s rr", "-E -f 4097 -s wlc -p 60", "-A -f 4097 -6 -s rr"]
)
def test_another_service_itself_is_looked_at_by_all(
    net: Lab, vipctl: Vipctl, tmp_path: Path, damage: str
) -> None:
    vipctl("apply", document(tmp_path / "document", 2))
    before = ipvs_of(net)
    net.director.run(["ipvsadm", *damage.split()])
    assert vipctl("add-range", "198.19.1.1", "--service", "s1")["restored"]
    assert ipvs_of(net) == before


def ipvs_of(net: Lab) -> list[str]:
    return sorted(net.director.run(["ipvsadm", "-Sn"]).stdout.splitlines())
