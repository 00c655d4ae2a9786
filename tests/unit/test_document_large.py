"""What `apply` and `export` do where there are too many ranges for YAML."""

import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.unit.test_document import load, refusal
from vipctl.addresses.prefixes import from_spans
from vipctl.operate import document
from vipctl.services.service import Service

MANY = from_spans((4, (n, n)) for n in range(0x0B000000, 0x0B000000 + 2 * 10_100, 2))
ONLY = 'services: {{fwmark-17: {{method: fwmark, ranges: ["{}"]}}}}'


def test_a_file_of_ranges_is_beside_the_document(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("203.0.113.0/24\n198.51.100.7\n")
    _, found = load(tmp_path, ONLY.format("@more.txt"))["fwmark-17"]
    assert list(found.prefixes()) == ["198.51.100.7/32", "203.0.113.0/24"]


@pytest.mark.parametrize(
    ("text", "words"), [(None, "cannot read"), ("203.0.113.7\n203.0.113.300\n", "more.txt:2")]
)
def test_what_is_wrong_with_such_a_file_is_named(
    tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / "more.txt").write_text(text)
    error = refusal(tmp_path, ONLY.format("@more.txt"))
    assert "services.fwmark-17.ranges.0" in error.message
    assert words in error.message


def test_many_ranges_are_exported_as_json_and_read_back(tmp_path: Path) -> None:
    state = [(Service("fwmark-17", 17), MANY)]
    text = "".join(document.dump(state))
    assert json.loads(text)["services"]["fwmark-17"]["ranges"][0] == "11.0.0.0/32"
    assert load(tmp_path, text) == {"fwmark-17": (Service("fwmark-17", 17), MANY)}


def test_a_wrong_range_among_many_is_named_by_its_place(tmp_path: Path) -> None:
    ranges = [str(IPv4Address(first)) for first, _ in MANY.v4]
    ranges[10_050] = "11.0.0.300"
    text = json.dumps({"services": {"fwmark-17": {"method": "fwmark", "ranges": ranges}}})
    error = refusal(tmp_path, text)
    assert "services.fwmark-17.ranges.10050: '11.0.0.300'" in error.message


def test_a_difference_only_counts_many() -> None:
    assert "10,100 prefixes" in document.shown([(Service("fwmark-17", 17), MANY)], most=1000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"services": {"fwmark-17": {}, "fwmark-17": {}}}', "'fwmark-17' is there twice"),
        ('{"a": ' * 100_000, "nested too deeply"),
    ],
)
def test_odd_json_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(tmp_path, text).message


def test_yaml_in_braces_is_still_yaml(tmp_path: Path) -> None:
    found = load(tmp_path, "{services: {fwmark-17: {method: fwmark, ranges: [192.0.2.0/24]}}}")
    assert list(found) == ["fwmark-17"]
