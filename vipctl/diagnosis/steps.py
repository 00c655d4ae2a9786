"""What is said of one step of the way."""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    WELL = "well"
    CAUSE = "cause"
    UNKNOWN = "unknown"


class Step(NamedTuple):
    """`evidence` is a command that shows the same; a cause has its id, and what to do about it."""

    name: str
    state: State
    says: str
    evidence: str = ""
    cause: str | None = None
    fix: str | None = None


class Hint(NamedTuple):
    """One of `causes.HINTS`: clients may notice it, but the VIP answers."""

    id: str
    says: str
    fix: str


class Found(NamedTuple):
    """All steps, and what else was noticed."""

    steps: list[Step]
    hints: list[Hint]


def well(name: str, says: str, evidence: str = "") -> Step:
    return Step(name, State.WELL, says, evidence)


def unknown(name: str, says: str, evidence: str = "") -> Step:
    return Step(name, State.UNKNOWN, says, evidence)


def ill(name: str, cause: str, says: str, fix: str, evidence: str = "") -> Step:
    """With a cause of `causes.CAUSES`."""
    return Step(name, State.CAUSE, says, evidence, cause, fix)
