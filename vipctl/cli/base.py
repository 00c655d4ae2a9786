"""What all commands have in common: the options before them, and how each is made."""

from collections import deque
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from vipctl import __version__, log
from vipctl.cli.audit import Audit
from vipctl.cli.output import printable, styled, tell, trace, watched
from vipctl.errors import UsageError, nearest

if TYPE_CHECKING:
    from vipctl.operate.controller import Controller

STATE_DIR = "/var/lib/vipctl"
WITH_SERVICE_OPTIONS = ("add-range", "add-service", "set-service")
COMMON = ("--json", "--check", "--diff", "-q", "--quiet", "-v", "--verbose")
Part = Callable[[Any], Any]  # click's: of a command
F = TypeVar("F", bound=Callable[..., int | None])
# Of a command that is about to run: its exit code, or None if it is to run here.
Gate = Callable[[click.Context], int | None]


class Begun(NamedTuple):
    """What a command is given beside its words."""

    audit: Audit
    gate: Gate | None


class Settings(NamedTuple):
    """The options before the command."""

    json: bool
    check: bool
    diff: bool
    state_dir: str
    audit: Audit = Audit()
    quiet: bool = False
    gate: Gate | None = None

    def controller(self, *, force: bool = False) -> "Controller":
        from vipctl.operate.controller import Controller

        self.audit.tries = not self.check
        return Controller(
            self.state_dir, check=self.check, force=force, diff=self.diff, notify=self.notify
        )

    def notify(self, text: str) -> None:
        """One line of progress, replaced by the next; nothing where nobody watches."""
        if not (self.json or self.quiet) and watched():
            sign = styled(f"{printable(text)} …", dim=True) if text else ""
            tell(f"\r\x1b[K{sign}", nl=False)


def _directory(text: str) -> str:
    if not text:
        raise UsageError("--state-dir is empty", hint=f"leave it out for {STATE_DIR}")
    return text


def _answer(*words: str, what: str, text: Callable[[click.Context], str]) -> Part:
    """An option that prints a text and exits. Click's own are slow: they look for translations."""

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


class Command(click.Command):
    """Runs if the gate lets it, once its words have been understood."""

    def invoke(self, context: click.Context) -> Any:
        code = context.obj.gate(context) if context.obj.gate else None
        return super().invoke(context) if code is None else code


class Commands(click.Group):
    """Makes only the command that is asked for: making all takes longer than most commands do."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._functions: dict[str, tuple[Part, ...]] = {}

    def of(self, name: str, *parts: Part) -> Callable[[F], F]:
        """Registers a function as a command with these arguments and options.

        The function gets the Settings as its first argument, and may return an exit code.
        """

        def known(function: F) -> F:
            self._functions[name] = (*parts, HELP, click.pass_obj, function)
            return function

        return known

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        """Accepts the options of all commands behind the command too."""
        return super().parse_args(context, _common_first(args))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self._functions:
            raise UsageError(
                f"there is no command {args[0]!r}", hint=nearest(args[0], self._functions)
            )
        return super().resolve_command(context, args)

    def list_commands(self, _context: click.Context) -> list[str]:
        return sorted(self._functions)

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, but by section, and from the functions: no command has been made."""
        from vipctl.cli.sections import SECTIONS

        longest = max(map(len, self._functions))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{n:{longest}}", self._short(n, formatter)) for n in names])

    def _short(self, name: str, formatter: click.HelpFormatter) -> str:
        *_, function = self._functions[name]
        limit = formatter.width - 6 - max(map(len, self._functions))
        return click.Command(name, help=function.__doc__).get_short_help_str(limit)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in self._functions and name not in self.commands:
            *parts, function = self._functions[name]
            made = reduce(lambda made, part: part(made), reversed(parts), function)
            self.command(name, cls=Command, add_help_option=False)(made)
        return super().get_command(context, name)


def _common_first(words: list[str]) -> list[str]:
    first: list[str] = []
    rest: list[str] = []
    left = deque(words)
    while left:
        word = left.popleft()
        if word == "--":
            return [*first, *rest, word, *left]
        if word == "--check" and left and _is_health_check(rest, left[0]):
            rest += [word, left.popleft()]
        elif word == "--state-dir" and left:
            first += [word, left.popleft()]
        elif word in (*COMMON, "--state-dir") or word.startswith("--state-dir="):
            first.append(word)
        else:
            rest.append(word)
    return first + rest


def _is_health_check(before: list[str], value: str) -> bool:
    """Whether `--check VALUE` is an option of a service, and not the one of all commands."""
    if not before or before[0] not in WITH_SERVICE_OPTIONS:
        return False
    import re

    from vipctl.services.checks import KINDS

    return value == "no" or re.split("[:,]", value)[0] in KINDS


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
    help="Where the desired state is kept; each network namespace needs its own.",
)
@click.option("-q", "--quiet", is_flag=True, help="Print warnings and errors, and no report.")
@click.option("-v", "--verbose", is_flag=True, help="Print what is sent to the kernel on stderr.")
@VERSION
@HELP
@click.pass_context
def group(
    context: click.Context,
    as_json: bool,
    check: bool,
    diff: bool,
    state_dir: str,
    quiet: bool,
    verbose: bool,
) -> None:
    """Accept and balance VIPs that this LVS director does not own.

    RANGE is 203.0.113.0/24, 203.0.113.7, 203.0.113.10-203.0.113.99, 2001:db8::/64, @FILE or - for
    standard input; files have one range a line, # starts a comment. Every command is idempotent.

    Exit codes: 0 done, 1 unexpected, 2 usage, 3 refused (of commands that look for something: or
    found), 4 the kernel said no, 5 something missing.
    """
    log.listener = trace if verbose else None
    audit, gate = context.obj
    context.obj = Settings(as_json, check, diff, state_dir, audit, quiet, gate)
