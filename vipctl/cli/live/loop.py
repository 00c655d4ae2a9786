"""Waits for keys, samples and signals, and draws."""

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console
from rich.live import Live

from vipctl.cli.live import draw, keyboard
from vipctl.cli.live import view as choice
from vipctl.cli.live.draw import AROUND, Seen
from vipctl.cli.live.view import View
from vipctl.errors import UsageError, VipctlError
from vipctl.files import Where
from vipctl.operate import rates
from vipctl.operate.rates import Rates, Sample
from vipctl.operate.sampling import Sampler

EVERY = 1.0  # seconds between samples
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Samples(Thread):
    """Takes them beside the loop, which goes on to hear keys; `wake` is written to after each."""

    def __init__(self, sampler: Sampler, wake: int) -> None:
        super().__init__(name="samples", daemon=True)
        self.shown: Collection[str] = ()  # services whose real servers are looked at
        self.latest: Sample | Exception | None = None
        self._sampler, self._wake, self._ended = sampler, wake, Event()

    def run(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            try:
                self.latest = self._sampler.sample(self.shown)
            except Exception as e:
                self.latest = e
            os.write(self._wake, b"s")
            self._ended.wait(max(EVERY / 4, begun + EVERY - time.monotonic()))

    def end(self) -> None:
        self._ended.set()
        self.join()


class Screen:
    """What is on it."""

    def __init__(self, console: Console, live: Live, *, plain: bool) -> None:
        self._console, self._live, self._plain = console, live, plain
        self.view, self.seen = View(), Seen(Rates(), {}, "")
        self._last: Sample | None = None

    def press(self, key: str) -> None:
        self.view = choice.pressed(self.view, key, self._page())

    def take(self, latest: Sample | Exception | None) -> None:
        """Raises what nobody expected."""
        clock = time.strftime("%H:%M:%S")
        if isinstance(latest, VipctlError):
            self.seen = self.seen._replace(problem=latest.in_a_line, clock=clock)
        elif isinstance(latest, Exception):
            raise latest
        elif latest is not None and latest is not self._last:
            found = rates.between(self._last or latest, latest)
            history = self.seen.history
            if self._last:
                history = rates.remembered(history, found, choice.BUSIEST)
            self.seen, self._last = Seen(found, history, clock), latest

    def draw(self) -> list[str]:
        """Returns the services that are in sight."""
        rows = choice.rows(self.view, self.seen.rates)
        self.view = choice.within(self.view, len(rows), self._page())
        width, height = self._console.size
        frame = draw.frame(self.view, self.seen, width, height, plain=self._plain)
        self._live.update(frame, refresh=True)
        shown = rows[self.view.top : self.view.top + self._page()]
        return list(dict.fromkeys(name for name, _ in shown))

    def _page(self) -> int:
        return max(1, self._console.size.height - AROUND)


def watch(state_dir: Where, names: Collection[str]) -> None:
    """Until somebody quits. Raises UsageError where there is no terminal, VipctlError."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM") == "dumb":
        raise UsageError(
            "--watch needs a terminal that can be drawn on",
            hint="vipctl status, or vipctl metrics for a program",
        )
    gc.enable()
    sampler = Sampler(state_dir, names)
    sampler.sample(())  # what is wrong at once is said in the usual way
    console, plain = Console(), "utf" not in (sys.stdout.encoding or "").lower()
    with (
        _waking() as (heard, wake),
        keyboard.unseen(sys.stdin.fileno()),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        samples = Samples(sampler, wake)
        samples.start()
        try:
            _show(Screen(console, live, plain=plain), samples, heard)
        finally:
            samples.end()


def _show(screen: Screen, samples: Samples, heard: int) -> None:
    keys = sys.stdin.fileno()
    while not screen.view.done:
        screen.take(samples.latest)
        samples.shown = screen.draw()
        ready, _, _ = select.select([keys, heard], [], [])
        if heard in ready and not set(ENDING).isdisjoint(os.read(heard, 4096)):
            return
        if keys in ready:
            data = os.read(keys, 4096)
            for key in keyboard.named(data) if data else ["q"]:
                screen.press(key)


@contextmanager
def _waking() -> Iterator[tuple[int, int]]:
    """A pipe that signals are written to, as bytes: those that end, and a new size."""
    heard, wake = os.pipe()
    os.set_blocking(wake, False)
    before = {n: signal.signal(n, lambda *_: None) for n in (*ENDING, signal.SIGWINCH)}
    former = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    try:
        yield heard, wake
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(heard)
        os.close(wake)
