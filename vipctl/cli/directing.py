"""Commands for the whole director, and its daemons."""

from typing import TYPE_CHECKING

import click

from vipctl.cli import options
from vipctl.cli.base import Settings, group
from vipctl.cli.result import end, finish
from vipctl.errors import UsageError

if TYPE_CHECKING:
    from vipctl.operate.fitness import Needs
    from vipctl.services.service import Given


@group.of("set-director", options.director)
def set_director(settings: Settings, given: "Given") -> None:
    """Set timeouts and sysctls of IPVS for the whole director.

    'default' puts one back.
    """
    if not given:
        raise UsageError("nothing to set", hint="vipctl set-director --help")
    finish(settings, settings.controller().set_director(given))


@group.of(
    "set-sync",
    click.option("--interface", metavar="DEVICE", required=True, help="On the link of the others."),
    click.option(
        "--id",
        "number",
        type=click.IntRange(1, 255),
        default=1,
        show_default=True,
        metavar="N",
        help="The same on directors that belong together.",
    ),
)
def set_sync(settings: Settings, interface: str, number: int) -> None:
    """Synchronise connections with other directors.

    Each sends its own and takes theirs.

    This is the director's own: apply and export leave it alone.
    """
    from vipctl.services import syntax
    from vipctl.services.sync import Sync

    sync = Sync(syntax.device(interface), number)
    finish(settings, settings.controller().set_sync(sync))


@group.of("remove-sync")
def remove_sync(settings: Settings) -> None:
    """Synchronise connections with other directors no more."""
    finish(settings, settings.controller().set_sync(None))


@group.of("deactivate", options.whose_role)
def deactivate(settings: Settings, name: str | None) -> None:
    """Have this director drop what is for its VIPs.

    Another one accepts it. All else stays.

    It stays passive, whatever other commands do, and over a reboot, until `activate`.
    """
    finish(settings, settings.controller().set_role(name, passive=True))


@group.of("activate", options.whose_role)
def activate(settings: Settings, name: str | None) -> None:
    """Have a passive director accept its VIPs again."""
    finish(settings, settings.controller().set_role(name, passive=False))


@group.of("apply", click.argument("file"), options.force)
def apply_file(settings: Settings, file: str, force: bool) -> None:
    """Make everything as the YAML FILE has it.

    FILE may be - for standard input. What it lacks is removed.
    """
    from pathlib import Path

    from vipctl.operate import document

    finish(settings, settings.controller(force=force).apply(*document.load(Path(file))))


@group.of(
    "restore",
    click.option("--force", is_flag=True, help="Also if nothing is stored: ends all VIPs."),
)
def restore(settings: Settings, force: bool) -> None:
    """Bring the kernel to the stored state.

    After a boot, or after somebody's flush.
    """
    finish(settings, settings.controller(force=force).restore())


@group.of(
    "configure",
    click.argument("daemon", metavar="bird", type=click.Choice(["bird"])),
    click.option(
        "--into",
        "target",
        metavar="FILE",
        default="/etc/bird/vipctl.conf",
        show_default=True,
        help="What bird.conf includes.",
    ),
    click.option(
        "--control",
        metavar="SOCKET",
        default="/run/bird/bird.ctl",
        show_default=True,
        help="Where BIRD is asked.",
    ),
    options.routes,
    options.local,
)
def configure(
    settings: Settings,
    daemon: str,
    target: str,
    control: str,
    most: int,
    file: str | None,
    given: "Given",
) -> None:
    """Have BIRD announce the ranges.

    What `announce --print bird` prints is written, and BIRD takes it.

    As by birdc configure, of which the answer is read. If BIRD refuses it, the file is as before.
    """
    from pathlib import Path

    from vipctl.cli import render
    from vipctl.operate import announcing

    settings.audit.tries = not settings.check

    def made() -> announcing.Snippet:
        return announcing.snippet(settings.state_dir, daemon, file, given, most)

    done = announcing.configured(
        settings.state_dir, made, Path(target), control, check=settings.check
    )
    settings.audit.done("changed" if done.changed else "unchanged")
    end(settings, done.report(diff=settings.diff), render.outcome)


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
    options.alive,
    click.option(
        "--metrics",
        "listener",
        metavar="[ADDR]:PORT",
        help="Answer Prometheus there; without ADDR on 127.0.0.1.",
    ),
    click.option(
        "--vrrp",
        metavar="FIFO",
        help="Have services with --arp, and those of tproxy, follow what keepalived writes there "
        "(vrrp_notify_fifo): active on the master, else passive.",
    ),
)
def watch(
    settings: Settings,
    every: float,
    needs: "Needs | None",
    listener: str | None,
    vrrp: str | None,
) -> None:
    """Run, put back what others change, and check real servers.

    Until it is stopped. With --check, only report it.
    """
    from vipctl.cli.members import answering
    from vipctl.operate.watching import Watching
    from vipctl.services import syntax
    from vipctl.watch import daemon

    if needs and settings.check:
        raise UsageError("--alive makes a device, and --check changes nothing", hint="leave one")
    if vrrp and settings.check:
        raise UsageError("--vrrp changes roles, and --check changes nothing", hint="leave one out")
    place = syntax.listener(listener) if listener else None
    watching = Watching(settings.state_dir, check=settings.check)
    daemon.run(watching, every, needs, place, vrrp, answering.program(settings.state_dir))


@group.of("sync", options.relay)
def sync(settings: Settings, given: "Given") -> None:
    """Run, and carry the connection sync between directors.

    Until it is stopped: IPVS's own to others, and theirs to here.

    Each proves by TLS who it is. First: vipctl sync …; then: vipctl set-sync --interface DEVICE.
    """
    from vipctl.relay import daemon
    from vipctl.relay.settings import made

    if settings.check:
        raise UsageError("sync makes a device, and --check changes nothing", hint="leave one out")
    daemon.run(settings.state_dir, made(given))
