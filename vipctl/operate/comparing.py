"""Whether this director and another have the same services, as far as they must."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vipctl.errors import UsageError
from vipctl.files import Where
from vipctl.operate import document, forms
from vipctl.services import equality
from vipctl.services.change import all_of
from vipctl.services.equality import Side
from vipctl.services.options import EVERY_OPTION
from vipctl.services.service import Service, from_plain
from vipctl.state.store import Store

REPORTED = ("format", "changed", "pending")  # beside the state in what `--json` prints


class Compared(NamedTuple):
    equal: bool
    differences: list[str]


def here(store: Store) -> Side:
    services = store.services()
    held = {name: (one, all_of(store.held(name))) for name, one in services.items()}
    sync = store.sync()
    return equality.of(store.director(), held)._replace(sync=str(sync.id) if sync else "no")


def with_file(state_dir: Where, path: Path) -> Compared:
    """FILE is what export or --json status of the other director printed. Raises UsageError."""
    path, base, found = document.parsed(path)
    with Store.read(state_dir) as store:
        mine, stored = here(store), store.services()
    if isinstance(found, dict) and "kernel" in found:
        theirs = _status(path, found)
    else:
        theirs = _document(path, base, found, stored)
    said = list(equality.differences(mine, theirs))
    return Compared(not said, said)


def _document(path: Path, base: Path, found: object, stored: Mapping[str, Service]) -> Side:
    if isinstance(found, dict):
        found = {key: value for key, value in found.items() if key not in REPORTED}
    read = document.understood(path, base, found)
    return equality.of(read.director, read.services(stored))


def _status(path: Path, found: Mapping[str, Any]) -> Side:
    services = _mapping(path, found, "services")
    shared, ranges = {}, {}
    for name in services:
        form = _mapping(path, services, name)
        options = {key: value for key, value in form.items() if key in EVERY_OPTION}
        given = forms.form(path, name, options).given()
        shared[name] = equality.shared(from_plain(name, given))
        ranges[name] = str(form.get("ranges_digest"))
    sync = found.get("sync") or {}
    return Side(_mapping(path, found, "director"), shared, ranges, {}, str(sync.get("id", "no")))


def _mapping(path: Path, found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if isinstance(value := found.get(key), dict):
        return value
    raise UsageError(
        f"{path}: {key}: is not as status prints it", hint="vipctl --json status, or vipctl export"
    )
