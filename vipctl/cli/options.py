"""Options that several commands share; those of services are made from their descriptions."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from vipctl.errors import UsageError

if TYPE_CHECKING:
    from vipctl.services.option import Option
    from vipctl.services.service import Given

Command = Callable[..., Any]
Words = tuple[str, ...]
_SWITCHED: dict[str, Any] = {"yes": True, "no": False}

force = click.option("--force", is_flag=True, help="Also if it may cut the director off.")
ranges = click.argument("ranges", metavar="RANGE…", nargs=-1, required=True)
name = click.argument("name", metavar="NAME")
ports = click.argument("ports", metavar="PORT…", nargs=-1, required=True)
all_services = click.option(
    "--all-services", is_flag=True, help="In all services that have it, instead of NAME."
)

whose_role = click.option(
    "--service", "name", metavar="NAME", help="Of this service alone; default: of the director."
)


def set_servers(command: Command) -> Command:
    from vipctl.services.real import FORM

    made = click.argument("servers", metavar=f"{FORM}…", nargs=-1, required=True)(command)
    decorated: Command = made
    return decorated


def _of_services(what: str, least: int, most: int | None = None) -> Callable[[Command], Command]:
    """The arguments NAME and real servers; with --all-services, real servers alone."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def split(words: tuple[str, ...], all_services: bool, **more: Any) -> Any:
            name, servers = (None, words) if all_services else (words[0], words[1:])
            if not least <= len(servers) <= (most or len(servers)):
                shown = what if all_services else f"NAME {what}"
                raise UsageError(f"the arguments must be {shown}", hint="see --help")
            return command(name=name, servers=servers, **more)

        made = click.argument("words", metavar=f"NAME {what}", nargs=-1, required=True)(split)
        decorated: Command = made
        return decorated

    return decorate


def set_servers_of(command: Command) -> Command:
    from vipctl.services.real import FORM

    return _of_services(f"{FORM}…", 1)(command)


servers_of = _of_services("RIP[:PORT]…", 1)
old_and_new = _of_services("OLD NEW", 2, 2)


def service(command: Command) -> Command:
    """Adds the service options; the command gets those typed as `given`: values by field."""
    from vipctl.services.options import EVERY_OPTION

    return _given(EVERY_OPTION)(command)


def _given(options: "dict[str, Option]") -> Callable[[Command], Command]:
    """Adds these options; the command gets those typed as `given`: values by field."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def gather(**words: Any) -> Any:
            typed = {field: words.pop(field) for field in options}
            given = {n: options[n].read(w) for n, w in typed.items() if w not in (None, ())}
            return command(given=given, **words)

        decorated: Command = gather
        for field in reversed(options):
            decorated = _typed(field, options[field])(decorated)
        return decorated

    return decorate


def _typed(field: str, option: "Option") -> Callable[[Command], Command]:
    said = option.spelled(field)
    if option.typed is bool:
        return click.option(f"{said}/--no-{said[2:]}", field, default=None, help=option.help)
    if option.choices:
        return click.option(said, field, type=click.Choice(option.choices), help=option.help)
    many = option.typed is list
    return click.option(said, field, multiple=many, metavar=option.metavar, help=option.help)


def routes(command: Command) -> Command:
    """Adds how many of them are announced at `most`, and the `file` of this director's settings."""
    most = click.option(
        "--max-routes",
        "most",
        type=click.IntRange(1, 1_000_000),
        default=1000,
        show_default=True,
        metavar="N",
        help="If the ranges are more prefixes of an IP version, announce up to N that hold them.",
    )
    file = click.option(
        "--local",
        "file",
        metavar="FILE",
        help="YAML with the following, by their names; default /etc/vipctl/ha.yml, if it is there.",
    )
    return most(file(command))


def local(command: Command) -> Command:
    """Adds the settings of one director of several; the command gets those typed as `given`."""
    from vipctl.announcing.local import OPTIONS

    return _given(OPTIONS)(command)


def relay(command: Command) -> Command:
    """Adds the settings of `sync`; the command gets those typed as `given`."""
    from vipctl.relay.settings import OPTIONS

    return _given(OPTIONS)(command)


def alive(command: Command) -> Command:
    """Adds the device of `watch`; the command gets it, with what it needs, as `needs`, or None."""

    @wraps(command)
    def gather(device: str | None, interfaces: Words, services: Words, **words: Any) -> Any:
        from vipctl.operate.fitness import Needs
        from vipctl.services import syntax

        if device is None:
            if interfaces or services:
                raise UsageError("there is no device that needs it", hint="add --alive DEVICE")
            return command(needs=None, **words)
        known = tuple(map(syntax.device, interfaces))
        return command(needs=Needs(syntax.device(device), known, services), **words)

    decorated: Command = gather
    for said, field, metavar, what in (
        ("--needs-service", "services", "NAME", "unless this service has a real server left"),
        ("--needs-interface", "interfaces", "DEVICE", "unless this interface is up"),
    ):
        help_text = f"With --alive, the director is not fit {what}; repeat."
        decorated = click.option(said, field, multiple=True, metavar=metavar, help=help_text)(
            decorated
        )
    return click.option(
        "--alive",
        "device",
        metavar="DEVICE",
        help="Make a tun device that is up while this director is fit, and goes with this process: "
        "for keepalived's track_interface, and routes of BIRD and FRR.",
    )(decorated)


def director(command: Command) -> Command:
    """Adds the director's settings; the command gets those typed as `given`; None: default."""
    from vipctl.services.director import DEFAULT, SETTINGS

    @wraps(command)
    def gather(**words: Any) -> Any:
        typed = {name: words.pop(name) for name in SETTINGS}
        given = {
            name: None if word == DEFAULT else SETTINGS[name].option.read(_SWITCHED.get(word, word))
            for name, word in typed.items()
            if word is not None
        }
        return command(given=given, **words)

    decorated: Command = gather
    for name, setting in reversed(SETTINGS.items()):
        switched = setting.option.typed is bool
        decorated = click.option(
            setting.option.spelled(name),
            name,
            type=click.Choice([*_SWITCHED, DEFAULT]) if switched else str,
            metavar=None if switched else f"{setting.option.metavar}|{DEFAULT}",
            help=setting.option.help,
        )(decorated)
    return decorated


def target(name: str | None, given: "Given") -> "tuple[str, Given]":
    """The service's name and options; without one, the acceptance-only service of the mark."""
    from vipctl.services import marks, syntax

    if name is not None and not name.startswith(marks.ACCEPTANCE_PREFIX):
        return syntax.check_name(name), given
    if name is None and "fwmark" not in given:
        raise UsageError(
            "no service is named", hint="give --service NAME, or for acceptance only --fwmark MARK"
        )
    mark = given["fwmark"] if name is None else syntax.acceptance_mark(name)
    _refuse_balancing(mark, given)
    return marks.acceptance_name(mark), {**given, "fwmark": mark}


def _refuse_balancing(mark: int, given: "Given") -> None:
    """Options that an acceptance-only service of that mark has not."""
    from vipctl.services.options import OPTIONS

    if given.get("fwmark", mark) != mark:
        raise UsageError(
            f"--fwmark {given['fwmark']} is not that of service fwmark-{mark}",
            hint="leave one of them out",
        )
    for field, option in OPTIONS.items():
        if option.ipvs and field in given:
            said = option.spelled(field)
            raise UsageError(
                f"fwmark {mark} without a service is acceptance only and takes no {said}",
                hint="give --service another name for vipctl to own the IPVS service too",
            )
