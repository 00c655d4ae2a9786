"""The commands: parse, one call, render."""

import json
import sys
from collections.abc import Callable, Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from vipctl import __version__, log
from vipctl.cli import options
from vipctl.cli.output import printable, say, tell, trace, warn
from vipctl.errors import UsageError

if TYPE_CHECKING:
    from vipctl.operate.controller import Controller, Outcome
    from vipctl.services.service import Given

STATE_DIR = "/var/lib/vipctl"
MADE = "the change is made"
Part = Callable[[Any], Any]  # click's: of a command
F = TypeVar("F", bound=Callable[..., None])


class Settings(NamedTuple):
    """What comes before the command."""

    json: bool
    check: bool
    diff: bool
    state_dir: str

    def controller(self, *, force: bool = False) -> "Controller":
        from vipctl.operate.controller import Controller

        return Controller(
            self.state_dir, check=self.check, force=force, diff=self.diff, notify=self.notify
        )

    def notify(self, text: str) -> None:
        """One line of progress, replaced by the next; nothing where nobody watches."""
        if not self.json and sys.stderr is not None and sys.stderr.isatty():
            sign = click.style(f"{printable(text)} …", dim=True) if text else ""
            tell(f"\r\x1b[K{sign}", nl=False)


def _directory(text: str) -> str:
    if not text:
        raise UsageError("--state-dir is empty", hint=f"leave it out for {STATE_DIR}")
    return text


def _answer(*words: str, what: str, text: Callable[[click.Context], str]) -> Part:
    """An option that only says something. To make click's own is to look for their translation."""

    def say_it(context: click.Context, _option: click.Parameter, asked: bool) -> None:
        if asked and not context.resilient_parsing:
            click.echo(text(context))
            context.exit()

    return click.option(
        *words,
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=say_it,
        help=f"Show {what} and exit.",
    )


HELP = _answer("-h", "--help", what="this message", text=click.Context.get_help)
VERSION = _answer("--version", what="the version", text=lambda _: f"vipctl, version {__version__}")


