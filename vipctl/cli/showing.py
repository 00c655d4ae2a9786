"""The commands that show something: each makes one call, and renders what that returns."""

from typing import TYPE_CHECKING

import click

from vipctl.cli import options
from vipctl.cli.base import Settings, group
from vipctl.cli.output import say, warn
from vipctl.cli.result import show, show_json, stream
from vipctl.errors import Refused, UsageError

if TYPE_CHECKING:
    from vipctl.services.service import Given

DAEMONS = ("bird", "frr", "keepalived")  # that snippets are for
WATCHING = (0.1, 60)  # seconds, at least and at most
KINDS = ("ipvsadm", "keepalived")  # of files that are imported


@group.of("list-ranges", click.option("--service", "name", metavar="NAME"))
def list_ranges(settings: Settings, name: str | None) -> None:
    """Show the VIPs, as the shortest list of prefixes.

    Of many, how many.

    --json shows all.
    """
    from vipctl.cli import render
    from vipctl.operate import report

    reporter = report.Reporter(settings.state_dir)
    if settings.json:
        stream(reporter.listing(name))
    else:
        show(settings, reporter.ranges(name, most=render.MOST_SHOWN), render.ranges)


@group.of("lookup", click.argument("addresses", metavar="ADDRESS…", nargs=-1, required=True))
def lookup(settings: Settings, addresses: tuple[str, ...]) -> None:
    """Show who has an address: in the state, and in the kernel."""
    from vipctl.addresses import prefixes
    from vipctl.cli import render
    from vipctl.operate import holders

    asked = [prefixes.address(*prefixes.parse_address(text)) for text in addresses]
    show(settings, holders.lookup(settings.state_dir, asked), render.holders)


@group.of(
    "explain",
    click.argument("address"),
    click.argument("port", metavar="[tcp/80]", required=False),
    click.option("--from", "client", metavar="CLIENT", help="Who asks; default: anybody."),
    click.option("--in", "device", metavar="DEVICE", help="By which interface packets arrive."),
    click.option("--probe", is_flag=True, help="Ask the real servers: send a few packets."),
    click.option("--watch", metavar="10s", help="Wait for a packet, and say where it ended."),
)
def explain(
    settings: Settings,
    address: str,
    port: str | None,
    client: str | None,
    device: str | None,
    *,
    probe: bool,
    watch: str | None,
) -> int:
    """Say why a VIP does not answer.

    Exit with 3 if a cause is found.

    The way of a client's packet, step by step. Without --probe nothing is sent, and without both
    nothing is changed.
    """
    from vipctl.addresses import prefixes
    from vipctl.cli import render
    from vipctl.cli.ending import as_interrupts
    from vipctl.diagnosis import explain as diagnosis
    from vipctl.services import syntax

    vip = prefixes.address(*prefixes.parse_address(address))
    who = prefixes.address(*prefixes.parse_address(client)) if client else None
    wanted = syntax.parse_port(port) if port else None
    seconds = syntax.seconds(watch, *WATCHING) if watch else 0
    if seconds:
        settings.notify(f"waiting for a packet, up to {seconds:g} s")
    with as_interrupts():
        found = diagnosis.explain(
            settings.state_dir, vip, wanted, who, device, probe=probe, watch=seconds
        )
    if seconds:
        settings.notify("")
    show(settings, found, render.explanation)
    return Refused.exit_code if found["causes"] else 0


@group.of("doctor")
def doctor(settings: Settings) -> int:
    """Say what ails this director, whichever VIP it is.

    Exit with 3 if anything does.

    Settings of other daemons, the kernel, what starts at boot. Nothing is sent or changed.
    """
    from vipctl.cli import render
    from vipctl.diagnosis import doctor as diagnosis

    found = diagnosis.examine(settings.state_dir)
    show(settings, found, render.examination)
    return Refused.exit_code if found["causes"] else 0


@group.of("list-services")
def list_services(settings: Settings) -> None:
    """Show the services and how they balance."""
    from vipctl.cli import render
    from vipctl.operate import report

    show(settings, report.Reporter(settings.state_dir).services(), render.services)


