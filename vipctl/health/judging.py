"""One check of one target: it passes or fails once enough answers in a row say so."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from vipctl.health.verdicts import Finding
from vipctl.services.agents import Agent
from vipctl.services.checks import Answer, Check, Target
from vipctl.services.real import RealServer


@dataclass(frozen=True)
class Question:
    """One check of one real server of a service; without a target it cannot be asked, and why."""

    service: str
    real: RealServer
    check: Check
    target: Target | None
    why: str = ""

    @cached_property
    def errand(self) -> "Errand | None":
        return None if self.target is None else Errand(self.target, self.check)

    @cached_property
    def text(self) -> str:
        """The check; of a real server for both IP versions, also which one is asked."""
        if self.target is None or len(self.real.versions) == 1:
            return str(self.check)
        return f"{self.check} (IPv{self.target.address.version})"


@dataclass(frozen=True, slots=True)
class Errand:
    """What is asked once, however many services want to know. It is looked up at each turn."""

    target: Target
    check: Check | Agent
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.target, self.check)))

    def __hash__(self) -> int:
        return self._hash


class Judgement(NamedTuple):
    """What is known, and how many answers in a row said otherwise, or said nothing."""

    finding: Finding = Finding()
    against: int = 0
    unknown: int = 0


def judge(known: Judgement, answer: Answer, check: Check, now: float) -> Judgement:
    """What is known after one more answer. The first that passes counts at once."""
    found = known.finding
    if answer.passed is None:
        unknown = known.unknown + 1
        doubt = answer.why if unknown >= check.fall and not found.doubt else found.doubt
        return known._replace(finding=found._replace(doubt=doubt), unknown=unknown)
    if answer.passed is found.passed and not (known.against or known.unknown or found.doubt):
        return known
    found = found._replace(doubt="")
    against = known.against + 1 if answer.passed is not found.passed else 0
    if against and against >= _enough(found, answer, check):
        return Judgement(Finding(answer.passed, now, answer.why))
    return Judgement(found, against)


def _enough(found: Finding, answer: Answer, check: Check) -> int:
    if not answer.passed:
        return check.fall
    return 1 if found.passed is None else check.rise
