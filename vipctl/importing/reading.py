"""One virtual service's options and real servers, read as those of services of ours. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

from vipctl.addresses import prefixes
from vipctl.errors import VipctlError
from vipctl.importing.found import Note, Server, Vip, Virtual
from vipctl.services.options import OPTIONS
from vipctl.services.real import BOTH, RealServer, parse_real, real_key
from vipctl.services.values import Persistence, Scheduler


class Read(NamedTuple):
    """What it has, whosoever's packets it gets."""

    scheduler: Scheduler
    persistence: Persistence
    reals: tuple[RealServer, ...]

    def alike(self, other: "Read") -> bool:
        """Whether both may be halves of one service, for IPv4 and IPv6."""
        return self.scheduler == other.scheduler and _unmasked(self) == _unmasked(other)

    def with_half(self, other: "Read", version: int) -> tuple["Read", list[RealServer]]:
        """As one service; and the other's real servers that this one has, with other options."""
        masks = {4: "mask", 6: "mask6"}
        mask = {masks[version]: getattr(other.persistence, masks[version])}
        reals, refused = _united(self.reals, other.reals)
        both = self._replace(persistence=self.persistence._replace(**mask), reals=reals)
        return both, refused


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
        return Read(**given, reals=tuple(self._reals(virtual).values()))

    def _reals(self, virtual: Virtual) -> dict[tuple[int, int, int], RealServer]:
        found: dict[tuple[int, int, int], RealServer] = {}
        version = virtual.target.version
        for server in virtual.servers:
            if server.address.version != version and server.words["forward"] != "tun":
                self._note(server, f"left out: only a tunnel takes IPv{version} clients to it")
                continue
            try:
                one = parse_real(self._text(virtual, server))
            except VipctlError as e:
                self._note(server, f"left out: {e.message}")
                continue
            if found.setdefault(real_key(one), one) is not one:
                self._note(server, "is there twice; the first counts")
        return found

    def _text(self, virtual: Virtual, server: Server) -> str:
        """As an operator would type it."""
        endpoint = RealServer(server.address, self._port(virtual, server)).endpoint
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
        self._note(server, f"without port {server.port}, which only nat can translate to")
        return 0

    def _note(self, server: Server, why: str) -> None:
        self._notes.append(Note(server.place, f"real server {server.address}", why))


def _refuse_reserved(virtual: Virtual) -> None:
    if isinstance(virtual.target, Vip):
        _, version, span, _ = virtual.target
        prefixes.refuse_reserved(prefixes.span_text(version, span), version, span)
