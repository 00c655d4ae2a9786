"""Settings of the director where there is no IPVS: what the kernel cannot have is not stored."""

import pytest

from tests.harness.command import Vipctl


@pytest.mark.parametrize("words", [["--tcp-timeout", "900"], ["--sloppy-tcp", "yes"]])
@pytest.mark.parametrize("check", [["--check"], []])
def test_without_ipvs_it_is_refused(vipctl: Vipctl, words: list[str], check: list[str]) -> None:
    before = vipctl("export")
    code, error = vipctl.error(*check, "set-director", *words)
    assert code in (4, 5)
    assert "ipvs" in (error["message"] + error["hint"]).lower()
    assert vipctl("export") == before
    assert vipctl("status")["kernel"] == "as stored"


@pytest.mark.parametrize(
    "words", [[], ["--tcp-timeout", "0"], ["--tcp-timeout", "x"], ["--sloppy-tcp", "1"]]
)
def test_what_cannot_be_read(vipctl: Vipctl, words: list[str]) -> None:
    code, error = vipctl.error("set-director", *words)
    assert (code, error["kind"]) == (2, "usage")


def test_the_default_of_what_is_not_set(vipctl: Vipctl) -> None:
    assert vipctl("set-director", "--tcp-timeout", "default")["changed"] is False
