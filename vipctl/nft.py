"""libnftables: the only file that knows it. A ruleset is text in, JSON out."""

import json
import logging
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


def declared() -> list[dict[str, Any]]:
    """Chains, rules and maps of the table, with handles but without elements: [] if there is none.

    A terse listing of the whole family is the one that libnftables makes without fetching elements.
    """
    context = _context()
    context.set_terse_output(True)
    context.set_handle_output(True)
    return [item for item in _query(context, f"list ruleset {FAMILY}") if _is_ours(item)]


def elements(name: str) -> dict[str, int]:
    """All of a map from address to mark: slow, and large, in a large map."""
    (found,) = _query(_context(), f"list map {FAMILY} {TABLE} {name}")
    return dict(found["map"].get("elem", ()))


def _is_ours(item: dict[str, Any]) -> bool:
    ((kind, body),) = item.items()
    return bool((body["name"] if kind == "table" else body["table"]) == TABLE)


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
