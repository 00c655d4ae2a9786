"""Refusals that need to know the director: whose addresses must not become VIPs."""

import os
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path

from vipctl import routing
from vipctl.errors import Refused
from vipctl.model import Forward, Held, Service
from vipctl.planner import View
from vipctl.prefixes import AddressSet, IPAddress

MAX_ANCESTORS = 32


def check_ranges(wanted: AddressSet, services: Iterable[Service]) -> None:
    """Raises Refused for a range that would take away what the director lives on."""
    if not wanted:
        return
    for owner, addresses in _precious(services):
        for found in addresses:
            if found in wanted:
                raise Refused(
                    f"the ranges hold {found}, {owner}",
                    hint="leave that address out, or use --force if you mean it",
                )


def check_reals(view: View, before: Service | None, after: Service, *, force: bool) -> None:
    """Raises Refused for new real servers that are VIPs, or on the director where none can be."""
    old = {real.address for real in before.reals} if before else set()
    same_forward = before is not None and before.forward is after.forward
    new = [real.address for real in after.reals if real.address not in old or not same_forward]
    for rip in new:
        held = [h for h in view.touching(rip.version, int(rip), int(rip)) if _covers(h, rip)]
        if held and not force:
            raise Refused(
                f"real server {rip} is a VIP of service {held[0].service!r}",
                hint=f"vipctl remove-range {rip}, or use --force if you mean it",
            )
    if new and after.forward is not Forward.NAT:
        _refuse_local_reals(new, after)


def _refuse_local_reals(reals: Iterable[IPAddress], service: Service) -> None:
    own = routing.addresses()
    for rip in reals:
        if rip in own:
            raise Refused(
                f"real server {rip} is the director itself, which --forward {service.forward} "
                "cannot reach: the packet's destination would still be the VIP",
                hint="use --forward nat for a real server on the director",
            )


def _precious(services: Iterable[Service]) -> Iterator[tuple[str, set[IPAddress]]]:
    reals = {real.address for service in services for real in service.reals}
    yield "an address of this director", routing.addresses()
    yield "a real server", reals
    yield "the default gateway", routing.gateways()
    yield "the peer of your SSH connection", ssh_peers()


def _covers(held: Held, rip: IPAddress) -> bool:
    return held.first <= int(rip) <= held.last


def ssh_peers() -> set[IPAddress]:
    """Peers of the SSH sessions that this command runs in; sudo hides them, ancestors do not."""
    return {peer for text in _environments() for peer in _peer(text)}


def _peer(connection: str) -> Iterator[IPAddress]:
    try:
        yield ip_address(connection.split(maxsplit=1)[0].partition("%")[0])
    except (ValueError, IndexError):
        return


def _environments() -> Iterator[str]:
    """SSH_CONNECTION of this process and its ancestors."""
    if "SSH_CONNECTION" in os.environ:
        yield os.environ["SSH_CONNECTION"]
    pid = os.getppid()
    for _ in range(MAX_ANCESTORS):
        if pid <= 1:
            return
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        for variable in variables:
            if variable.startswith(b"SSH_CONNECTION="):
                yield variable.partition(b"=")[2].decode(errors="replace")
        pid = int(stat.rpartition(")")[2].split()[1])
