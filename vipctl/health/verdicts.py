"""What checks say of real servers, and the weights that these get in IPVS for it.

The weight that is stored is the operator's. What checks say takes some of it away for a while; what
agents say may add. A real server with weight 0 keeps that.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from vipctl.services.agents import MOST_PERCENT, Admin, Running
from vipctl.services.real import RealServer, real_key
from vipctl.services.service import Service

WHOLE = 100  # percent


class State(StrEnum):
    """Of a real server of one service."""

    UP = "up"
    DOWN = "down"
    NEW = "new"  # has not passed yet, and came while somebody was watching
    UNJUDGED = "unjudged"  # not known yet; it was there before anybody was watching


class Finding(NamedTuple):
    """What one check has found; `since` is in seconds of the monotonic clock.

    `passed` is None before it is known. `doubt` is why nothing was found out lately, if so.
    """

    passed: bool | None = None
    since: float = 0
    why: str = ""
    doubt: str = ""


class Told(NamedTuple):
    """What holds of what an agent has said; `since` when, but for the percentage, and why.

    `doubt` is why it could not be heard, or understood, lately.
    """

    percent: int = WHOLE
    admin: Admin = Admin.READY
    running: Running = Running.UP
    since: float = 0
    why: str = ""
    doubt: str = ""

    @property
    def state(self) -> str:
        """The word that counts most."""
        if self.running is not Running.UP:
            return str(self.running)
        if self.admin is not Admin.READY:
            return str(self.admin)
        return str(Admin.READY) if self.percent else "0 %"

    @property
    def word(self) -> str:
        """The same, or else the percentage."""
        return f"{self.percent} %" if self.state == Admin.READY else self.state

    @property
    def part(self) -> int:
        """The percentage of its weight that it is to have while it works."""
        return self.percent if self.admin is Admin.READY else 0


class Verdict(NamedTuple):
    """What one real server of a service gets: so many percent of its weight.

    Without `present` it is not even in IPVS. `checks` are its findings, by the check's text, and
    that of its agent, which has `told` more. Feedback leaves it so large a part, or it was `caught`
    failing fast.
    """

    state: State
    since: float = 0
    why: str = ""
    share: int = WHOLE
    present: bool = True
    checks: Mapping[str, Finding] = {}
    told: Told | None = None
    factor: float = 1.0
    caught: bool = False


class OfService(NamedTuple):
    """The verdicts of one service's real servers, by endpoint; whether its fallback serves.

    `troubles` are sentences about what clients get while no real server works.
    """

    fwmark: int
    reals: Mapping[str, Verdict]
    fallback: bool = False
    troubles: tuple[str, ...] = ()


class Verdicts(NamedTuple):
    """By name of the service, at the moment when they were given."""

    services: Mapping[str, OfService] = {}

    def of(self, service: Service) -> OfService | None:
        """Those of a service, also if it has another name since."""
        if not service.watched:
            return None
        same_mark = (of for of in self.services.values() if of.fwmark == service.fwmark)
        return self.services.get(service.name) or next(same_mark, None)


NONE = Verdicts()


def effective(service: Service, verdicts: Verdicts) -> Service:
    """The service as IPVS is to have it. Real servers without a verdict are as they are stored."""
    found = verdicts.of(service)
    if found is None:
        return service
    shared = _in_hundredths(service, found)
    reals = [
        _weighed(real, verdict, shared=shared)
        for real in service.reals
        if (verdict := found.reals.get(real.endpoint)) is None or verdict.present
    ]
    reals += _fallback(service, serves=found.fallback)
    return service._replace(reals=tuple(sorted(reals, key=real_key)))


def left(service: Service, verdicts: Verdicts) -> dict[str, float]:
    """By real server, how much of its weight is left, in the unit of the stored one."""
    found = verdicts.of(service)
    unit = WHOLE if found and _in_hundredths(service, found) else 1
    weights = {real.endpoint: real.weight / unit for real in effective(service, verdicts).reals}
    return {real.endpoint: weights.get(real.endpoint, 0) for real in service.reals}


def _in_hundredths(service: Service, found: OfService) -> bool:
    return service.scheduler.weighs() and _shares(service, found)


def _shares(service: Service, found: OfService) -> bool:
    """Whether there are parts of weights, or will be again and again."""
    ours = (found.reals[r.endpoint] for r in service.reals if r.endpoint in found.reals)
    again = service.agent is not None or service.feeds_back
    return again or any(v.share not in (0, WHOLE) for v in ours)


def _weighed(real: RealServer, verdict: Verdict | None, *, shared: bool) -> RealServer:
    """With `shared` all weights of the service are a hundred times as large, to have parts of."""
    share = WHOLE if verdict is None else verdict.share
    if shared:
        return real._replace(weight=real.weight * share)
    return real if share else real._replace(weight=0)


def _fallback(service: Service, *, serves: bool) -> list[RealServer]:
    """While it does not serve it is kept, for the clients that it has."""
    if service.fallback is None or not (serves or service.scheduler.drains()):
        return []
    return [service.fallback._replace(weight=int(serves))]


def plain(verdicts: Verdicts) -> dict[str, Any]:
    """As JSON has it."""
    return {
        name: {
            "fwmark": found.fwmark,
            "fallback": found.fallback,
            "troubles": list(found.troubles),
            "reals": {endpoint: _plain(verdict) for endpoint, verdict in found.reals.items()},
        }
        for name, found in verdicts.services.items()
    }


def _plain(verdict: Verdict) -> dict[str, Any]:
    checks = {text: finding._asdict() for text, finding in verdict.checks.items()}
    told = verdict.told and verdict.told._asdict()
    return verdict._asdict() | {"checks": checks, "told": told}


def from_plain(form: Mapping[str, Any]) -> Verdicts:
    """The inverse. Raises KeyError, TypeError or ValueError for anything else."""
    return Verdicts(
        {
            name: OfService(
                int(found["fwmark"]),
                {endpoint: _verdict(one) for endpoint, one in found["reals"].items()},
                bool(found["fallback"]),
                tuple(found["troubles"]),
            )
            for name, found in form.items()
        }
    )


def _verdict(form: Mapping[str, Any]) -> Verdict:
    checks = {text: Finding(**finding) for text, finding in form["checks"].items()}
    told = _told(form["told"]) if form.get("told") else None
    verdict = Verdict(**{**form, "state": State(form["state"]), "checks": checks, "told": told})
    if not 0 <= verdict.share <= MOST_PERCENT:
        raise ValueError(verdict.share)
    return verdict


def _told(form: Mapping[str, Any]) -> Told:
    admin, running = Admin(form["admin"]), Running(form["running"])
    return Told(**{**form, "admin": admin, "running": running})
