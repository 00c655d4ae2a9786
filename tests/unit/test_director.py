"""Settings of the whole director: described once; command line, documents and store follow."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from vipctl.cli.base import group
from vipctl.errors import UsageError
from vipctl.linux import sysctl
from vipctl.operate import document
from vipctl.services.change import Change
from vipctl.services.director import (
    MAX_TIMEOUT,
    SETTINGS,
    UNSET,
    from_plain,
    kernel_values,
    plain,
)
from vipctl.state.store import Store

SAMPLES: dict[str, Any] = {
    name: False if setting.option.typed is bool else setting.option.bounds[1]
    for name, setting in SETTINGS.items()
}
TWO = {"tcp_timeout": 900, "sloppy_tcp": True}


@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_written_and_read_back(name: str, tmp_path: Path) -> None:
    chosen = {name: SAMPLES[name]}
    assert from_plain(json.loads(json.dumps(plain(chosen)))) == chosen
    file = tmp_path / "state"
    for written in (document.dump([], chosen), document.in_json({}, [], chosen)):
        file.write_text("".join(written))
        assert document.load(file).director == chosen


@pytest.mark.parametrize("name", SETTINGS)
def test_the_command_line_has_it(name: str) -> None:
    made = group.get_command(click.Context(group), "set-director")
    assert made
    assert SETTINGS[name].option.spelled(name) in {p.name: p for p in made.params}[name].opts


def test_each_is_something_else_in_the_kernel() -> None:
    assert len({setting.kernel for setting in SETTINGS.values()}) == len(SETTINGS)
    assert kernel_values(TWO) == {"ipvs timeout tcp": "900", "net.ipv4.vs.sloppy_tcp": "1"}


def test_the_store_keeps_them(tmp_path: Path) -> None:
    change = Change(director=(UNSET, TWO))
    assert change
    assert not Change(director=(TWO, TWO))
    with Store.open(tmp_path / "state") as store:
        assert not store.in_use()
        store.begin(change, (), {})
        store.finish({}, {})
        assert store.director() == TWO
        assert store.in_use()
        store.begin(change.inverse(), (), {})
        store.finish({}, {})
        assert store.director() == UNSET


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{director: {tcp_timeout: 0}, services: {}}", r"director\.tcp_timeout: .*greater"),
        (f"{{director: {{udp_timeout: {MAX_TIMEOUT + 1}}}, services: {{}}}}", "udp_timeout"),
        ("{director: {sloppy_tcp: 1}, services: {}}", r"director\.sloppy_tcp: .*bool"),
        ("{director: {slopy_tcp: true}, services: {}}", r"director\.slopy_tcp: Extra"),
        ("{director: [], services: {}}", "director: "),
    ],
)
def test_what_a_document_cannot_say(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text(text)
    with pytest.raises(UsageError, match=words):
        document.load(file)


def test_what_is_chosen_goes_before_what_services_need() -> None:
    """And is vipctl's even where it is so already, so that it is put back whatever happens."""
    name = "net.ipv4.ip_forward"
    now = sysctl.read(name)
    assert sysctl.plan({}, [], {name: str(now)}) == {name: (now, now)}
    assert sysctl.plan({name: ("0", "1")}, [], {name: "2"}) == {name: ("0", "2")}
    assert sysctl.plan({name: ("0", "1")}, []) == {}


def test_what_the_kernel_has_not_is_refused_and_not_put_back() -> None:
    name = "net.ipv4.vs.no_such_thing"
    planned = sysctl.plan({}, [], {name: "1"})
    assert planned == {name: (sysctl.NOTHING, "1")}
    for refused in (sysctl.foreseen({}, planned), sysctl.enforce({}, planned)):
        assert list(refused) == [name]
        assert "IPVS" in str(refused[name].hint)
    assert sysctl.enforce(planned, {}) == {}