@group.of(
    "import",
    click.argument("kind", metavar="ipvsadm|keepalived", type=click.Choice(KINDS)),
    click.argument("file"),
)
def import_file(settings: Settings, kind: str, file: str) -> None:
    """Print a file of ipvsadm's or keepalived's, for `apply`.

    FILE is what ipvsadm -Sn prints, or keepalived.conf. What vipctl cannot have is told.
    """
    from pathlib import Path

    from vipctl.operate import importing

    draft = importing.draft(kind, Path(file))
    if settings.json:
        show_json({**draft.document, "left_out": draft.left_out})
        return
    for line in draft.left_out:
        warn(line)
    say(draft.text(), nl=False)


@group.of("export")
def export(settings: Settings) -> None:
    """Print the whole state as YAML for `apply`."""
    from vipctl.operate import report

    stream(report.Reporter(settings.state_dir).export(as_json=settings.json))


@group.of(
    "status",
    click.argument("names", metavar="[NAME]…", nargs=-1),
    click.option(
        "--exit-code",
        "telling",
        is_flag=True,
        help="Exit with 3 unless the kernel is as stored.",
    ),
    click.option("--watch", is_flag=True, help="Show what is counted each second, until q."),
)
def status(settings: Settings, names: tuple[str, ...], telling: bool, watch: bool) -> int:
    """Show services, counters, and what is not as stored.

    Of services NAME…, or of all. Not every prefix is compared: restore does that.
    """
    if watch:
        return _watch(settings, names, telling=telling)
    from vipctl.cli import overview
    from vipctl.operate import report

    found = report.Reporter(settings.state_dir).status(names)
    show(settings, found, overview.text)
    return Refused.exit_code if telling and found["kernel"] != "as stored" else 0


def _watch(settings: Settings, names: tuple[str, ...], *, telling: bool) -> int:
    if telling or settings.json or settings.quiet:
        raise UsageError(
            "--watch does not go with --exit-code, --json or -q",
            hint="vipctl metrics is for programs",
        )
    from vipctl.cli.live import loop

    loop.watch(settings.state_dir, names)
    return 0


@group.of("diff", click.argument("file"))
def diff(settings: Settings, file: str) -> int:
    """Say what another director has otherwise.

    Exit with 3 if anything.

    FILE (- for standard input) is what export, or --json status, printed there. What only one of
    them has by right, such as the method, is not compared.
    """
    from pathlib import Path

    from vipctl.cli import render
    from vipctl.operate import comparing

    found = comparing.with_file(settings.state_dir, Path(file))
    show(settings, found._asdict(), render.comparison)
    return 0 if found.equal else Refused.exit_code


@group.of("list-checks", click.option("--service", "name", metavar="NAME"))
def list_checks(settings: Settings, name: str | None) -> None:
    """Show what checks found of real servers, and since when."""
    from vipctl.cli import render
    from vipctl.operate import judged

    show(settings, judged.checks(settings.state_dir, name), render.checks)


@group.of(
    "metrics",
    click.option(
        "--textfile", "file", metavar="FILE", help="Replace FILE instead, for node_exporter."
    ),
)
def metrics(settings: Settings, file: str | None) -> None:
    """Print what is measured here, as Prometheus reads it."""
    from vipctl.operate import exposition, measuring

    if file:
        exposition.write(settings.state_dir, file)
    if settings.json:
        show_json(measuring.report(settings.state_dir))
    elif not file:
        say(exposition.text(settings.state_dir), nl=False)


@group.of(
    "log",
    click.option(
        "--last",
        "most",
        type=click.IntRange(1, 1_000_000),
        default=50,
        show_default=True,
        metavar="N",
        help="At most so many.",
    ),
)
def show_log(settings: Settings, most: int) -> None:
    """Show who changed what, or tried to, and what came of it."""
    from vipctl.cli import render
    from vipctl.watch import entries

    found = entries.last(most)
    show(settings, {"entries": [one._asdict() for one in found]}, render.log)


@group.of(
    "announce",
    click.option(
        "--print", "kind", metavar="|".join(DAEMONS), type=click.Choice(DAEMONS), required=True
    ),
    options.routes,
    options.local,
)
def announce(settings: Settings, kind: str, most: int, file: str | None, given: "Given") -> None:
    """Print what leads the ranges here, for a routing daemon."""
    from vipctl.operate import announcing

    found = announcing.snippet(settings.state_dir, kind, file, given, most)
    if settings.json:
        show_json(found.report())
        return
    for warning in found.warnings:
        warn(warning)
    say(found.text, nl=False)
