"""Tables of status."""

from typing import Any

import click
import pytest

from vipctl.cli import overview, render

COUNTED = dict.fromkeys(render.COUNTERS.values(), 3)
WEB: dict[str, Any] = {
    "ports": [],
    "fwmark": 17,
    "method": "fwmark",
    "prefixes": 1,
    "addresses": 1,
    "role": "active",
}
NOTHING: dict[str, Any] = {
    "sysctls": {},
    "methods": {},
    "unbalanced": [],
    "findings": [],
    "problems": [],
    "differences": [],
    "digest": "0f",
    "sync": None,
    "relay": None,
    "watch": None,
    "kernel": "as stored",
    "role": "active",
}


def test_what_speaks_against_a_director_is_shown() -> None:
    known: dict[str, Any] = {
        **{"answers": True, "ours": True, "pid": 1, "check": False},
        **{"since": "then", "state_dir": "/", "last": None, "alive": None},
    }
    alive = {"device": "vipctl0", "fit": False, "since": "now", "why": ["one", "two\x1b"]}
    for found, line in (
        (alive, "vipctl0: down since now: one; two\\x1b"),
        (alive | {"why": []}, "vipctl0: down since now: not yet"),
        (alive | {"fit": True}, "vipctl0: up since now: this director is fit"),
    ):
        shown = overview.text(NOTHING | {"services": {}, "watch": known | {"alive": found}})
        assert line in shown.splitlines()
    old = {key: value for key, value in known.items() if key != "alive"}
    of_none, of_old = (NOTHING | {"services": {}, "watch": watch} for watch in (known, old))
    assert overview.text(of_none) == overview.text(of_old)


@pytest.mark.parametrize(
    ("state", "line"),
    [("MASTER", "VRRP: MASTER"), ("", "VRRP: not known yet, and roles stay as they are")],
)
def test_the_state_of_vrrp_is_shown(state: str, line: str) -> None:
    daemon = {"answers": True, "ours": True, "pid": 1, "check": False, "since": "then"}
    daemon |= {"state_dir": "/", "last": None, "alive": None, "vrrp": state}
    shown = overview.text(NOTHING | {"services": {}, "watch": daemon})
    assert line in shown.splitlines()


def rows(*reals: str, **counted: Any) -> list[list[str]]:
    report = {"services": {"web": WEB | {"reals": reals, "ipvs": counted}}} | NOTHING
    _, table, *_ = click.unstyle(overview.text(report)).split("\n\n")
    return [line.split() for line in table.splitlines()]


def test_settings_that_no_real_server_has_take_no_room() -> None:
    headers, *_ = rows("10.0.1.11", "10.0.1.12")
    assert headers[:5] == ["SERVICE", "REAL", "SERVER", "WEIGHT", "CONNECTIONS"]
    headers, first, second = rows("10.0.1.11", "10.0.1.12,tunnel=gue:6080+csum,upper=9")
    assert headers[3:7] == ["WEIGHT", "UPPER", "TUNNEL", "CONNECTIONS"]
    assert (first[2:5], second[2:5]) == (["1", "0", "ipip"], ["1", "9", "gue:6080+csum"])


def test_what_a_real_server_gets_by_both_families_counts_together() -> None:
    found = {"reals": {"10.0.1.11": COUNTED}}
    _, row = rows("10.0.1.11", ipv4=found, ipv6=found)
    assert row[3:] == ["6"] * len(render.COUNTERS)
    _, row = rows("10.0.1.11")
    assert row[3:] == ["-"] * len(render.COUNTERS)


def test_a_method_that_counts_nothing_has_no_table() -> None:
    report = {"services": {"web": WEB}} | NOTHING
    services, *others = click.unstyle(overview.text(report)).split("\n\n")
    assert services.startswith("SERVICE")
    assert others[-1] == "kernel: as stored"
    assert not any(other.startswith("SERVICE") for other in others)


def test_a_sync_daemon_that_does_not_run_is_named() -> None:
    sync = {"interface": "eth1", "id": 7, "master": True, "backup": True}
    where = "sync: connections go to and come from directors on eth1, id 7"
    assert f"\n\n{where}\n\n" in overview.text(NOTHING | {"services": {}, "sync": sync})
    text = overview.text(NOTHING | {"services": {}, "sync": sync | {"backup": False}})
    assert f"{where}; but there is no backup so" in text


def test_a_relay_is_shown_with_its_peers() -> None:
    counts = {"taken": 1234, "refused": {"a": 1, "b": 2}, "sent": 9, "dropped": 5}
    peers = {"10.0.9.2": counts | {"there": True, "sends": False}}
    relay = {"answers": True, "pid": 7, "device": "vipctl-sync", "heard": False, "peers": peers}
    text = overview.text(NOTHING | {"services": {}, "relay": relay})
    assert "relay: process 7 on vipctl-sync, where the kernel takes no records" in text
    shown = "gets records, sends no records; 1,234 taken, 3 refused, 5 messages dropped"
    assert f"\n  10.0.9.2 {shown}\n\n" in text
    silent = overview.text(NOTHING | {"services": {}, "relay": {"answers": False}})
    assert "relay: the daemon runs, but does not answer" in silent


def test_roles_are_said_where_not_all_is_active() -> None:
    report = {"services": {"web": WEB, "mail": WEB | {"role": "passive"}}} | NOTHING
    assert render.services(report).endswith("role: active, but passive for mail")
    assert "\n\nrole: active, but passive for mail\n" in overview.text(report)
    said = click.unstyle(render.services(report | {"role": "passive"}))
    assert "role: passive: what is for its VIPs is dropped (vipctl activate)" in said
    assert "role" not in render.services(report | {"services": {"web": WEB}})


def test_the_last_line_says_how_much_stands_above() -> None:
    sysctls = {"a": {"ok": False, "value": "0", "needed": "1"}, "b": {"ok": True}}
    report = NOTHING | {"services": {}, "sysctls": sysctls, "findings": ["something"]}
    *_, last = click.unstyle(overview.text(report)).splitlines()
    assert last == "  above: 2 more that may keep VIPs from answering"
    *_, last = click.unstyle(overview.text(NOTHING | {"services": {}})).splitlines()
    assert last == "kernel: as stored"
