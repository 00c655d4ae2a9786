"""Refusals that need to know the director: whose addresses must not become VIPs."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from ipaddress import ip_address

from vipctl import files
from vipctl.addresses.prefixes import VERSIONS, AddressSet, IPAddress
from vipctl.addresses.spans import Spans
from vipctl.errors import Refused
from vipctl.linux import sysctl
from vipctl.linux.routing import ways
from vipctl.services.change import Change, Held
from vipctl.services.planner import View
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import AUTO, Forward

MAX_ANCESTORS = 32


def check_ranges(wanted: AddressSet, services: Iterable[Service]) -> None:
    """Raises Refused for ranges with an address that the director needs: see `precious`."""
    if not wanted:
        return
    for owner, addresses in precious(services):
        for found in addresses:
            if found in wanted:
                raise Refused(
                    f"the ranges hold {found}, {owner}",
                    hint="leave that address out, or use --force if you mean it",
                )


def check_reals(
    holder: Callable[[IPAddress], str | None],
    before: Service | None,
    after: Service,
    *,
    force: bool,
) -> None:
    """Raises Refused for new real servers that are VIPs, or cannot work for this service.

    `holder` names the service that holds an address, if one does.
    """
    if before == after:
        return
    _refuse_undrainable(after)
    if not force:
        check_sources(after)
    old = {(r.address, before.forward_of(r)) for r in before.servers} if before else set()
    new = [real for real in after.servers if (real.address, after.forward_of(real)) not in old]
    for rip in (real.address for real in new):
        if not force and (name := holder(rip)):
            raise Refused(
                f"real server {rip} is a VIP of service {name!r}",
                hint=f"vipctl remove-range {rip}, or use --force if you mean it",
            )
    _refuse_local_reals(new, after)
    if not force:
        _refuse_remote_reals(new, after)


def check_sources(after: Service) -> None:
    """Raises Refused for a --source-nat address not the director's: answers would not come back."""
    own = ways.addresses() if any(a != AUTO for a in after.source_nat) else set()
    for address in after.source_nat:
        if address != AUTO and address not in own:
            raise Refused(
                f"--source-nat {address}: that is no address of this director, so that answers "
                "would not come back to it",
                hint=f"ip address add {address} dev …; or --source-nat auto",
            )


def check_arp(view: View, change: Change) -> None:
    """Raises Refused for VIPs that are addresses of the director and would get no ARP answers."""
    silent = [service for service in change.after if service.silent]
    for own in ways.addresses() if silent else ():
        for service in silent:
            mine = {p: s for p, s in change.taken.items() if p.service == service.name}
            taken = _holder(mine, own) is not None
            if own.version == 4 and (taken or stored_holder(view, own) == service.name):
                raise Refused(
                    f"service {service.name!r} would hold {own}, an address of this director, and "
                    "the director not answer ARP for it",
                    hint="add --arp, use another method, or leave that address out",
                )


def stored_holder(view: View, address: IPAddress) -> str | None:
    """The name of the stored service that holds an address, if any."""
    value = int(address)
    return _holder(view.touching(Spans.from_pairs(address.version, [(value, value)])), address)


def holder_of(
    wanted: Mapping[str, tuple[Service, AddressSet]],
) -> Callable[[IPAddress], str | None]:
    """A function like `stored_holder` for the wanted services; fast if no service has it."""
    everything = cache(lambda: _all_of(wanted))

    def holder(address: IPAddress) -> str | None:
        if address not in everything():
            return None
        return next(name for name, (_, held) in wanted.items() if address in held)

    return holder


def _all_of(wanted: Mapping[str, tuple[Service, AddressSet]]) -> AddressSet:
    return AddressSet(
        *(
            Spans.of(version, b"".join(held.spans(version).data for _, held in wanted.values()))
            for version in VERSIONS
        )
    )


def _holder(held: Held, address: IPAddress) -> str | None:
    found = (
        place.service
        for place, spans in held.items()
        if place.version == address.version and spans.holds(int(address))
    )
    return next(found, None)


def _refuse_undrainable(service: Service) -> None:
    """Raises Refused if weight 0 would cut clients off, or not keep them from the server."""
    drained = [real.endpoint for real in service.reals if not real.weight]
    if not drained:
        return
    if not service.scheduler.drains():
        name = "mh" if service.scheduler.name == "mh" else "sh"
        raise Refused(
            f"{drained[0]} has weight 0, and scheduler {service.scheduler} refuses the clients of "
            "such a server instead of sending them to another",
            hint=f"use --scheduler {name},fallback",
        )
    expiry = "net.ipv4.vs.expire_quiescent_template"
    if service.persistence.seconds and not service.set_sysctls and sysctl.read(expiry) != "1":
        raise Refused(
            f"{drained[0]} has weight 0, and service {service.name!r} is persistent: without "
            f"{expiry}=1 its clients would stay on it",
            hint=f"sysctl -w {expiry}=1, or vipctl set-service {service.name} --set-sysctls",
        )


def _refuse_local_reals(reals: Iterable[RealServer], service: Service) -> None:
    direct = [real for real in reals if service.forward_of(real) is not Forward.NAT]
    own = ways.addresses() if direct else ()
    for real in direct:
        if real.address in own:
            raise Refused(
                f"real server {real.address} is the director itself, which "
                f"--forward {service.forward_of(real)} "
                "cannot reach: the packet's destination would still be the VIP",
                hint="use --forward nat for a real server on the director",
            )


def _refuse_remote_reals(reals: Iterable[RealServer], service: Service) -> None:
    """A gateway routes such a packet by its destination, the VIP: back, until its TTL ends."""
    for rip in (real.address for real in reals if service.forward_of(real) is Forward.DR):
        if gateway := ways.gateway_to(rip):
            raise Refused(
                f"real server {rip} is behind {gateway}, and --forward dr leaves "
                f"the VIP as the packet's destination: {gateway} would send it back",
                hint="use --forward tun or nat, a real server on a network that this director is "
                "connected to, or --force if that gateway knows better",
            )


def precious(services: Iterable[Service]) -> Iterator[tuple[str, set[IPAddress]]]:
    """Whose addresses must not become VIPs, in words, and which these are."""
    reals = {real.address for service in services for real in service.servers}
    yield "an address of this director", ways.addresses()
    yield "a real server", reals
    yield "the default gateway", ways.gateways()
    yield "the peer of your SSH connection", ssh_peers()


def ssh_peers() -> set[IPAddress]:
    """Peers of the SSH sessions that this command runs in; below sudo, only ancestors know."""
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
            variables = files.text(f"/proc/{pid}/environ").split("\0")
            stat = files.text(f"/proc/{pid}/stat")
        except OSError:
            return
        for variable in variables:
            if variable.startswith("SSH_CONNECTION="):
                yield variable.partition("=")[2]
        pid = int(stat.rpartition(")")[2].split()[1])
