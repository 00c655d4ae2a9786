"""What a person sees of a run of tests: files and counts. All of pytest's words are in a log."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

# A line of `pytest -v`, alone and with pytest-xdist.
ALONE = re.compile(r"(?P<name>\S+?::.*?) (?P<word>[A-Z]+) +\[ *(?P<percent>\d+)%\]")
SHARED = re.compile(r"\[gw\d+\] \[ *(?P<percent>\d+)%\] (?P<word>[A-Z]+) (?P<name>\S+?::.*)")
PASSED = "PASSED"
INTERVAL = 10.0  # seconds between two lines
LOGS = Path("build/test")


@dataclass(slots=True)
class Progress:
    """Follows the lines of one run of pytest."""

    emit: Callable[[str], None]
    log: TextIO
    passed: int = 0
    others: int = 0
    said: float = field(default_factory=time.monotonic)

    def line(self, text: str) -> None:
        """Take a line: to the log, and what a person wants to know of it to `emit`."""
        self.log.write(text if text.endswith("\n") else f"{text}\n")
        self.log.flush()
        if found := ALONE.match(text) or SHARED.match(text):
            self._count(found["name"].rstrip(), found["word"], int(found["percent"]))

    def _count(self, name: str, word: str, percent: int) -> None:
        self.passed += word == PASSED
        self.others += word != PASSED
        if word != PASSED:
            self.emit(f"{word} {name}")
        elif time.monotonic() - self.said >= INTERVAL:
            self.said = time.monotonic()
            self.emit(self._standing(name.partition("::")[0], percent))

    def _standing(self, file: str, percent: int) -> str:
        failed = f", {self.others} NOT" if self.others else ""
        return f"{percent:3}%  {self.passed} passed{failed}  {file}"


def log_of(repository: Path, system: str) -> Path:
    """Return the log's file for one run."""
    directory = repository / LOGS
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{system}.log"
