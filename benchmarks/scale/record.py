"""What was measured, in memory and as JSON. Pure."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Spent:
    """A command: seconds, seconds of processors, bytes of its largest process."""

    wall: float
    cpu: float
    rss: int


@dataclass(frozen=True, slots=True)
class Run:
    """A contestant at a size; `outcome` is empty if it did all, else why it did not."""

    contestant: str
    size: int
    outcome: str = ""
    load: Spent | None = None
    more: Spent | None = None
    remove: Spent | None = None
    kernel: int | None = None  # bytes

    @property
    def stopped(self) -> bool:
        """Whether the time was over before it had loaded."""
        return self.outcome == STOPPED and self.load is None


@dataclass(frozen=True, slots=True)
class Pairs:
    """One range more where there are few and where there are many, in turn."""

    method: str
    few: int
    many: int
    ratios: list[float]  # of seconds, a pair each
    cpu_few: list[float]
    cpu_many: list[float]


@dataclass(frozen=True, slots=True)
class Start:
    """A program that does next to nothing: seconds of processors, each time."""

    words: str
    cpu: list[float]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file that vipctl loaded, and what the mechanism's limit is."""

    method: str
    what: str
    outcome: str = ""
    spent: Spent | None = None
    raw: float | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """In the guest: seconds until a number of VIPs were there, and until they were gone."""

    contestant: str
    size: int
    load: float
    remove: float


@dataclass(slots=True)
class Results:
    """All that docs/benchmarks.json holds."""

    machine: dict[str, str] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    pairs: list[Pairs] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    files: list[Loaded] = field(default_factory=list)
    guest: dict[str, str] = field(default_factory=dict)
    served: list[Served] = field(default_factory=list)

    def sizes(self) -> list[int]:
        """Return the sizes that anything was measured at."""
        return sorted({run.size for run in self.runs})

    def of(self, contestant: str, size: int) -> list[Run]:
        """Return all times that a contestant was measured at a size."""
        return [r for r in self.runs if (r.contestant, r.size) == (contestant, size)]

    def middle(self, contestant: str, size: int, step: str, what: str = "wall") -> float | None:
        """Return the median of what a step took, if it was done at all."""
        spent = [getattr(run, step) for run in self.of(contestant, size)]
        values = [getattr(each, what) for each in spent if each]
        return median(values) if values else None

    def kernel(self, contestant: str, size: int) -> float | None:
        """Return the median of what the kernel held."""
        values = [run.kernel for run in self.of(contestant, size) if run.kernel is not None]
        return median(values) if values else None

    def stopped(self, contestant: str, size: int) -> bool:
        """Whether a contestant did not load so many in the time it had."""
        return any(run.stopped for run in self.of(contestant, size))


def total(parts: Iterable[float | None]) -> float | None:
    """Return the sum of what was measured; None if something was not."""
    found = list(parts)
    return sum(filter(None, found)) if all(found) else None


def _spent(value: Mapping[str, Any] | None) -> Spent | None:
    return Spent(**value) if value else None


def _run(value: Mapping[str, Any]) -> Run:
    steps = {step: _spent(value[step]) for step in ("load", "more", "remove")}
    return Run(**{**value, **steps})


def read(path: Path) -> Results:
    """Return what a file holds; nothing if there is none."""
    if not path.exists():
        return Results()
    known = json.loads(path.read_text())
    return Results(
        machine=known["machine"],
        runs=[_run(value) for value in known["runs"]],
        pairs=[Pairs(**value) for value in known["pairs"]],
        starts=[Start(**value) for value in known["starts"]],
        files=[Loaded(**{**v, "spent": _spent(v["spent"])}) for v in known["files"]],
        guest=known["guest"],
        served=[Served(**value) for value in known["served"]],
    )


def write(path: Path, results: Results) -> None:
    """Write it with a line for each measurement."""
    known = {key: _lines(value) for key, value in asdict(results).items()}
    parts = (f"{json.dumps(key)}: {value}" for key, value in known.items())
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(_rounded(each) for each in value) + "\n]"


def _rounded(value: Any) -> str:
    return json.dumps(_round(value))


def _round(value: Any) -> Any:
    """Return numbers with as many digits as say anything."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _round(each) for key, each in value.items()}
    return [_round(each) for each in value] if isinstance(value, list) else value
