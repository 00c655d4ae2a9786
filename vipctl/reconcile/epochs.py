"""Whether anybody else changed prefixes meanwhile, by counters in the kernel.

A method's epoch is the name and the value of such a counter, as "nftables 42"; methods may share
one. As long as a method's epoch is the same, its prefixes are as they were when it was read.
"""

from collections import Counter
from collections.abc import Iterable

from vipctl import methods
from vipctl.errors import Missing

Epochs = dict[str, str]  # by method


class Watch:
    """The counters from now on, and how many of their steps this command itself has made."""

    def __init__(self, names: Iterable[str]) -> None:
        self.start = _now(names)
        self._steps: Counter[str] = Counter()

    def took(self, name: str, steps: int) -> None:
        """Notes that a method's own changes have raised its counter by so many steps."""
        if name in self.start:
            self._steps[_count(self.start[name])] += steps

    def undisturbed(self) -> Epochs:
        """The epochs of methods whose counter was raised by this command alone."""
        now = _now(self.start)
        return {name: epoch for name, epoch in now.items() if epoch == self._expected(name)}

    def _expected(self, name: str) -> str:
        count, _, number = self.start[name].partition(" ")
        return f"{count} {int(number) + self._steps[count]}"


def _count(epoch: str) -> str:
    """The name of the counter."""
    return epoch.partition(" ")[0]


def _now(names: Iterable[str]) -> Epochs:
    """The present epochs, but for methods that have none or cannot be used here."""
    return {name: epoch for name in names if (epoch := _epoch(name))}


def _epoch(name: str) -> str:
    try:
        return methods.get(name).epoch()
    except Missing:
        return ""
