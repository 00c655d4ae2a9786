"""The documented form of JSON; tests/netns/test_json.py holds every command to it."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from tests.harness.guest import REPOSITORY
from vipctl.cli.contract.objects import Size
from vipctl.operate.printed import printed


def test_the_page_is_of_now() -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "write-json"), "--print"]
    page = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "docs" / "json.md").read_text() == page


@pytest.mark.parametrize(("number", "twice"), [(2**53, False), (2**53 + 1, True), (2**128, True)])
def test_numbers_above_2_to_the_53_are_there_as_text(number: int, twice: bool) -> None:
    found = printed({"sizes": [{"addresses": number, "prefixes": 1}]})
    (size,) = found["sizes"]
    assert found["format"] == 1
    assert size.get("addresses_exact") == (str(number) if twice else None)
    Size.model_validate(size)


@pytest.mark.parametrize("text", [None, 2**64, "1"])
def test_one_that_is_not_is_not_of_the_form(text: object) -> None:
    size = {"addresses": 2**64, "prefixes": 1}
    with pytest.raises(ValidationError):
        Size.model_validate(size if text is None else size | {"addresses_exact": text})
