"""Real servers under maintenance: drained and back, replaced, of one service or of all."""

import pytest

from tests.harness.command import Vipctl, changes
from tests.harness.lab import Lab
from tests.vm.observe import ipvs, tcp

VIP, OTHER_VIP = "203.0.113.7", "198.51.100.7"
A, B = "10.0.1.11", "10.0.1.12"


@pytest.fixture
def two(vipctl: Vipctl) -> Vipctl:
    """Two services with the same real servers, of different weights."""
    vipctl("add-range", VIP, "--service=one", f"--real={A},weight=3", f"--real={B}")
    vipctl("add-range", OTHER_VIP, "--service=two", f"--real={A},weight=7")
    return vipctl


def weights(net: Lab, server: str) -> list[str]:
    """Return those of a real server, as IPVS has them."""
    return sorted(line.split()[-1] for line in ipvs(net.director) if f"-r {server}:0" in line)


def test_a_drained_server_gets_its_weight_again(net: Lab, two: Vipctl) -> None:
    done = two("drain-real", "one", A)
    assert changes(done) == [f"one: real server {A} weight 3 → 0 (drained)"]
    assert weights(net, A) == ["0", "7"]
    assert set(tcp(net.client, [VIP] * 2)) == {"real2"}
    assert two("drain-real", "one", A)["changed"] is False
    exported = two("export")["services"]["one"]["reals"]
    assert exported == [f"{A},weight=0,was=3", B]
    assert two("undrain-real", "one", A)["changed"] is True
    assert weights(net, A) == ["3", "7"]
    assert two("undrain-real", "one", A)["changed"] is False
    assert two("export")["services"]["one"]["reals"] == [f"{A},weight=3", B]


def test_a_weight_of_zero_that_was_set_is_not_guessed(two: Vipctl) -> None:
    two("set-real", "one", f"{A},weight=0")
    code, error = two.error("undrain-real", "one", A)
    assert (code, error["kind"]) == (3, "refused")
    assert f"set-real one {A},weight=N" in error["hint"]


def test_one_of_all_services(net: Lab, two: Vipctl) -> None:
    done = two("drain-real", "--all-services", A)
    assert len(changes(done)) == 2
    assert weights(net, A) == ["0", "0"]
    assert two("undrain-real", A, "--all-services")["changed"] is True
    assert weights(net, A) == ["3", "7"]
    two("set-real", "--all-services", f"{A},weight=5")
    assert weights(net, A) == ["5", "5"]
    assert changes(two("drain-real", "--all-services", B)) == [
        f"one: real server {B} weight 1 → 0 (drained)"
    ]
    two("remove-real", "--all-services", A)
    assert weights(net, A) == []
    assert two("remove-real", "--all-services", A)["changed"] is False
    for words in (["drain-real", "one"], ["drain-real", "--all-services"], ["replace-real", A, B]):
        assert two.error(*words)[0] == 2


def test_another_takes_its_place(net: Lab, two: Vipctl) -> None:
    done = two("replace-real", "two", A, B)
    assert weights(net, B) == ["1", "7"]
    assert weights(net, A) == ["3"]
    assert len(changes(done)) == 2
    assert set(tcp(net.client, [OTHER_VIP] * 2)) == {"real2"}
    assert two("replace-real", "two", A, B)["changed"] is False
    two("replace-real", "two", B, f"{A},weight=2")
    assert weights(net, A) == ["2", "3"]
    code, error = two.error("replace-real", "one", A, B)
    assert (code, error["kind"]) == (3, "refused")
    assert weights(net, A) == ["2", "3"]
