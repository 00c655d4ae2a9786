"""Whether a director is fit, so that routers may choose it; one that is so now and then is not.

Pure.
"""

from collections.abc import Collection, Iterable, Iterator
from math import inf
from typing import NamedTuple

from vipctl.health.verdicts import State, Verdict, Verdicts
from vipctl.services.service import Service

CALM = 2.0  # seconds without a reason against it, after which it is fit
FILLING = 10.0  # the same where connections are synchronised: by then others have told theirs
STEADY = 120.0  # seconds; who was fit for less has to be calm for twice as long as before
LONGEST = 300.0
KEEP = inf  # patience with what keeps a director from becoming fit, and does not make it unfit


class Reason(NamedTuple):
    """What speaks against a director, and for how many seconds it is borne."""

    what: str
    details: str = ""
    patience: float = 0.0

    def __str__(self) -> str:
        return f"{self.what}: {self.details}" if self.details else self.what


class Fitness:
    """What is known of one director. It is unfit until it has been judged for a while."""

    def __init__(self) -> None:
        self.fit = False
        self._fit_since = 0.0
        self._free: float | None = None  # since when nothing speaks against it
        self._since: dict[str, float] = {}  # by reason
        self._short = 0  # times in a row that it was fit for a short while only

    def judge(self, reasons: Collection[Reason], calm: float, now: float) -> tuple[Reason, ...]:
        """Has `fit` follow; returns what makes it unfit, or keeps it so."""
        self._since = {one.what: self._since.get(one.what, now) for one in reasons}
        if reasons or self._free is None:
            self._free = now
        if not self.fit:
            if not reasons and now - self._free >= self.wait(calm):
                self.fit, self._fit_since = True, now
            return tuple(reasons)
        counting = tuple(r for r in reasons if now - self._since[r.what] >= r.patience)
        if counting:
            self._short = self._short + 1 if now - self._fit_since < STEADY else 0
            self.fit = False
        return counting

    def wait(self, calm: float) -> float:
        """Seconds for which nothing may speak against it before it is fit."""
        return float(min(calm * 2**self._short, LONGEST))


def of_services(
    services: Iterable[Service], needed: Iterable[str], said: Verdicts, *, first: bool
) -> Iterator[Reason]:
    """What health checks say against a director; `first`: they may not have had time to answer.

    A service without real servers says nothing about the director as long as others have some: the
    next one may have as few. It does if it is needed.
    """
    known = {service.name: works(service, said) for service in services if service.watched}
    for name in needed:
        if name not in known:
            yield Reason(f"there is no service {name} with health checks", patience=KEEP)
        elif known[name] is False:
            yield Reason(f"service {name} has no real server left")
    if known and not any(found is not False for found in known.values()):
        yield Reason("no service has a real server left")
    elif known and first and True not in known.values():
        yield Reason("health checks have not answered yet", patience=KEEP)


def works(service: Service, said: Verdicts) -> bool | None:
    """Whether any real server does that is to get clients; None where that is not known."""
    found = said.of(service)
    verdicts = found.reals if found else {}
    unjudged = Verdict(State.UNJUDGED)
    states = {verdicts.get(r.endpoint, unjudged).state for r in service.reals if r.weight}
    if State.UP in states:
        return True
    return None if not states or State.UNJUDGED in states else False
