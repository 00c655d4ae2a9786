"""One virtual service's options and real servers, read as those of services of ours. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from vipctl.addresses import prefixes
from vipctl.errors import VipctlError
from vipctl.importing.found import Note, Server, Vip, Virtual
from vipctl.services.checks import Check
from vipctl.services.options import OPTIONS
from vipctl.services.real import BOTH, RealServer, parse_real, real_key
from vipctl.services.values import AllDown, Persistence, Scheduler

Reals = dict[tuple[int, int, int], RealServer]  # by real_key


class Read(NamedTuple):
    """What it has, whosoever's packets it gets. The fallback says how it is reached, as typed."""

    scheduler: Scheduler
    persistence: Persistence
    reals: tuple[RealServer, ...]
    checks: tuple[Check, ...] = ()
    dead_after: int = 0
    all_down: AllDown = AllDown.KEEP
    fallback: RealServer | None = None

    def alike(self, other: "Read") -> bool:
        """Whether both may be halves of one service, for IPv4 and IPv6."""
        return self.scheduler == other.scheduler and _unmasked(self) == _unmasked(other)

    def with_half(self, other: "Read", version: int) -> tuple["Read", list[RealServer]]:
        """As one service; and the other's real servers that this one has, with other options."""
        masks = {4: "mask", 6: "mask6"}
        mask = {masks[version]: getattr(other.persistence, masks[version])}
        persistence = self.persistence._replace(**mask)
        reals, refused = _united(self.reals, other.reals)
        checks = tuple(check for check in self.checks if check in other.checks)
        return self._replace(persistence=persistence, reals=reals, checks=checks), refused

    def unlike(self, other: "Read") -> Iterator[str]:
        """What both halves have in different ways, in keepalived's words; this one's way counts."""
        if self.fallback != other.fallback:
            yield "sorry_server"
        if self.dead_after != other.dead_after:
            yield "inhibit_on_failure"


def _united(
    some: Iterable[RealServer], others: Iterable[RealServer]
) -> tuple[tuple[RealServer, ...], list[RealServer]]:
    """Those of IPv4 and of IPv6; what both halves have serves both families."""
    found, refused = {real_key(one): one for one in some}, list[RealServer]()
    for one in others:
        key, both = real_key(one), one._replace(family=BOTH)
        if key not in found:
            found[key] = one
        elif found[key]._replace(family=BOTH) == both:
            found[key] = both
        else:
            refused.append(one)
    return tuple(found.values()), refused


def _unmasked(read: Read) -> Persistence:
    return read.persistence._replace(mask=32, mask6=128)


class Reading:
    """Whatever cannot be had is noted and left out."""

    def __init__(self, notes: list[Note]) -> None:
        self._notes = notes

    def read(self, virtual: Virtual) -> Read | None:
        try:
            _refuse_reserved(virtual)
            given = {name: OPTIONS[name].read(word) for name, word in virtual.words.items()}
        except VipctlError as e:
            self._notes.append(Note(virtual.place, str(virtual.target), f"left out: {e.message}"))
            return None
        own = any(not check.port for check in given.get("checks", ()))
        reals = self._reals(virtual, own=own)
        fallback = self._fallback(virtual, reals)
        return Read(**given, reals=tuple(reals.values()), fallback=fallback)

    def _reals(self, virtual: Virtual, *, own: bool) -> Reals:
        """With ports of their `own` where checks ask these."""
        found: Reals = {}
        for server in virtual.servers:
            one = self._one(virtual, server, own=own)
            if one and found.setdefault(real_key(one), one) is not one:
                self._note(virtual, server, "is there twice; the first counts")
        return found

    def _fallback(self, virtual: Virtual, reals: Reals) -> RealServer | None:
        server = virtual.fallback
        one = self._one(virtual, server, own=False) if server else None
        if server and one and real_key(one) in reals:
            self._note(virtual, server, "left out: it is one of the real servers")
            return None
        return one

    def _one(self, virtual: Virtual, server: Server, *, own: bool) -> RealServer | None:
        version = virtual.target.version
        if server.address.version != version and server.words["forward"] != "tun":
            why = f"left out: only a tunnel takes IPv{version} clients to it"
            self._note(virtual, server, why)
            return None
        try:
            return parse_real(self._text(virtual, server, own=own))
        except VipctlError as e:
            self._note(virtual, server, f"left out: {e.message}")
            return None

    def _text(self, virtual: Virtual, server: Server, *, own: bool) -> str:
        """As an operator would type it."""
        port = server.port if own else self._port(virtual, server)
        endpoint = RealServer(server.address, port).endpoint
        words = [endpoint, *(f"{key}={word}" for key, word in server.words.items())]
        if server.address.version != virtual.target.version:
            words.append(f"family={BOTH}")
        return ",".join(words)

    def _port(self, virtual: Virtual, server: Server) -> int:
        """0 where it is the client's."""
        port = virtual.target.port if isinstance(virtual.target, Vip) else 0
        if server.port in (0, port):
            return 0
        if server.words["forward"] == "nat":
            return server.port
        self._note(virtual, server, f"without port {server.port}, which only nat can translate to")
        return 0

    def _note(self, virtual: Virtual, server: Server, why: str) -> None:
        what = "sorry_server" if server is virtual.fallback else "real server"
        self._notes.append(Note(server.place, f"{what} {server.address}", why))


def _refuse_reserved(virtual: Virtual) -> None:
    if isinstance(virtual.target, Vip):
        _, version, span, _ = virtual.target
        prefixes.refuse_reserved(prefixes.span_text(version, span), version, span)
