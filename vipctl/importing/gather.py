"""What a reader found, as services of ours: few where many say the same. Pure.

A fwmark has one service, for both IP versions. Of virtual services by address, those that have the
same options and real servers become one: the ports of an address, and the addresses that have the
same ports.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from vipctl.addresses.prefixes import AddressSet, from_spans, text
from vipctl.errors import VipctlError
from vipctl.importing.found import Found, Mark, Note, Vip, Virtual
from vipctl.importing.reading import Read, Reading
from vipctl.importing.stretches import shared
from vipctl.services.director import Director
from vipctl.services.marks import ACCEPTANCE_PREFIX
from vipctl.services.ports import Ports
from vipctl.services.real import SERVICE, RealServer, real_key
from vipctl.services.service import Service, made
from vipctl.services.values import AllDown, CheckVia, Forward, Port

LONGEST = 40  # characters of a name, before what makes it another
UNMARKED = 0  # of a service that gets a fwmark when it is applied
Held = tuple[Service, AddressSet]


class Gathered(NamedTuple):
    services: list[Held]
    director: Director
    notes: list[Note]


def gathered(found: Found) -> Gathered:
    gathering = _Gathering([*found.notes])
    services = [*gathering.by_mark(found.virtuals), *gathering.by_address(found.virtuals)]
    return Gathered(services, found.director, gathering.notes)


class _Gathering:
    def __init__(self, notes: list[Note]) -> None:
        self.notes = notes
        self._names: Counter[str] = Counter()
        self._reading = Reading(notes)

    def by_mark(self, virtuals: list[Virtual]) -> Iterator[Held]:
        halves: dict[int, dict[int, tuple[Virtual, Read]]] = {}
        for virtual in virtuals:
            if isinstance(virtual.target, Mark) and (read := self._reading.read(virtual)):
                mark, version = virtual.target
                have = halves.setdefault(mark, {})
                if version in have:
                    self._note(virtual, f"is there twice, first at {have[version][0].place}")
                else:
                    have[version] = virtual, read
        for mark, have in halves.items():
            (first, read), *others = have.values()
            for other, more in others:
                if not read.alike(more):
                    self._note(other, f"has other options than {first.place}, of the same fwmark")
                    continue
                self._note_unlike(first, read, other, more)
                read, refused = read.with_half(more, other.target.version)
                for real in refused:
                    why = f"at {first.place} it has other options, which count"
                    self._note(other, f"real server {real.endpoint}: {why}")
            yield from self._held(first, read, f"mark-{mark}", mark, (), AddressSet())

    def _note_unlike(self, first: Virtual, read: Read, other: Virtual, more: Read) -> None:
        for what in read.unlike(more):
            self._note(other, f"{what}: at {first.place} it is otherwise, which counts")
        if read.checks != more.checks:
            self._note(other, f"checks: only those that {first.place} has too, of the same fwmark")

    def by_address(self, virtuals: list[Virtual]) -> Iterator[Held]:
        some = [
            (virtual, virtual.target, read)
            for virtual in virtuals
            if isinstance(virtual.target, Vip) and (read := self._reading.read(virtual))
        ]
        for found in shared(some, self._note):
            version, (first, _) = found.spans[0]
            name = text(version, first).replace(":", "-")
            ranges = from_spans(found.spans)
            yield from self._held(found.virtual, found.read, name, UNMARKED, found.ports, ranges)

    def _held(
        self, of: Virtual, read: Read, name: str, mark: int, ports: Ports, ranges: AddressSet
    ) -> Iterator[Held]:
        """Nothing where the parts do not go together."""
        if not read.reals:
            self._note(of, "has no real server: vipctl has none in IPVS until there is one")
        (forward, _), *_ = Counter(r.forward for r in read.reals).most_common() or [("nat", 0)]
        reals = (r._replace(forward=SERVICE) if r.forward == forward else r for r in read.reals)
        given = {
            **self._failing(of, read, forward),
            "fwmark": mark,
            "ports": ports,
            "scheduler": read.scheduler,
            "persistence": read.persistence,
            "forward": Forward(forward),
            "reals": tuple(sorted(reals, key=real_key)),
        }
        try:
            service = made(self._name(of.name or name, ports), given)
        except VipctlError as e:
            self._note(of, f"left out: {e.message}")
        else:
            yield service, ranges

    def _failing(self, of: Virtual, read: Read, forward: str) -> dict[str, object]:
        """Checks ask where keepalived's do: at the real server's own address."""
        fallback = self._fallback(of, read, forward)
        by_vip = any(real.forward != Forward.NAT for real in read.reals)
        return {
            "checks": read.checks,
            "check_via": CheckVia.RIP if read.checks and by_vip else CheckVia.AUTO,
            "dead_after": read.dead_after,
            "fallback": fallback,
            "all_down": AllDown.KEEP if fallback else read.all_down,
        }

    def _fallback(self, of: Virtual, read: Read, forward: str) -> RealServer | None:
        """A fallback is reached as the service says, and has no options of its own."""
        given = read.fallback
        if given is None:
            return None
        plain = RealServer(given.address, given.port)
        if given == plain._replace(forward=forward):
            return plain
        why = "a fallback has the service's forwarding method, and no tunnel of its own"
        self._note(of, f"sorry_server {given.address}: left out: {why}")
        return None

    def _name(self, base: str, ports: Ports) -> str:
        """One that is free, and that a service may have."""
        word = re.sub("[^A-Za-z0-9_.-]", "-", base).lstrip("_.-")[:LONGEST] or "service"
        if word.startswith(ACCEPTANCE_PREFIX):
            word = f"of-{word}"
        if word in self._names:
            word = "-".join([word, *map(_told, ports[:1])])
        while word in self._names:
            self._names[word] += 1
            word += f"-{self._names[word]}"
        self._names[word] = 1
        return word

    def _note(self, virtual: Virtual, why: str) -> None:
        self.notes.append(Note(virtual.place, str(virtual.target), why))


def _told(port: Port) -> str:
    return port.protocol if port.last else f"{port.protocol}-{port.text}"
