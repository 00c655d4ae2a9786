"""What a stress has done and what it has found wrong."""

from collections import Counter
from collections.abc import Callable
from threading import Event, Lock, Thread

MOST = 20  # complaints: more than these say nothing new


class Tally:
    """Counts and complaints of all threads, and whether they should stop."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.counts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.stopping = Event()

    def count(self, what: str, number: int = 1) -> None:
        """Something was done so many times."""
        with self._lock:
            self.counts[what] += number

    def complain(self, words: str) -> None:
        """Something is wrong."""
        with self._lock:
            self.complaints.append(words)
            if len(self.complaints) <= MOST:
                print(f"WRONG: {words}", flush=True)

    def line(self) -> str:
        """Return all counts in one line."""
        with self._lock:
            return ", ".join(f"{self.counts[what]:,} {what}" for what in sorted(self.counts))

    def start(self, name: str, work: Callable[[], None]) -> Thread:
        """Start a thread; what it raises is a complaint."""

        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self.complain(f"{name} ended: {type(error).__name__}: {error}")

        thread = Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread
