"""Reads back what the director has, and compares."""

from tests.harness.netns import Namespace
from tests.stress.shim.history import History
from tests.stress.shim.reloads import Reloads
from tests.stress.shim.tally import Tally
from vipctl.linux import shim
from vipctl.services import batch

PAUSE = 1.0  # seconds


def read(host: Namespace, history: History, reloads: Reloads, tally: Tally) -> None:
    """Do it until told to stop."""

    def once() -> None:
        then = history.now()
        with host:
            found, services = set(batch.entries(shim.prefixes())), shim.services()
        states = history.since(then)
        if len(states) == 1:
            tally.count("dumps compared")
            if found != states[0].entries:
                tally.complain(f"state {then}: prefixes {found ^ states[0].entries} differ")
            if sum(service.prefixes for service in services.values()) != len(found):
                tally.complain(f"state {then}: {len(found)} prefixes, counted {services}")
        else:
            tally.count("dumps while it changed")

    while not tally.stopping.wait(PAUSE):
        reloads.tolerate(once)
