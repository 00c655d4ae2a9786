"""The module goes and comes back, whatever others are doing with it."""

import threading
import time
from collections.abc import Callable

from tests.harness import kernellog, module
from tests.harness.module import ModuleError
from tests.stress.shim.tally import Tally
from vipctl.errors import VipctlError

TRIES = 600  # somebody who reads from it keeps it from going
PAUSE = 0.05  # seconds between them


class Reloads:
    """Who works with the module meanwhile asks here whether it was there all the time."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._lock = threading.Lock()
        self._begun, self._ended = 1, 0  # it is not there yet

    def unload(self) -> None:
        """Unload it under whatever goes on."""
        if kernellog.is_stuck():
            raise ModuleError("a network namespace cannot go: rmmod would wait for ever")
        with self._lock:
            self._begun += 1
        for _ in range(TRIES):
            try:
                return module.unload()
            except ModuleError:
                self.tally.count("refusals to unload")
                time.sleep(PAUSE)
        raise ModuleError("the module is in use all the time")

    def load(self) -> None:
        """Load it."""
        module.load()
        with self._lock:
            self._ended += 1
        self.tally.count("loads")

    def tolerate(self, work: Callable[[], None]) -> None:
        """Do something that may fail if the module goes meanwhile, and may not otherwise."""
        with self._lock:
            begun, present = self._begun, self._begun == self._ended
        try:
            work()
        except VipctlError as error:
            with self._lock:
                if present and begun == self._begun:
                    self.tally.complain(f"{error.message}, and the module was there")
            self.tally.count("failures while it was not there")
