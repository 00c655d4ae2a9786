"""All of a stress that works at the same time."""

import threading
import time
from functools import partial

from tests.harness.lab import Lab
from tests.stress.shim.clients import client
from tests.stress.shim.director import Director
from tests.stress.shim.flows import Checked
from tests.stress.shim.history import History
from tests.stress.shim.namespaces import Lives
from tests.stress.shim.reader import read
from tests.stress.shim.reloads import Reloads
from tests.stress.shim.tally import Tally
from tests.stress.shim.universe import NOTHING

CLIENTS, WORKERS = 2, 2
CHANGES, LONG = 60, 30.0  # between two reloads, and seconds, whichever come first
ALONE = 1.0  # seconds without the module


class Stress:
    """Threads around the director, and the rounds of what happens to it."""

    def __init__(self, net: Lab, reloads: Reloads, tally: Tally, seed: str) -> None:
        self.net, self.reloads, self.tally, self.seed = net, reloads, tally, seed
        self.history = History()
        self.director = Director(net.director, self.history, tally, seed)

    def run(self, seconds: float) -> None:
        """Go on until the time is over or something is wrong, at least for one round."""
        deadline = time.monotonic() + seconds
        self.reloads.load()
        self.director.replace(self.director.any_state(), "whole sets replaced")
        threads = self._threads()
        try:
            while not self.tally.complaints:
                self._round()
                left = deadline - time.monotonic()
                print(f"{left:.0f} s left: {self.tally.line()}", flush=True)
                if left < 0:
                    break
        finally:
            self.tally.stopping.set()
            for thread in threads:
                thread.join()

    def _threads(self) -> list[threading.Thread]:
        host, history, tally = self.net.director, self.history, self.tally
        works = [("reader", partial(read, host, history, self.reloads, tally))]
        for number in range(CLIENTS):
            name = f"client {number}"
            seed = f"{self.seed} {name}"
            works.append((name, partial(client, self.net.client, history, tally, seed)))
        for number in range(WORKERS):
            name = f"life {number}"
            lives = Lives(number, self.reloads, tally, f"{self.seed} {name}")
            works.append((name, partial(lives.run)))
        return [tally.start(name, work) for name, work in works]

    def _round(self) -> None:
        flow = Checked(self.net, self.tally)
        end = time.monotonic() + LONG
        for _ in range(CHANGES):
            self.director.change()
            if self.tally.complaints or time.monotonic() > end:
                break
        flow.end(lossless=True)
        flow = Checked(self.net, self.tally)
        self._reload()
        flow.end(lossless=False)
        self.tally.count("rounds")

    def _reload(self) -> None:
        state = self.history.state
        with self.history.change(NOTHING):
            self.reloads.unload()
        time.sleep(ALONE)
        self.reloads.load()
        self.director.replace(state, "restores")
