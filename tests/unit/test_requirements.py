"""The lower bounds in pyproject.toml are the versions that `make test-lowest` runs with."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
PINNED = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def _asked_for() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [Requirement(text) for found in (project["dependencies"], *extras) for text in found]


def _pinned(name: str) -> dict[str, list[Version]]:
    pins: dict[str, list[Version]] = {}
    for found, version in PINNED.findall((REPOSITORY / "requirements" / name).read_text()):
        pins.setdefault(canonicalize_name(found), []).append(Version(version))
    return pins


def test_the_lowest_versions_are_tested() -> None:
    lowest = _pinned("lowest.txt")
    for asked in _asked_for():
        (bound,) = asked.specifier
        (pinned,) = lowest[canonicalize_name(asked.name)]
        assert bound.operator == ">="
        assert Version(pinned.base_version) == Version(bound.version), f"{asked}: make lock"


def test_what_is_asked_for_is_pinned() -> None:
    locked = _pinned("locked.txt")
    for asked in _asked_for():
        for version in locked[canonicalize_name(asked.name)]:
            assert version in asked.specifier, f"{asked}: make lock"
