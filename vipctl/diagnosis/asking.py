"""Whose packet it is: a client's, by the device that it arrives by."""

import _socket
from collections.abc import Container, Iterable

from vipctl.addresses.prefixes import IPAddress
from vipctl.errors import Refused, UsageError
from vipctl.linux.routing import rules, ways
from vipctl.linux.routing.ways import Own
from vipctl.operate import arrival

FROM = "name a client, and the interface that its packets arrive by: --from CLIENT --in DEVICE"


def sender(
    vip: IPAddress,
    client: IPAddress | None,
    name: str | None,
    own: list[Own],
    reals: Iterable[IPAddress],
) -> tuple[IPAddress, int]:
    """A client and its device, 0 if the director itself asks; each as it is named, if it is.

    A client that nobody names is not beside the real servers, if there is another one. Raises
    UsageError or Refused.
    """
    if client and client.version != vip.version:
        raise UsageError(f"{client} cannot ask {vip}", hint="name a client of the same IP version")
    device = _number(name) if name else None
    if client is None:
        return _somebody(vip.version, device, own, {ways.device_to(real) for real in reals})
    if device is None and any(found.address == client for found in own):
        return client, 0
    toward = device or ways.device_to(client)
    return client, toward or _somebody(vip.version, None, own, set())[1]


def _somebody(
    version: int, device: int | None, own: list[Own], beside: Container[int | None]
) -> tuple[IPAddress, int]:
    """A client behind a default route; without one, a neighbour, `beside` these devices last."""
    hops = ways.defaults(ways.tables_of(rules.read()))
    known = arrival.sources(version, hops, own)
    for found, client in sorted(known, key=lambda source: source[0] in beside):
        if device in (None, found):
            return client, found
    raise Refused(f"no IPv{version} client is known whose packets would arrive", hint=FROM)


def _number(name: str) -> int:
    try:
        return _socket.if_nametoindex(name)
    except OSError as e:
        raise UsageError(f"there is no interface {name!r}", hint="as ip link names it") from e
