"""libnftables: the only file that knows it."""

import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from vipctl.errors import KernelError, Missing

FAMILY, TABLE = "inet", "vipctl"
LOGGED = 4000  # characters of a transaction that -v shows
log = logging.getLogger(__name__)


def run(commands: str) -> None:
    """All of `commands` as one transaction. Raises KernelError with nft's words, or Missing."""
    log.debug("nft: %s%s", commands[:LOGGED], " …" if len(commands) > LOGGED else "")
    code, _, error = _context().cmd(commands)
    if code:
        raise _refusal(error)


@dataclass(frozen=True, slots=True)
class Declared:
    """The table without elements: its maps, the number of rules by chain, all of it as text."""

    text: str
    maps: frozenset[str]
    rules: dict[str, int]


def declared() -> Declared | None:
    """The table without elements, with handles; None if there is none.

    A terse listing of the whole family is the one that libnftables makes without fetching elements,
    and as text: its JSON of a table with flags, anybody's, is damaged and damages memory (1.0.6).
    """
    context = _context()
    context.set_terse_output(True)
    context.set_handle_output(True)
    context.set_numeric_symbol_output(True)
    code, output, error = context.cmd(f"list ruleset {FAMILY}")
    if code:
        raise _refusal(error)
    found = re.search(rf"^table {FAMILY} {TABLE} {{.*?^}}", output, re.MULTILINE | re.DOTALL)
    return _declared(found[0]) if found else None


def _declared(text: str) -> Declared:
    maps = re.findall(r"^\tmap (\S+) {", text, re.MULTILINE)
    chains = re.findall(r"^\tchain (\S+) {(.*?)^\t}", text, re.MULTILINE | re.DOTALL)
    rules = {name: body.count("# handle ") - 1 for name, body in chains}  # one is the chain's
    return Declared(text, frozenset(maps), rules)


def elements(name: str) -> dict[str, int]:
    """All of a map from address to mark: slow, and large, in a large map."""
    (found,) = _query(_context(), f"list map {FAMILY} {TABLE} {name}")
    return dict(found["map"].get("elem", ()))


def _query(context: Any, command: str) -> list[dict[str, Any]]:
    context.set_json_output(True)
    context.set_numeric_symbol_output(True)  # marks may have names in rt_marks
    code, output, error = context.cmd(command)
    if code:
        raise _refusal(error)
    return [item for item in json.loads(output)["nftables"] if "metainfo" not in item]


def _context() -> Any:
    try:
        import nftables

        return nftables.Nftables()
    except (ImportError, OSError) as e:
        raise Missing(
            f"libnftables cannot be used: {e}",
            hint="apt install libnftables1 python3-nftables",
        ) from e


def _refusal(error: str) -> KernelError | Missing:
    line = next((text for text in error.splitlines() if text.strip()), "no reason given")
    words = line[:300].removeprefix("Error: ")
    if "Operation not permitted" in words:
        return Missing("nftables: no permission", hint="run as root (CAP_NET_ADMIN)")
    return KernelError(f"nftables: {words}", hint="see what is there: nft list ruleset")
