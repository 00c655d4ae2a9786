"""What the machine is set to do: units of systemd, settings of daemons, programs that run.

All is read where systemd and the daemons read it; none of them is asked.
"""

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from vipctl import files
from vipctl.linux import processes
from vipctl.state import runtime

BOOTED = "/run/systemd/system"  # sd_booted(3)
UNITS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system")
SETTINGS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
LOADED = ("/etc/modules-load.d", "/run/modules-load.d", "/usr/lib/modules-load.d")
PROGRAMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin")
STARTS_AT_BOOT = re.compile("S[0-9]{2}(.*)")
TRUE = ("1", "yes", "y", "true", "t", "on")  # parse_boolean() of systemd
MOST = 1 << 20  # characters of a file that are read


class Machine(NamedTuple):
    """`systemd` is whether it was booted with it; `wants` who starts a unit, by the unit's name.

    `own` is whether this network namespace is the machine's own, on which its units act; None if
    that is not seen.
    """

    systemd: bool
    own: bool | None
    running: frozenset[str]
    whole: bool  # whether all that run here are seen
    wants: dict[str, frozenset[str]]
    watched: bool  # whether `vipctl watch` runs here

    def starts(self, unit: str) -> bool:
        """Whether the unit starts at boot."""
        if not self.systemd or is_masked(unit):
            return False
        return any(by.endswith(".target") for by in self.wants.get(unit, ()))

    def acts(self, program: str, unit: str) -> str:
        """How a daemon acts on this network namespace, in words; "" if it does not."""
        if program in self.running:
            return "runs"
        return "starts at boot" if self.own and self.starts(unit) else ""

    @property
    def watches(self) -> bool:
        """Whether `vipctl watch` runs here, or will after a boot."""
        return self.watched or bool(self.starting("vipctl.service"))

    def starting(self, pattern: str) -> list[str]:
        """Units that start at boot, by a pattern of names."""
        found = (unit for unit in self.wants if fnmatchcase(unit, pattern))
        return sorted(unit for unit in found if self.own and self.starts(unit))


def look() -> Machine:
    seen = processes.of_this_namespace()
    return Machine(
        systemd=files.exists(BOOTED),
        own=_own(),
        running=seen.names,
        whole=seen.whole,
        wants=_wants(),
        watched=runtime.ask() is not None,
    )


def _own() -> bool | None:
    try:
        return processes.is_of_init()
    except PermissionError:
        return None


def is_masked(unit: str) -> bool:
    return os.path.realpath(f"{UNITS[0]}/{unit}") == os.devnull


def _wants() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for directory in UNITS:
        for name in _listed(directory):
            by, dot, kind = name.rpartition(".")
            if dot and kind in ("wants", "requires"):
                for unit in _listed(f"{directory}/{name}"):
                    found.setdefault(unit, set()).add(by)
    for name in _scripts():
        found.setdefault(f"{name}.service", set()).add("multi-user.target")
    return {unit: frozenset(by) for unit, by in found.items()}


def _scripts() -> Iterator[str]:
    """Those of System V that have no unit, which systemd starts too."""
    for level in "2345":
        for link in _listed(f"/etc/rc{level}.d"):
            found = STARTS_AT_BOOT.fullmatch(link)
            if found and not unit_text(f"{found[1]}.service"):
                yield found[1]


def _listed(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []


def unit_text(unit: str) -> str:
    """The unit's file with its drop-ins; "" if there is none."""
    found = [text for directory in UNITS if (text := read(f"{directory}/{unit}"))][:1]
    found += [read(path) for path in drop_ins([f"{where}/{unit}.d" for where in UNITS])]
    return "\n".join(found)


def drop_ins(directories: list[str]) -> list[str]:
    """Paths by their names; of one name, the first directory has it."""
    found: dict[str, str] = {}
    for directory in reversed(directories):
        found |= {n: f"{directory}/{n}" for n in _listed(directory) if n.endswith(".conf")}
    return [found[name] for name in sorted(found)]


def setting(file: str, section: str, key: str) -> str | None:
    """A daemon of systemd's own, such as networkd.conf; the last word wins."""
    first = next((f"{d}/{file}" for d in SETTINGS if files.exists(f"{d}/{file}")), None)
    paths = ([first] if first else []) + drop_ins([f"{where}/{file}.d" for where in SETTINGS])
    said = [value for path in paths for value in values(read(path), section, key)]
    return said[-1] if said else None


def values(text: str, section: str, key: str) -> Iterator[str]:
    """Of a file in the form of systemd and NetworkManager: a key may be there several times."""
    here = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            here = line[1:-1]
        elif here == section and not line.startswith(("#", ";")):
            name, equals, value = line.partition("=")
            if equals and name.strip() == key:
                yield value.strip()


def read(path: str) -> str:
    """The beginning of a file; "" if there is none. Raises OSError."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(MOST)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def program(name: str) -> str:
    """Which program it is, behind all links; "" if there is none."""
    paths = (f"{where}/{name}" for where in PROGRAMS)
    found = next((path for path in paths if files.exists(path)), "")
    return os.path.basename(os.path.realpath(found)) if found else ""


def named(directory: str, ending: str) -> list[str]:
    """Paths of the files there whose names end so."""
    return [f"{directory}/{name}" for name in _listed(directory) if name.endswith(ending)]


def loads(module: str) -> bool:
    """Whether systemd loads it at boot, early: modules-load.d(5)."""
    texts = (read(path) for path in drop_ins(list(LOADED)))
    return any(module in map(str.strip, text.splitlines()) for text in texts)


def below(directory: str, name: str) -> list[str]:
    """Paths of the files of that name, one directory further down."""
    paths = (f"{directory}/{one}/{name}" for one in _listed(directory))
    return [path for path in paths if files.exists(path)]
