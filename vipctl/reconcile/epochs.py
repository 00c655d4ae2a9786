"""Whether anybody else changed prefixes meanwhile, by the kernel's own counts.

A method's epoch names one of these counts and its value, "nftables 42"; methods may share one. It
vouches for prefixes that were compared, or set, after it was read.
"""

from collections import Counter
from collections.abc import Iterable

from vipctl import methods
from vipctl.errors import Missing

Epochs = dict[str, str]  # by method


class Watch:
    """From now on: what the counts are, and how many of their steps are this command's own."""

    def __init__(self, names: Iterable[str]) -> None:
        self.start = _now(names)
        self._steps: Counter[str] = Counter()

    def took(self, name: str, steps: int) -> None:
        """A method has changed the kernel in so many steps of its count."""
        if name in self.start:
            self._steps[_count(self.start[name])] += steps

    def undisturbed(self) -> Epochs:
        """Of the methods whose count went on by our own steps alone."""
        now = _now(self.start)
        return {name: epoch for name, epoch in now.items() if epoch == self._expected(name)}

    def _expected(self, name: str) -> str:
        count, _, number = self.start[name].partition(" ")
        return f"{count} {int(number) + self._steps[count]}"


def _count(epoch: str) -> str:
    return epoch.partition(" ")[0]


def _now(names: Iterable[str]) -> Epochs:
    """Methods that have none, or cannot be used, are left out."""
    return {name: epoch for name in names if (epoch := _epoch(name))}


def _epoch(name: str) -> str:
    try:
        return methods.get(name).epoch()
    except Missing:
        return ""
