"""A flow to what is in throughout, and to what never is: each datagram is accounted for."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.netns.arrivals import settle
from tests.netns.test_switch import PORTS, Flow
from tests.stress.shim.tally import Tally
from tests.stress.soak.intervals import text
from tests.stress.soak.model import PORT
from tests.stress.soak.world import World

SOFTNET = Path("/proc/net/softnet_stat")
PACE = 0.0005  # seconds between two datagrams
FIRST = 100  # datagrams that arrive before anything is changed
PATIENCE = 5.0  # seconds for the last


class Watch:
    """The flow, from its first arrivals to the judgement."""

    def __init__(self, net: Lab, counter: LocalInCounter, known: World, tally: Tally) -> None:
        self.net, self.counter, self.tally = net, counter, tally
        self.marks = {text(address): mark for address, mark in known.cores.items()}
        self.nevers = [text(address) for address in known.nevers]
        counter.reset()
        self.overflowed, self.began = _overflows(), time.monotonic()
        self.flow = Flow(net.client, PORT, [*self.marks, *self.nevers], PACE)
        try:
            wait_until(lambda: self._arrived().total() >= FIRST, "datagrams arrive")
        except BaseException:
            self.flow.stop()
            raise

    def age(self) -> float:
        """Return for how many seconds it has been flowing."""
        return time.monotonic() - self.began

    def end(self) -> None:
        """Stop it; complain of what was lost, or came with a mark that is not its service's."""
        sent = self._sent(int(self.flow.stop()["sent"]))
        wanted = Counter({(mark, vip): sent[vip] for vip, mark in self.marks.items()})
        with suppress(TimeoutError):
            wait_until(lambda: self._arrived() >= wanted, "all have come", PATIENCE)
        settle(self.net.client, self.counter)
        arrived = self._arrived()
        self.tally.count("datagrams sent", sent.total())
        self.tally.count("of them to VIPs", wanted.total())
        self._judge(wanted - arrived, arrived - wanted)

    def _judge(self, lost: Counter[tuple[int, str]], wrong: Counter[tuple[int, str]]) -> None:
        overflowed = _overflows() - self.overflowed
        excused = lost.total() if lost.total() <= overflowed and not wrong else 0
        self.tally.count("lost where this host's backlog overflowed", excused)
        self.tally.count("lost", lost.total() - excused)
        self.tally.count("wrongly accepted", wrong.total())
        if lost.total() > excused:
            self.tally.complain(f"lost: {_listed(lost)}; the backlog lost {overflowed}")
        if wrong:
            self.tally.complain(f"accepted, or with a wrong mark: {_listed(wrong)}")

    def _arrived(self) -> Counter[tuple[int, str]]:
        """By mark and VIP, of the flow."""
        known = {*self.marks, *self.nevers}
        return Counter({key: n for key, n in self.counter.counts().items() if key[1] in known})

    def _sent(self, number: int) -> Counter[str]:
        """By destination; one port after another has its turn."""
        senders = [vip for vip in (*self.marks, *self.nevers) for _ in range(PORTS)]
        rounds, more = divmod(number, len(senders))
        return Counter(dict.fromkeys(senders, rounds * PORTS)) + Counter(senders[:more])


def _overflows() -> int:
    """How many packets a full backlog has cost, on all processors: no fault of vipctl's."""
    return sum(int(line.split()[1], 16) for line in SOFTNET.read_text().splitlines())


def _listed(found: Counter[tuple[int, str]]) -> str:
    return ", ".join(_lines(found))


def _lines(found: Counter[tuple[int, str]]) -> Iterator[str]:
    for (mark, vip), number in sorted(found.items()):
        yield f"{number} of {vip} (mark {mark})"
