"""A command, what it makes of the model, and what it must say."""

from dataclasses import dataclass
from typing import Any

from tests.stress.soak.intervals import Spans
from tests.stress.soak.model import Model, difference

SHOWN = 300  # characters of a command


@dataclass(frozen=True)
class Operation:
    """What is done in one step."""

    kind: str
    words: tuple[str, ...]
    before: Model
    after: Model
    asked: Spans = ()  # what it is about, beside what it changes
    code: int = 0
    only_checked: bool = False
    damaged: bool = False  # the kernel, by somebody else, before
    sized: bool = False  # whether what it adds and removes is all that changes

    def __str__(self) -> str:
        words = " ".join(self.words)
        shown = words if len(words) <= SHOWN else f"{words[:SHOWN]} …"
        return f"{self.kind}: vipctl {shown}"

    def changed(self) -> bool:
        """Whether it must say that it changes something."""
        return self.damaged or self.before != self.after

    def result(self) -> Model:
        """Return the state that it leaves."""
        return self.before if self.only_checked else self.after

    def faults(self, code: int, said: dict[str, Any]) -> list[str]:
        """Return what is wrong with what it said."""
        if code != self.code:
            return [f"exit code {code} instead of {self.code}: {said}"]
        if code:
            return []
        faults = [f"it says {said}"] if said["changed"] is not self.changed() else []
        if said["restored"] is not self.damaged:
            faults.append(f"restored is {said['restored']}")
        return [*faults, *self._misstated(said)]

    def _misstated(self, said: dict[str, Any]) -> list[str]:
        if not self.sized:
            return []
        grown = self.after.addresses() - self.before.addresses()
        claimed = said["added"]["addresses"] - said["removed"]["addresses"]
        return [f"{claimed} addresses more, not {grown}"] if claimed != grown else []

    def touched(self) -> Spans:
        """Return what is worth a look afterwards."""
        changed = [i for spans in difference(self.before, self.after) for i in spans]
        return (*self.asked, *changed)
