"""What vipctl must hold after each operation, by arithmetic of the soak's own. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.stress.soak.intervals import Spans, common, holds, minus, size, tidy

PORT = 9  # of every datagram; a service that names ports names this one
# Ports that touch would be one range.
PORTS: tuple[tuple[str, ...], ...] = ((), ("tcp/80", f"udp/{PORT}"), (f"udp/{PORT}", "udp/11"))
LEFTOVERS = ("reject", "drop")
METHODS = ("fwmark", "route", "fwmark-iptables")
STEADY = {17: "fwmark", 18: "route", 19: "fwmark-iptables"}  # never change their method
MOODY = {20: "route", 21: "fwmark"}  # do; all of these always have their core
PASSING = (4097, 70000)  # come and go


@dataclass(frozen=True)
class Service:
    """An acceptance-only service, and what it holds."""

    method: str
    held: Spans = ()
    ports: tuple[str, ...] = ()
    leftover: str = "reject"


@dataclass(frozen=True)
class Model:
    """Services by mark; none is empty and no two hold the same address."""

    services: Mapping[int, Service] = field(default_factory=dict)

    def mark_of(self, value: int) -> int:
        """Return the mark that a packet to this address gets, 0 if it is no VIP."""
        found = (mark for mark, service in self.services.items() if holds(service.held, value))
        return next(found, 0)

    def held(self, *without: int) -> Spans:
        """Return all that is accepted, but for these marks."""
        services = self.services.items()
        return tidy(i for mark, s in services if mark not in without for i in s.held)

    def with_held(self, mark: int, spans: Spans) -> "Model":
        """One service holds this now; of nothing it ends."""
        rest = {other: s for other, s in self.services.items() if other != mark}
        kept = {mark: replace(self.services[mark], held=spans)} if spans else {}
        return Model({**rest, **kept})

    def with_service(self, mark: int, service: Service) -> "Model":
        """One service is this now."""
        return Model({**self.services, mark: service})

    def added(self, mark: int, spans: Spans) -> "Model":
        """One service holds this, too."""
        return self.with_held(mark, tidy([*self.services[mark].held, *spans]))

    def removed(self, spans: Spans, *marks: int) -> "Model":
        """These services, or all, hold none of this."""
        model = self
        for mark, service in self.services.items():
            if mark in (marks or self.services) and common(service.held, spans):
                model = model.with_held(mark, minus(service.held, spans))
        return model

    def addresses(self) -> int:
        """How many are accepted."""
        return sum(size(service.held) for service in self.services.values())

    def ranges(self) -> int:
        """How many intervals there are."""
        return sum(len(service.held) for service in self.services.values())


def difference(before: Model, after: Model) -> Iterator[Spans]:
    """Yield what each mark has lost and gained."""
    nothing = Service("")
    for mark in {**before.services, **after.services}:
        old, new = (model.services.get(mark, nothing).held for model in (before, after))
        yield minus(old, new)
        yield minus(new, old)


def name_of(mark: int) -> str:
    """Return the name of the service of a mark."""
    return f"fwmark-{mark}"
