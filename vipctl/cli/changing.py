"""Commands that change services, their VIPs and real servers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from vipctl.cli import options
from vipctl.cli.base import Settings, group
from vipctl.cli.result import finish
from vipctl.errors import UsageError

if TYPE_CHECKING:
    from vipctl.operate.controller import Endpoint
    from vipctl.services.service import Given


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
    It is called fwmark-MARK.
    """
    from vipctl.operate import rangelist

    target, given = options.target(name, given)
    wanted = rangelist.read(ranges, settings.notify)
    finish(settings, settings.controller(force=force).add_range(wanted, target, given))


@group.of(
    "remove-range",
    options.ranges,
    click.option("--service", "name", metavar="NAME", help="Default: whoever holds it."),
)
def remove_range(settings: Settings, ranges: tuple[str, ...], name: str | None) -> None:
    """Accept RANGE… no longer. The last range ends an acceptance-only service."""
    from vipctl.operate import rangelist

    finish(
        settings, settings.controller().remove_range(rangelist.read(ranges, settings.notify), name)
    )


@group.of("add-service", options.name, options.service, options.force)
def add_service(settings: Settings, name: str, given: "Given", force: bool) -> None:
    """Create a service, which has no VIPs yet."""
    from vipctl.services import syntax

    syntax.check_name(name)
    finish(settings, settings.controller(force=force).add_service(name, given))


@group.of("set-service", options.name, options.service, options.force)
def set_service(settings: Settings, name: str, given: "Given", force: bool) -> None:
    """Change options of a service.

    --real and --port replace the whole list.
    """
    if not given:
        raise UsageError("nothing to set", hint="vipctl set-service --help")
    finish(settings, settings.controller(force=force).set_service(name, given))


@group.of("add-port", options.name, options.ports)
def add_port(settings: Settings, name: str, ports: tuple[str, ...]) -> None:
    """Have a service take these ports as well.

    set-service --port replaces all that it has.
    """
    from vipctl.services import syntax

    finish(settings, settings.controller().add_port(name, syntax.parse_ports(ports)))


@group.of("remove-port", options.name, options.ports)
def remove_port(settings: Settings, name: str, ports: tuple[str, ...]) -> None:
    """Have a service take these ports no longer."""
    from vipctl.services import syntax

    finish(settings, settings.controller().remove_port(name, syntax.parse_ports(ports)))


@group.of("remove-service", click.argument("names", metavar="NAME…", nargs=-1, required=True))
def remove_service(settings: Settings, names: tuple[str, ...]) -> None:
    """Remove services, with their ranges and real servers."""
    finish(settings, settings.controller().remove_services(names))


@group.of("rename-service", options.name, click.argument("new", metavar="NEW"))
def rename_service(settings: Settings, name: str, new: str) -> None:
    """Give a service another name; its clients notice nothing."""
    from vipctl.services import syntax

    finish(settings, settings.controller().rename_service(name, syntax.check_name(new)))


@group.of("move-range", options.ranges, click.option("--to", "name", metavar="NAME", required=True))
def move_range(settings: Settings, ranges: tuple[str, ...], name: str) -> None:
    """Give a service what others have of RANGE…, in one step.

    No client is refused meanwhile.
    """
    from vipctl.operate import rangelist

    wanted = rangelist.read(ranges, settings.notify)
    finish(settings, settings.controller().move_range(wanted, name))


@group.of("add-real", options.name, options.set_servers, options.force)
def add_real(settings: Settings, name: str, servers: tuple[str, ...], force: bool) -> None:
    """Add real servers to a service."""
    from vipctl.services.real import parse_reals

    reals = parse_reals(servers)
    finish(settings, settings.controller(force=force).add_real(name, reals))


@group.of("set-real", options.set_servers_of, options.all_services)
def set_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Change options of real servers."""
    from vipctl.services.real import parse_changed

    changes = [parse_changed(server) for server in servers]
    finish(settings, settings.controller().set_real(name, changes))


@group.of("remove-real", options.servers_of, options.all_services)
def remove_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Remove real servers; their connections end."""
    finish(settings, settings.controller().remove_real(name, _endpoints(servers)))


@group.of("drain-real", options.servers_of, options.all_services)
def drain_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Send real servers no new clients; open connections go on."""
    finish(settings, settings.controller().drain_real(name, _endpoints(servers)))


@group.of("undrain-real", options.servers_of, options.all_services)
def undrain_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Give drained real servers the weight back that they had."""
    finish(settings, settings.controller().undrain_real(name, _endpoints(servers)))


@group.of("replace-real", options.old_and_new, options.all_services)
def replace_real(settings: Settings, name: str | None, servers: tuple[str, ...]) -> None:
    """Replace a real server by another with the same options."""
    from vipctl.services.real import parse_endpoint_and_settings

    (old,), new = _endpoints(servers[:1]), parse_endpoint_and_settings(servers[1])
    finish(settings, settings.controller().replace_real(name, old, new))


def _endpoints(servers: Iterable[str]) -> "list[Endpoint]":
    from vipctl.services import syntax

    return [syntax.parse_endpoint(server) for server in servers]
