"""A flow to VIPs that are always in, and to some that never are: none of it lost, none accepted."""

from collections import Counter
from contextlib import suppress

from tests.harness.flow import Flow
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.stress.shim.tally import Tally
from tests.stress.shim.universe import CORE, FLOW_PORT, OUTSIDE, Slot
from tests.vm.test_switch import Receivers

INSIDE = [Slot(version, number).address() for version in (4, 6) for number in CORE]
BEYOND = [Slot(version, number).address() for version in (4, 6) for number in OUTSIDE]
FIRST = 20  # packets that are enough to know that they arrive
PATIENCE = 120.0  # seconds for the first packet, and for the last


class Checked:
    """The flow, and what has become of its packets."""

    def __init__(self, net: Lab, tally: Tally) -> None:
        self.tally = tally
        self.receivers = Receivers(net.reals)
        self.flow = Flow(net.client, FLOW_PORT, [*INSIDE, *BEYOND])
        wait_until(lambda: self.receivers.read() >= FIRST, "datagrams arrive", PATIENCE)

    def end(self, *, lossless: bool) -> None:
        """Stop it; complain of what should have come and has not, and of what has."""
        sent = self.flow.stop()
        wanted = {number for number in range(sent) if _goes_inside(number)}
        with suppress(TimeoutError):
            wait_until(lambda: self.receivers.read() >= len(wanted), "all have come", PATIENCE / 4)
        self.receivers.close()
        came = Counter(self.receivers.numbers)
        self.tally.count("datagrams sent", sent)
        self.tally.count("datagrams that came", came.total())
        self._judge(wanted if lossless else set(), wanted, came)

    def _judge(self, needed: set[int], allowed: set[int], came: Counter[int]) -> None:
        faults = {
            "lost": sorted(needed - came.keys()),
            "accepted though no VIP": sorted(came.keys() - allowed),
            "twice": sorted(number for number, times in came.items() if times > 1),
        }
        for fault, numbers in faults.items():
            if numbers:
                self.tally.complain(f"{len(numbers)} datagrams {fault}: {numbers[:20]}")


def _goes_inside(number: int) -> bool:
    return number % (len(INSIDE) + len(BEYOND)) < len(INSIDE)
