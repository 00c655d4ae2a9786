"""Options that several commands share; those of services are made from their descriptions."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from vipctl.errors import UsageError
from vipctl.services import marks, syntax
from vipctl.services.option import Option, Whose
from vipctl.services.real import FORM
from vipctl.services.service import OPTIONS, Given, every_option, flag

Command = Callable[..., Any]

force = click.option("--force", is_flag=True, help="Also where it may cut the director off.")
ranges = click.argument("ranges", metavar="RANGE…", nargs=-1, required=True)
name = click.argument("name", metavar="NAME")
servers = click.argument("servers", metavar="RIP[:PORT]…", nargs=-1, required=True)
set_servers = click.argument("servers", metavar=f"{FORM}…", nargs=-1, required=True)


def service(command: Command) -> Command:
    """Gathers the service options that were typed into `given`: their values, by field."""
    options = every_option()

    @wraps(command)
    def gather(**words: Any) -> Any:
        typed = {field: words.pop(field) for field in options}
        given = {n: options[n].read(w) for n, w in typed.items() if w not in (None, ())}
        return command(given=given, **words)

    decorated: Command = gather
    for field in reversed(options):
        decorated = _typed(field, options[field])(decorated)
    return decorated


def _typed(field: str, option: Option) -> Callable[[Command], Command]:
    said = flag(field)
    if option.typed is bool:
        return click.option(f"{said}/--no-{said[2:]}", field, default=None, help=option.help)
    if option.choices:
        return click.option(said, field, type=click.Choice(option.choices), help=option.help)
    many = option.typed is list
    return click.option(said, field, multiple=many, metavar=option.metavar, help=option.help)


def target(name: str | None, given: Given) -> str:
    """The service's name; without one, that of the acceptance-only service of the mark."""
    if name is not None:
        return syntax.check_name(name)
    if "fwmark" not in given:
        raise UsageError(
            "no service is named", hint="give --service NAME, or for acceptance only --fwmark MARK"
        )
    for field, option in OPTIONS.items():
        if option.whose is Whose.IPVS and field in given:
            raise UsageError(
                f"--fwmark without --service is acceptance only and takes no {flag(field)}",
                hint="add --service NAME for vipctl to own the IPVS service too",
            )
    return marks.acceptance_name(given["fwmark"])
