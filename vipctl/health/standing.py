"""One real server of one service: how it stands, by what its checks have found."""

from collections.abc import Mapping
from typing import NamedTuple

from vipctl.health.verdicts import WHOLE, Finding, State, Verdict


class Standing(NamedTuple):
    """`since` when it is in this state, and why; `returned` when it came back from a failure.

    A new one that fails stays new: it has never worked. `percent` is what its agent leaves it.
    """

    state: State
    since: float
    why: str = ""
    returned: float | None = None
    percent: int = WHOLE

    @property
    def works(self) -> bool:
        """As far as is known."""
        return self.state in (State.UP, State.UNJUDGED)

    @property
    def serves(self) -> bool:
        """Whether it may get clients."""
        return self.works and self.percent > 0


def restored(verdict: Verdict) -> Standing:
    """As another daemon has left it."""
    returned = verdict.since if 0 < verdict.share < WHOLE else None
    return Standing(verdict.state, verdict.since, verdict.why, returned)


def stand(before: Standing, findings: Mapping[str, Finding]) -> Standing:
    """All checks must pass. While one is not known, nothing changes for the better."""
    failed = {text: found for text, found in findings.items() if found.passed is False}
    if failed:
        return _failed(before, failed)
    passed = findings and all(found.passed for found in findings.values())
    if not passed or before.state is State.UP:
        return before
    since = max(found.since for found in findings.values())
    return Standing(State.UP, since, returned=since if before.state is State.DOWN else None)


def _failed(before: Standing, failed: Mapping[str, Finding]) -> Standing:
    why = "; ".join(f"{text}: {found.why}" for text, found in failed.items())
    if before.state in (State.NEW, State.DOWN):
        return before._replace(why=why)
    return Standing(State.DOWN, min(found.since for found in failed.values()), why)
