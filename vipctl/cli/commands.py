"""The commands: each parses its words, makes one call, and renders the result."""

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from vipctl.cli import options
from vipctl.cli.base import Settings, group
from vipctl.cli.output import say, warn
from vipctl.errors import UsageError

if TYPE_CHECKING:
    from vipctl.operate.changing import Outcome
    from vipctl.operate.controller import Endpoint
    from vipctl.services.service import Given

MADE = "the change is made"


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
    """Prints piece by piece what would be too large in memory."""
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
        _show(settings, reporter.ranges(name, most=render.MOST_SHOWN), render.ranges)


@group.of("lookup", click.argument("addresses", metavar="ADDRESS…", nargs=-1, required=True))
def lookup(settings: Settings, addresses: tuple[str, ...]) -> None:
    """Show which services have an address, by which range, and whether the kernel has that."""
    from vipctl.addresses import prefixes
    from vipctl.cli import render
    from vipctl.operate import holders

    asked = [prefixes.address(*prefixes.parse_address(text)) for text in addresses]
    _show(settings, holders.lookup(settings.state_dir, asked), render.holders)


@group.of("add-service", options.name, options.service, options.force)
def add_service(settings: Settings, name: str, given: "Given", force: bool) -> None:
    """Create a service; without --real it has no real servers yet."""
    from vipctl.services import syntax

    syntax.check_name(name)
    _finish(settings, settings.controller(force=force).add_service(name, given))


@group.of("set-service", options.name, options.service, options.force)
def set_service(settings: Settings, name: str, given: "Given", force: bool) -> None:
    """Change the options that are given; --real and --port replace the whole list."""
    if not given:
        raise UsageError("nothing to set", hint="vipctl set-service --help")
    _finish(settings, settings.controller(force=force).set_service(name, given))


@group.of("add-port", options.name, options.ports)
def add_port(settings: Settings, name: str, ports: tuple[str, ...]) -> None:
    """Have a service take these ports as well; set-service --port replaces all."""
    from vipctl.services import syntax

    _finish(settings, settings.controller().add_port(name, syntax.parse_ports(ports)))


@group.of("remove-port", options.name, options.ports)
def remove_port(settings: Settings, name: str, ports: tuple[str, ...]) -> None:
    """Have a service take these ports no longer."""
    from vipctl.services import syntax

    _finish(settings, settings.controller().remove_port(name, syntax.parse_ports(ports)))


@group.of("remove-service", click.argument("names", metavar="NAME…", nargs=-1, required=True))
def remove_service(settings: Settings, names: tuple[str, ...]) -> None:
    """Remove services, with their ranges and real servers."""
    _finish(settings, settings.controller().remove_services(names))


@group.of("rename-service", options.name, click.argument("new", metavar="NEW"))
def rename_service(settings: Settings, name: str, new: str) -> None:
    """Give a service another name; nothing changes for its clients."""
    from vipctl.services import syntax

    _finish(settings, settings.controller().rename_service(name, syntax.check_name(new)))


@group.of("move-range", options.ranges, click.option("--to", "name", metavar="NAME", required=True))
def move_range(settings: Settings, ranges: tuple[str, ...], name: str) -> None:
    """Move to a service what other services hold of RANGE…, in one step: no client is refused."""
    from vipctl.operate import rangelist

    wanted = rangelist.read(ranges, settings.notify)
    _finish(settings, settings.controller().move_range(wanted, name))


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


@group.of("set-real", options.set_servers_of, options.all_services)
def set_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Change options of real servers."""
    from vipctl.services.real import parse_changed

    changes = [parse_changed(server) for server in servers]
    _finish(settings, settings.controller().set_real(name, changes))


@group.of("remove-real", options.servers_of, options.all_services)
def remove_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Remove real servers; their connections end."""
    _finish(settings, settings.controller().remove_real(name, _endpoints(servers)))


@group.of("drain-real", options.servers_of, options.all_services)
def drain_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Send real servers no new connections (weight 0); open ones go on."""
    _finish(settings, settings.controller().drain_real(name, _endpoints(servers)))


@group.of("undrain-real", options.servers_of, options.all_services)
def undrain_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Give drained real servers the weight back that they had."""
    _finish(settings, settings.controller().undrain_real(name, _endpoints(servers)))


@group.of("replace-real", options.old_and_new, options.all_services)
def replace_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Replace a real server by another, which has the same options."""
    from vipctl.services.real import parse_endpoint_and_settings

    (old,), new = _endpoints(servers[:1]), parse_endpoint_and_settings(servers[1])
    _finish(settings, settings.controller().replace_real(name, old, new))


def _endpoints(servers: Iterable[str]) -> "list[Endpoint]":
    from vipctl.services import syntax

    return [syntax.parse_endpoint(server) for server in servers]


@group.of("set-director", options.director)
def set_director(settings: Settings, given: "Given") -> None:
    """Set timeouts and sysctls of IPVS for the whole director; 'default' puts one back."""
    if not given:
        raise UsageError("nothing to set", hint="vipctl set-director --help")
    _finish(settings, settings.controller().set_director(given))


@group.of("apply", click.argument("file"), options.force)
def apply_file(settings: Settings, file: str, force: bool) -> None:
    """Make the whole state as in the YAML FILE (- for standard input); what it lacks is removed."""
    from pathlib import Path

    from vipctl.operate import document

    _finish(settings, settings.controller(force=force).apply(*document.load(Path(file))))


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
    click.option("--force", is_flag=True, help="Also if nothing is stored: ends all VIPs."),
)
def restore(settings: Settings, force: bool) -> None:
    """Bring the kernel to the stored state: after a boot, or after somebody's flush."""
    _finish(settings, settings.controller(force=force).restore())


@group.of(
    "watch",
    click.option(
        "--every",
        type=click.FloatRange(0.1, 3600),
        default=2.0,
        show_default=True,
        metavar="SECONDS",
        help="Look so often at what the kernel does not announce: IPVS, sysctls, ipsets.",
    ),
)
def watch(settings: Settings, every: float) -> None:
    """Run until stopped, and put back whatever others change. With --check, only report it."""
    from vipctl.operate.watching import Watching
    from vipctl.watch import daemon

    daemon.run(Watching(settings.state_dir, check=settings.check), every)
