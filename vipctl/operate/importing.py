"""Files of ipvsadm and keepalived, as documents for `apply`."""

import glob
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vipctl.importing import ipvsadm, keepalived
from vipctl.importing.found import Found, Note, Place
from vipctl.importing.gather import UNMARKED, gathered
from vipctl.operate import notation
from vipctl.services import director
from vipctl.services.service import Service, plain

NO_RANGES = "    ranges: []\n"
NAME_THEM = "    ranges: []  # the VIPs whose packets get the fwmark: the file does not tell\n"


class Draft(NamedTuple):
    document: dict[str, Any]
    left_out: list[str]

    def text(self) -> str:
        """YAML; JSON where that would take seconds."""
        text = json.dumps(self.document, indent=1)
        if text.count("\n") > notation.SLOW_IN_YAML:
            return text
        return notation.to_yaml(self.document).replace(NO_RANGES, NAME_THEM)


def draft(kind: str, path: Path) -> Draft:
    """Raises UsageError naming file and line."""
    services, settings, notes = gathered(_read(kind, path))
    head = {"director": director.plain(settings)} if settings else {}
    forms = {
        service.name: {"ranges": list(ranges.prefixes()), **_told(service)}
        for service, ranges in services
    }
    return Draft({**head, "services": forms}, list(_said(notes)))


def _read(kind: str, path: Path) -> Found:
    if path == Path("-"):
        name, text = str(notation.INPUT), notation.read_input()
    else:
        name, text = str(path), notation.read(path)
    return ipvsadm.read(name, text) if kind == "ipvsadm" else keepalived.read(name, text, _include)


def _include(place: Place, pattern: str) -> Iterator[tuple[str, str]]:
    """Files are named from the directory of the one that includes them."""
    base = Path() if place.file == str(notation.INPUT) else Path(place.file).parent
    wanted = Path(glob.escape(str(base))) / pattern
    for found in sorted(glob.glob(str(wanted))):  # noqa: PTH207 - hidden files stay hidden
        yield found, notation.read(Path(found))


def _told(service: Service) -> dict[str, object]:
    """What is not as it would be without being told; the method is for the director to choose."""
    usual = plain(Service(service.name, UNMARKED))
    return {
        key: value
        for key, value in plain(service).items()
        if key != "method" and value != usual[key]
    }


def _said(notes: Iterable[Note]) -> Iterator[str]:
    """What is said of several places, once."""
    places: dict[tuple[str, str], list[Place]] = {}
    for place, words, why in sorted(notes):
        places.setdefault((words, why), []).append(place)
    for (words, why), (first, *others) in places.items():
        more = f" and {len(others)} more" if others else ""
        yield f"{first}{more}: {words}: {why}"
