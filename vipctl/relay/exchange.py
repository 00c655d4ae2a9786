"""The relay itself: what this director's kernel says goes to the others, what they say to it."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from vipctl.relay import messages
from vipctl.relay.filter import Filter
from vipctl.relay.kept import OWN, Kept
from vipctl.relay.messages import Record
from vipctl.relay.source import Source
from vipctl.relay.transport import Transport
from vipctl.watch.journal import Level, say

HERE = "this director"


class Exchange:
    """Between a source and transports, by a filter."""

    def __init__(self, source: Source, chosen: Filter) -> None:
        self.transports: list[Transport] = []
        self.kept = Kept()
        self.heard = False  # whether the kernel takes records now
        self.lost = 0  # messages that it did not take all the same
        self._source, self._filter = source, chosen
        self._here: dict[str, float] = {}  # peers whose records come now, and since when
        self._taken: Counter[str] = Counter()
        self._refused: dict[str, Counter[str]] = {}

    def own(self) -> None:
        """Sends what the kernel has said. Raises OSError once the device has gone."""
        for message in self._source.read():
            for passed in messages.made(self._passed(OWN, message)):
                for transport in self.transports:
                    transport.send(passed)

    def take(self, peer: str, message: bytes) -> None:
        self._give(messages.made(self._passed(peer, message)))

    def missed(self) -> Iterator[bytes]:
        """What nobody else knows to tell: of this director, and of those that went meanwhile."""
        return self._known(self._here)

    def present(self, peer: str, *, here: bool) -> None:
        if here:
            self._here[peer] = time.monotonic()
        else:
            self._here.pop(peer, None)
        say(Level.NOTICE if here else Level.WARNING, f"{peer} sends {'' if here else 'no '}records")

    def tend(self) -> None:
        """Has the device be as it was made. Raises VipctlError."""
        if happened := self._source.tend():
            self.heard = False  # who hears there then is told all
            say(Level.ERROR, happened)

    def look(self) -> None:
        """Once a second: has services be known anew, and a kernel that begins to hear told all.

        Raises VipctlError.
        """
        self._filter.learn()
        before, self.heard = self.heard, self._source.is_heard()
        if self.heard and not before:
            say(Level.NOTICE, f"the kernel takes records on {self._source.name}")
            self._give(self._known({OWN: 0.0}))
        if before and not self.heard:
            say(Level.WARNING, f"the kernel takes no records on {self._source.name} any more")

    def __str__(self) -> str:
        sent = [one for transport in self.transports for one in transport.report().values()]
        refused = sum(sum(one.values()) for one in self._refused.values())
        return (
            f"{sum(one.there for one in sent)} of {len(sent)} get records, {len(self._here)} send; "
            f"the kernel {'takes' if self.heard else 'does not take'} them; {refused:,} refused, "
            f"{sum(one.dropped for one in sent):,} messages dropped, {self.lost:,} lost"
        )

    def report(self) -> dict[str, Any]:
        """How it stands, as JSON has it."""
        sent = {n: s._asdict() for t in self.transports for n, s in t.report().items()}
        return {
            "heard": self.heard,
            "kept": len(self.kept),
            "lost": self.lost,
            "own": self._come(OWN),
            "peers": {n: s | {"sends": n in self._here} | self._come(n) for n, s in sent.items()},
        }

    def _come(self, whose: str) -> dict[str, Any]:
        return {"taken": self._taken[whose], "refused": dict(self._refused.get(whose, {}))}

    def _passed(self, whose: str, message: bytes) -> list[Record]:
        wrong = Counter[str]()
        records = self._filter.passed(message, wrong)
        self._taken[whose] += len(records)
        if wrong:
            self._refuse(whose, wrong)
        self.kept.note(whose, records, time.monotonic())
        return records

    def _refuse(self, whose: str, wrong: Counter[str]) -> None:
        """Counts them, and says it the first time."""
        known = self._refused.setdefault(whose, Counter())
        for reason in wrong.keys() - known.keys():
            say(Level.WARNING, f"{whose or HERE}: a record is refused: {reason} (and counted)")
        known.update(wrong)

    def _known(self, others: Mapping[str, float]) -> Iterator[bytes]:
        kept = self.kept.without(others, time.monotonic())
        return messages.made(record for record in kept if self._filter.allows(record))

    def _give(self, known: Iterator[bytes]) -> None:
        for message in known if self.heard else ():
            self.lost += not self._source.write(message)
