"""Which states the director may have been in while a client waited for its answer."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from tests.stress.shim.universe import NOTHING, State

KEPT = 2000


class History:
    """The latest states, in their order; the last may be on its way."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._states = deque([NOTHING], KEPT)
        self._latest = 0  # the number of the last
        self._settled = 0  # of the last that the director is known to have reached

    @property
    def state(self) -> State:
        """The last."""
        with self._lock:
            return self._states[-1]

    @contextmanager
    def change(self, *states: State) -> Iterator[None]:
        """The director goes through these states meanwhile, and has reached the last then."""
        with self._lock:
            self._states.extend(states)
            self._latest += len(states)
        yield
        with self._lock:
            self._settled = self._latest

    def now(self) -> int:
        """Return what `since` asks for."""
        with self._lock:
            return self._settled

    def since(self, then: int) -> list[State]:
        """Return the states that the director may have been in since then; none if forgotten."""
        with self._lock:
            count = self._latest - then + 1
            return list(self._states)[-count:] if count <= len(self._states) else []
