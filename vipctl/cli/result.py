"""How each command ends: its result, in words or as JSON."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from vipctl.cli.base import Settings
from vipctl.cli.output import fitted, say, warn

if TYPE_CHECKING:
    from vipctl.operate.changing import Outcome

MADE = "the change is made"


def finish(settings: Settings, done: "Outcome") -> None:
    settings.audit.done("changed" if done.changed else "unchanged")
    try:
        _report(settings, done)
    except (Exception, KeyboardInterrupt) as e:
        if done.changed and not settings.check:
            e.add_note(MADE)
        raise


def _report(settings: Settings, done: "Outcome") -> None:
    from vipctl.cli import render
    from vipctl.operate import outcome

    result = outcome.report(done, check=settings.check, diff=settings.diff)
    settings.notify("")
    end(settings, result, render.outcome)


def end(settings: Settings, result: dict[str, Any], draw: Callable[[dict[str, Any]], str]) -> None:
    """What a command prints that changes something."""
    from vipctl.cli import render
    from vipctl.operate import printed

    if settings.json:
        say_json(printed.printed(result))
        return
    for warning in result["warnings"]:
        warn(warning)
    if settings.quiet:
        return
    if "diff" in result:
        say(render.difference(**result["diff"]))
    say(fitted(draw(result)))


def show(settings: Settings, result: dict[str, Any], draw: Callable[[dict[str, Any]], str]) -> None:
    from vipctl.cli.render import PENDING

    if settings.json:
        show_json(result)
        return
    if not settings.quiet:
        say(fitted(draw(result)))
    if result.get("pending"):
        warn(PENDING)


def show_json(result: dict[str, Any]) -> None:
    """What a command prints that only looks."""
    from vipctl.operate.printed import looked

    say_json(looked(result))


def say_json(result: dict[str, Any]) -> None:
    import json

    say(json.dumps(result))


def stream(pieces: Iterable[str]) -> None:
    """Prints piece by piece what would be too large in memory."""
    last = ""
    for piece in pieces:
        say(piece, nl=False)
        last = piece
    say("", nl=not last.endswith("\n"))
