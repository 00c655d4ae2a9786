"""Words that ipvsadm and keepalived have in common, as options of ours are written. Pure."""

from collections.abc import Iterable, Sequence

from vipctl.addresses.few import BITS
from vipctl.addresses.prefixes import parse_address
from vipctl.services.values import SCHEDULER_FLAGS

NUMBERED = {"flag-1": "fallback", "flag-2": "port"}  # by the bit that the kernel has for it


def flags(scheduler: str, typed: Iterable[str]) -> tuple[list[str], list[str]]:
    """As ours are called; and those that the scheduler has not."""
    found: list[str] = []
    unknown: list[str] = []
    for word in filter(None, typed):
        flag = NUMBERED.get(word, word.removeprefix(f"{scheduler}-"))
        known = flag in SCHEDULER_FLAGS.get(scheduler, {}) and flag != word
        (found if known else unknown).append(flag if known else word)
    return found, unknown


def mask(text: str, version: int) -> list[str]:
    """How many bits of a client count, of a netmask or a number of bits."""
    if version == 6:
        return [f"mask6={text}"]
    _, value = parse_address(text)
    gone = value ^ 0xFFFFFFFF
    return [f"mask={BITS[4] - gone.bit_length()}" if gone & gone + 1 == 0 else f"mask={text}"]


def tunnel(kind: str, port: str, checksums: Sequence[str]) -> dict[str, str]:
    """Of a real server; ipip is what it has without being told."""
    if kind == "ipip":
        return {}
    return {"tunnel": "+".join([f"{kind}:{port}" if port else kind, *checksums])}


def sync(interface: str, number: str) -> str:
    """Why the connection sync is not carried over, and what makes up for it."""
    how = f"vipctl set-sync --interface {interface or 'DEVICE'} --id {number or 'N'}"
    return f"a document has only services; on each director: {how}"
