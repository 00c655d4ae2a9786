"""What changes from some verdicts to the next ones, in a sentence each."""

from collections.abc import Iterator
from enum import Enum, auto
from typing import NamedTuple

from vipctl.health.verdicts import OfService, State, Told, Verdict, Verdicts


class Weight(Enum):
    """How much it matters to an operator."""

    CHANGE = auto()
    DOUBT = auto()
    TROUBLE = auto()


FAST = (
    "takes far more connections than its share and ends them at once, as one that fails fast does: "
    "it gets a tenth of its weight"
)


class Said(NamedTuple):
    """One sentence, and what it is about; `checks` are those that fail, or that tell nothing."""

    text: str
    service: str
    real: str = ""
    checks: tuple[str, ...] = ()
    weight: Weight = Weight.CHANGE


def changes(before: Verdicts, after: Verdicts) -> Iterator[Said]:
    for name, found in after.services.items():
        was = before.services.get(name, OfService(found.fwmark, {}))
        for endpoint, verdict in found.reals.items():
            old = was.reals.get(endpoint, Verdict(State.UNJUDGED))
            yield from _of_real(f"{name}: real server {endpoint}", name, endpoint, old, verdict)
        yield from _of_service(name, was, found)


def _of_service(name: str, was: OfService, found: OfService) -> Iterator[Said]:
    for trouble in found.troubles:
        if trouble not in was.troubles:
            yield Said(f"{name}: {trouble}", name, weight=Weight.TROUBLE)
    for trouble in was.troubles:
        if trouble not in found.troubles:
            yield Said(f"{name}: no longer: {trouble}", name)


def _of_real(subject: str, name: str, endpoint: str, old: Verdict, new: Verdict) -> Iterator[Said]:
    failing = tuple(text for text, found in new.checks.items() if found.passed is False)
    if words := _turned(old, new):
        yield Said(f"{subject} {words}", name, endpoint, failing)
    if words := _moved(old, new):
        yield Said(f"{subject}{words}", name, endpoint)
    if new.caught and not old.caught:
        yield Said(f"{subject} {FAST}", name, endpoint, weight=Weight.DOUBT)
    if old.caught and not new.caught:
        yield Said(f"{subject} no longer ends its connections at once", name, endpoint)
    for text, found in new.checks.items():
        was = old.checks[text].doubt if text in old.checks else ""
        if found.doubt and not was:
            words = f"{subject}: check {text} tells nothing: {found.doubt}"
            yield Said(words, name, endpoint, (text,), Weight.DOUBT)
        if was and not found.doubt:
            yield Said(f"{subject}: check {text} tells again", name, endpoint, (text,))


def _turned(old: Verdict, new: Verdict) -> str:
    if new.state is State.NEW:
        return f"is new, and does not pass: {new.why}" if new.why and not old.why else ""
    if new.state is State.DOWN and old.state is not State.DOWN:
        return f"is down, and {_left(new)}: {new.why}"
    if new.state is State.DOWN and old.present and not new.present:
        return f"is still down, and is removed from IPVS: {new.why}"
    if new.state is State.UP and old.state is State.DOWN:
        return "is up again" + (
            f", and gets {new.share} % of its weight" if new.share < 100 else ""
        )
    return "passes, and gets clients" if new.state is State.UP and old.state is State.NEW else ""


def _moved(old: Verdict, new: Verdict) -> str:
    """What its agent has it do, but for failing and working again."""
    was, now = (one.told or Told() for one in (old, new))
    if State.DOWN in (old.state, new.state) or (was.part > 0, was.admin) == (
        now.part > 0,
        now.admin,
    ):
        return ""
    why = f": {now.why}" if now.why else ""
    if now.part:
        return f" gets clients again, as its agent says{why}"
    return f" gets no new clients, as its agent says {now.state}{why}"


def _left(verdict: Verdict) -> str:
    if verdict.share:
        return "keeps its clients, as no other works"
    return "gets no new clients" if verdict.present else "is removed from IPVS"
