"""Whatever text somebody else chose, no control character of it gets to a terminal."""

import io
import re
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import click
import pytest

from vipctl import cli, log
from vipctl.cli import base, output, overview, render
from vipctl.cli.audit import Audit
from vipctl.errors import Refused, VipctlError
from vipctl.operate import notation

ESCAPES = ("\x1b[2J", "\x1b[8m", "\x1b]0;title\x07", "\x9b2J", "\r", "\u202e", "\x7f", "\udc9b")
OWN = re.compile(r"\x1b\[\d+(;\d+)*m")  # by which vipctl colours what it says itself
PEER = {"there": True, "sends": True, "taken": 1, "refused": {"?": 1}, "dropped": 1}
REPORT: dict[str, Any] = {
    "changed": True,
    "check": False,
    "restored": False,
    "changes": [{"what": "?", "services": ["?"]}],
    "warnings": ["?"],
    "pending": True,
    "kernel": "?",
    "digest": "0f",
    "sync": None,
    "relay": {
        **{"answers": True, "pid": 1, "device": "?", "heard": True},
        "peers": {"?": PEER},
    },
    "role": "active",
    "ranges": [{"range": "?", "service": "?"}],
    "sysctls": {"?": {"ok": False, "value": "?", "needed": "?"}},
    "methods": {"?": {"usable": True, "notes": ["?"]}},
    "unbalanced": ["?"],
    "findings": ["?"],
    "problems": ["?"],
    "differences": [{"what": "?", "hint": "?", "services": ["?"]}],
    "watch": {
        **{"answers": True, "ours": False, "pid": 1, "check": False},
        **{"since": "?", "state_dir": "?", "last": {"at": "?", "what": "?"}},
    },
    "services": {
        "?": {
            "ports": ["?"],
            "forward": "?",
            "scheduler": "?",
            "fwmark": 17,
            "method": "?",
            "prefixes": 1,
            "addresses": 1,
            "role": "passive",
            "reals": ["?"],
            "packets": {"accepted": 1, "left_over": 2, "refused": 3},
            "ipvs": {"ipv4": {"reals": {"?": dict.fromkeys(render.COUNTERS.values(), 1)}}},
        }
    },
}
SUMMARY = {"service": "?", "version": 4, "length": 24, "prefixes": 1}
DRAWN: dict[str, Callable[[Any], str]] = {
    "outcome": render.outcome,
    "ranges": render.ranges,
    "many ranges": lambda report: render.ranges(
        report | {"summary": [SUMMARY | {"service": next(iter(report["services"]))}]}
    ),
    "services": render.services,
    "status": overview.text,
    "export": lambda report: notation.to_yaml({"services": {next(iter(report["services"])): {}}}),
    "difference": lambda report: render.difference(
        "services:\n  web:\n", f"services:\n  {report['kernel']}:\n"
    ),
}
SAID: dict[str, Callable[[str], object]] = {
    "a warning": output.warn,
    "-v": lambda text: traced("nft: %s\n\t%s", text, 1),
    "an error": lambda text: cli._show(Refused(text, hint=text), as_json=False),
    "an error's note": lambda text: cli._show(noted(text), as_json=False),
    "an error as JSON": lambda text: cli._show(Refused(text, hint=text), as_json=True),
    "a traceback": lambda text: cli._failed(VipctlError(text), ["-v"], Audit()),
    "an error nobody expected, with -v": lambda text: cli._failed(KeyError(text), ["-v"], Audit()),
    "a usage error": lambda text: cli._failed(click.UsageError(text), [], Audit()),
    "progress": lambda text: base.Settings.notify(base.Settings(*[None] * 4), text),  # type: ignore[arg-type]
}


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


def traced(*said: Any) -> None:
    log.listener = output.trace
    log.debug(*said)


def noted(text: str) -> VipctlError:
    error = VipctlError("it failed")
    error.add_note(text)
    return error


def poisoned(value: object, escape: str) -> Any:
    """With the escape wherever there is text."""
    if isinstance(value, dict):
        return {poisoned_key(key, escape): poisoned(v, escape) for key, v in value.items()}
    if isinstance(value, list):
        return [poisoned(each, escape) for each in value]
    return value.replace("?", f"we{escape}b") if isinstance(value, str) else value


def poisoned_key(key: str, escape: str) -> str:
    return key.replace("?", f"we{escape}b")


def assert_harmless(text: str) -> None:
    assert "we" in text
    plain = OWN.sub("", text.replace("\r\x1b[K", ""))
    assert all(c.isprintable() for c in re.sub(r"[\n\t]", "", plain)), repr(text)


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("kind", DRAWN)
def test_in_what_is_drawn(kind: str, escape: str) -> None:
    text = DRAWN[kind](poisoned(REPORT, escape))
    assert_harmless(text)
    assert "\x1b[8m" not in text  # it would hide what follows


@pytest.mark.parametrize("escape", ESCAPES)
@pytest.mark.parametrize("kind", SAID)
def test_in_what_is_said(kind: str, escape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "listener", None)
    with redirect_stdout(Terminal()) as stdout, redirect_stderr(Terminal()) as stderr:
        SAID[kind](f"we{escape}b")
    said = stdout.getvalue() + stderr.getvalue()
    assert_harmless(said)
    assert "\x1b[8m" not in said


@pytest.mark.parametrize(
    ("variables", "coloured", "progress"),
    [
        ({"NO_COLOR": "", "TERM": "xterm"}, True, True),
        ({"NO_COLOR": "1", "TERM": "xterm"}, False, True),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_what_the_terminal_cannot_show_is_left_out(
    variables: dict[str, str], coloured: bool, progress: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with redirect_stderr(Terminal()) as said:
        output.warn("web")
        drawn = overview.text(REPORT) + cli_error()
    assert (bool(OWN.search(said.getvalue())), bool(OWN.search(drawn))) == (coloured, coloured)
    with redirect_stderr(Terminal()) as told:
        SAID["progress"]("web")
    assert ("\x1b[K" in told.getvalue()) is progress


def cli_error() -> str:
    with redirect_stderr(Terminal()) as said:
        cli._show(Refused("web"), as_json=False)
    return said.getvalue()
