"""Options that several commands share."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from vipctl.errors import UsageError
from vipctl.methods import NAMES
from vipctl.services.choices import AUTO, Forward, Leftover

if TYPE_CHECKING:
    from vipctl.operate.asked import Given

Command = Callable[..., Any]
OPTIONS = (
    click.option(
        "--real",
        "reals",
        multiple=True,
        metavar="RIP[:PORT][,weight=N]",
        help="Real server; repeat.",
    ),
    click.option(
        "--scheduler",
        metavar="NAME[,FLAG…]",
        help="rr, wrr, lc, wlc, sh, mh, …; default wlc. Flags of sh and mh: fallback, port.",
    ),
    click.option(
        "--forward",
        type=click.Choice([f.value for f in Forward]),
        help="Forwarding method; default nat.",
    ),
    click.option(
        "--port",
        "ports",
        multiple=True,
        metavar="tcp/80",
        help="Only this port; repeat. 'all' is every port, the default.",
    ),
    click.option(
        "--persistence", metavar="SECONDS", help="Keep a client on its real server; 0: do not."
    ),
    click.option(
        "--method",
        type=click.Choice((AUTO, *NAMES)),
        help="How packets are accepted; default auto, the best here.",
    ),
    click.option(
        "--arp/--no-arp",
        default=None,
        help="Method route: the director answers ARP for the VIPs; default no.",
    ),
    click.option("--to-port", metavar="PORT", help="Method tproxy: where the local proxy listens."),
    click.option(
        "--to-address",
        "to_addresses",
        multiple=True,
        metavar="IP",
        help="Method tproxy: its address, of each IP version one; default any.",
    ),
    click.option("--fwmark", metavar="MARK", help="Default: the lowest free of vipctl's block."),
    click.option(
        "--leftover",
        type=click.Choice([x.value for x in Leftover]),
        help="What IPVS does not take is rejected (default) or dropped.",
    ),
    click.option("--ping/--no-ping", default=None, help="Answer echo requests; default no."),
    click.option(
        "--set-sysctls/--no-set-sysctls",
        default=None,
        help="Set the sysctls that the service needs; default: name them.",
    ),
)
FIELDS = (
    *("reals", "scheduler", "forward", "ports", "persistence", "method", "arp", "to_port"),
    *("to_addresses", "fwmark", "leftover", "ping", "set_sysctls"),
)

force = click.option("--force", is_flag=True, help="Also where it may cut the director off.")
ranges = click.argument("ranges", metavar="RANGE…", nargs=-1, required=True)
name = click.argument("name", metavar="NAME")
servers = click.argument("servers", metavar="RIP[:PORT]…", nargs=-1, required=True)
weighted = click.argument("servers", metavar="RIP[:PORT][,weight=N]…", nargs=-1, required=True)


def service(command: Command) -> Command:
    """Gathers the service options that were typed into `given`, as fields of a Service."""

    @wraps(command)
    def gather(**words: Any) -> Any:
        typed = {field: words.pop(field) for field in FIELDS}
        return command(given=_given(typed), **words)

    decorated: Command = gather
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated


def _given(words: dict[str, Any]) -> "Given":
    from vipctl.services import syntax

    typed = {field: word for field, word in words.items() if word not in (None, ())}
    return {
        field: syntax.READ[field](word) if field in syntax.READ else word
        for field, word in typed.items()
    }


def target(name: str | None, given: "Given") -> str:
    """The service's name; without one, that of the acceptance-only service of the mark."""
    from vipctl.operate.asked import BALANCING
    from vipctl.services import model, syntax

    if name is not None:
        return syntax.check_name(name)
    if "fwmark" not in given:
        raise UsageError(
            "no service is named", hint="give --service NAME, or for acceptance only --fwmark MARK"
        )
    for field in BALANCING:
        if field in given:
            option = {"reals": "--real"}.get(field, f"--{field.replace('_', '-')}")
            raise UsageError(
                f"--fwmark without --service is acceptance only and takes no {option}",
                hint="add --service NAME for vipctl to own the IPVS service too",
            )
    return model.acceptance_name(given["fwmark"])