class Commands(click.Group):
    """Makes the command that is asked for: to make them all takes longer than most of them do."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._functions: dict[str, tuple[Part, ...]] = {}

    def of(self, name: str, *parts: Part) -> Callable[[F], F]:
        """A command: its arguments and options, before the function that gets the settings too."""

        def known(function: F) -> F:
            self._functions[name] = (*parts, HELP, click.pass_obj, function)
            return function

        return known

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(self._functions)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, but of functions that no command was made of."""
        limit = formatter.width - 6 - max(map(len, self._functions))
        rows = [
            (name, click.Command(name, help=function.__doc__).get_short_help_str(limit))
            for name, (*_, function) in sorted(self._functions.items())
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in self._functions and name not in self.commands:
            *parts, function = self._functions[name]
            made = reduce(lambda made, part: part(made), reversed(parts), function)
            self.command(name, add_help_option=False)(made)
        return super().get_command(context, name)


@click.group(cls=Commands, add_help_option=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--check", is_flag=True, help="Change nothing, report what would change.")
@click.option("--diff", is_flag=True, help="Show what changes, before and after.")
@click.option(
    "--state-dir",
    callback=lambda _context, _option, text: _directory(text),
    metavar="DIR",
    default=STATE_DIR,
    show_default=True,
    help="Where the desired state is kept; one for each network namespace.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say on stderr what is sent to the kernel.")
@VERSION
@HELP
@click.pass_context
def group(
    context: click.Context, as_json: bool, check: bool, diff: bool, state_dir: str, verbose: bool
) -> None:
    """Accept and balance VIPs that this LVS director does not own.

    RANGE is 203.0.113.0/24, 203.0.113.7, 203.0.113.10-203.0.113.99, 2001:db8::/64, @FILE or - for
    standard input; files have one range a line, # starts a comment. Every command is idempotent.

    Exit codes: 0 done, 1 unexpected, 2 usage, 3 refused, 4 the kernel said no, 5 something missing.
    """
    log.listener = trace if verbose else None
    context.obj = Settings(as_json, check, diff, state_dir)


def _finish(settings: Settings, done: "Outcome") -> None:
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
    if settings.json:
        say(json.dumps(result))
        return
    for warning in result["warnings"]:
        warn(warning)
    if settings.diff:
        say(render.difference(**result["diff"]))
    say(render.outcome(result))


def _show(
    settings: Settings, result: dict[str, Any], draw: Callable[[dict[str, Any]], str]
) -> None:
    from vipctl.cli.render import PENDING

    if settings.json:
        say(json.dumps({"changed": False} | result))
        return
    say(draw(result))
    if result.get("pending"):
        warn(PENDING)


def _print(pieces: Iterable[str]) -> None:
    """What is too much to be there all at once."""
    last = ""
    for piece in pieces:
        say(piece, nl=False)
        last = piece
    say("", nl=not last.endswith("\n"))


@group.of(
    "add-range",
    options.ranges,
    click.option(
        "--service",
        "name",
        metavar="NAME",
        help="Created if it does not exist and options say how.",
    ),
    options.service,
    options.force,
)
def add_range(
    settings: Settings, ranges: tuple[str, ...], name: str | None, given: "Given", force: bool
) -> None:
    """Accept RANGE… for a service.

    With --fwmark and no --service, acceptance only: keepalived or ipvsadm owns the IPVS service.
    """
    from vipctl.operate import rangelist

    target = options.target(name, given)
    wanted = rangelist.read(ranges, settings.notify)
    _finish(settings, settings.controller(force=force).add_range(wanted, target, given))


@group.of(
    "remove-range",
    options.ranges,
    click.option("--service", "name", metavar="NAME", help="Default: whoever holds it."),
)
def remove_range(settings: Settings, ranges: tuple[str, ...], name: str | None) -> None:
    """Accept RANGE… no longer. The last range ends an acceptance-only service."""
    from vipctl.operate import rangelist

    _finish(
        settings, settings.controller().remove_range(rangelist.read(ranges, settings.notify), name)
    )


@group.of("list-ranges", click.option("--service", "name", metavar="NAME"))
def list_ranges(settings: Settings, name: str | None) -> None:
    """Show the accepted ranges, as the shortest list of prefixes; of many, how many.

    --json shows all.
    """
    from vipctl.cli import render
    from vipctl.operate import report

    reporter = report.Reporter(settings.state_dir)
    if settings.json:
        _print(reporter.listing(name))
    else:
        _show(settings, reporter.ranges(name, most=render.MANY), render.ranges)


@group.of("add-service", options.name, options.service, options.force)
def add_service(settings: Settings, name: str, given: "Given", force: bool) -> None:
    """Create a service; without options, one with no real server yet."""
    from vipctl.services import syntax

    syntax.check_name(name)
    _finish(settings, settings.controller(force=force).add_service(name, given))


@group.of("set-service", options.name, options.service, options.force)
def set_service(settings: Settings, name: str, given: "Given", force: bool) -> None:
    """Change the options that are given; --real and --port replace the whole list."""
    if not given:
        raise UsageError("nothing to set", hint="vipctl set-service --help")
    _finish(settings, settings.controller(force=force).set_service(name, given))


@group.of("remove-service", options.name)
def remove_service(settings: Settings, name: str) -> None:
    """End a service and all that it holds."""
    _finish(settings, settings.controller().remove_service(name))


@group.of("list-services")
def list_services(settings: Settings) -> None:
    """Show the services and how they balance."""
    from vipctl.cli import render
    from vipctl.operate import report

    _show(settings, report.Reporter(settings.state_dir).services(), render.services)


@group.of("add-real", options.name, options.set_servers, options.force)
def add_real(settings: Settings, name: str, servers: tuple[str, ...], force: bool) -> None:
    """Add real servers to a service."""
    from vipctl.services.real import parse_reals

    reals = parse_reals(servers)
    _finish(settings, settings.controller(force=force).add_real(name, reals))


@group.of("set-real", options.name, options.set_servers)
def set_real(settings: Settings, name: str, servers: tuple[str, ...]) -> None:
    """Change options of real servers."""
    from vipctl.services.real import parse_changed

    changes = [parse_changed(server) for server in servers]
    _finish(settings, settings.controller().set_real(name, changes))


@group.of("remove-real", options.name, options.servers)
def remove_real(settings: Settings, name: str, servers: tuple[str, ...]) -> None:
    """Remove real servers; their connections end."""
    from vipctl.services import syntax

    endpoints = [syntax.parse_endpoint(server) for server in servers]
    _finish(settings, settings.controller().remove_real(name, endpoints))


@group.of("drain-real", options.name, options.servers)
def drain_real(settings: Settings, name: str, servers: tuple[str, ...]) -> None:
    """Send real servers no new connections (weight 0); open ones go on."""
    from vipctl.services import syntax

    endpoints = [syntax.parse_endpoint(server) for server in servers]
    _finish(settings, settings.controller().drain_real(name, endpoints))


@group.of("apply", click.argument("file"), options.force)
def apply_file(settings: Settings, file: str, force: bool) -> None:
    """Make the whole state what the YAML FILE (- for standard input) says, and nothing else."""
    from pathlib import Path

    from vipctl.operate import document

    _finish(settings, settings.controller(force=force).apply(document.load(Path(file))))


@group.of("export")
def export(settings: Settings) -> None:
    """Print the whole state as YAML for `apply`."""
    from vipctl.operate import report

    _print(report.Reporter(settings.state_dir).export(as_json=settings.json))


@group.of("status")
def status(settings: Settings) -> None:
    """Show services, real servers, counters, and whether the kernel is as stored."""
    from vipctl.cli import render
    from vipctl.operate import report

    _show(settings, report.Reporter(settings.state_dir).status(), render.status)


@group.of(
    "restore",
    click.option("--force", is_flag=True, help="Also where nothing is stored: all VIPs end."),
)
def restore(settings: Settings, force: bool) -> None:
    """Bring the kernel to the stored state: after a boot, or after somebody's flush."""
    _finish(settings, settings.controller(force=force).restore())
