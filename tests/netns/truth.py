"""What the kernel really accepts, read without vipctl, against what vipctl says is stored."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.harness.netns import Namespace


class Rule(NamedTuple):
    """A policy-routing rule of vipctl's."""

    version: int
    priority: int
    mark: str
    table: str


Command = Callable[..., dict[str, Any]]  # words of vipctl to the object that it prints
Marks = dict[str, int]  # by prefix


def stored(command: Command) -> Marks:
    """Return what vipctl says that it accepts, where no services share an address."""
    services = command("export")["services"].values()
    return {prefix: service["fwmark"] for service in services for prefix in service["ranges"]}


def assert_as_stored(director: Namespace, command: Command) -> Marks:
    """Compare everything; return it."""
    held = stored(command)
    questions = "nft -j list ruleset; ip -j rule; ip -j -6 rule"
    tables, *rules = map(json.loads, director.run(["sh", "-c", questions]).stdout.splitlines())
    assert _maps(tables) == held
    assert _rules(*rules) == _expected_rules(held)
    return held


def _maps(listed: dict[str, Any]) -> Marks:
    """Return the prefixes in the maps of vipctl's table, whatever its rules do with them."""
    items = (item.get("map", {}) for item in listed["nftables"])
    return {
        f"{address}/{found['name'].split('_')[1]}": mark
        for found in items
        if found.get("table") == "vipctl"
        for address, mark in found.get("elem", ())
    }


def _rules(rules4: list[dict[str, Any]], rules6: list[dict[str, Any]]) -> set[Rule]:
    return {
        Rule(version, rule["priority"], rule.get("fwmark", ""), rule.get("table", ""))
        for version, rules in ((4, rules4), (6, rules6))
        for rule in rules
        if rule.get("protocol") == "118"
    }


def _expected_rules(held: Marks) -> set[Rule]:
    """Return the rules that such marks need; all of vipctl's own block need one together."""
    marks = {0x1000 if mark & 0xFFFFF080 == 0x1000 else mark for mark in held.values()}
    versions = {6 if ":" in prefix else 4 for prefix in held}
    targets = {Rule(version, 4302, hex(0x1000), "") for version in versions}
    return targets | {
        Rule(version, priority, hex(mark), table)
        for version in versions
        for priority, table in ((4300, ""), (4301, "30320"))
        for mark in marks
    }
