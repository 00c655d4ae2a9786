"""Fwmarks: the block that vipctl allocates from, and names of acceptance-only services. Pure."""

from collections.abc import Iterable

from vipctl.errors import Refused

ACCEPTANCE_PREFIX = "fwmark-"  # names of acceptance-only services

# Marks that vipctl gives out: bit 12 set, bits 0-6 and 8-11 free. The other bits belong to others:
# 7 to the AWS CNI, 13 to portmap, 14-15 to Kubernetes, 16-23 to Tailscale, 16-31 to Calico.
MARK_VALUE = 0x1000
MARK_MASK = 0xFFFFF080

# And for health checks through a VIP, one for each real server: bit 11 set, bits 0-6 and 8-10 free.
CHECK_VALUE = 0x0800
CHECK_MASK = 0xFFFFF880
FIRST_CHECK_PORT, CHECK_PORTS = 61000, 4  # above Linux's own, which end with 60999


def is_check_mark(mark: int) -> bool:
    return mark & CHECK_MASK == CHECK_VALUE


def check_marks() -> list[int]:
    """The whole block, 1024 marks."""
    return [mark for mark in range(CHECK_VALUE, CHECK_VALUE << 1) if is_check_mark(mark)]


def check_ports(mark: int) -> range:
    """The director's TCP ports that checks with this mark ask from."""
    at = (mark & 0x7F) | (mark & 0x700) >> 1
    return range(FIRST_CHECK_PORT + at * CHECK_PORTS, FIRST_CHECK_PORT + (at + 1) * CHECK_PORTS)


def free_mark(used: Iterable[int]) -> int:
    """The lowest mark of vipctl's block that is not in use. Raises Refused."""
    taken = set(used)
    for value in range(MARK_VALUE, MARK_VALUE << 1):
        if value & MARK_MASK == MARK_VALUE and value not in taken:
            return value
    raise Refused("all 2048 fwmarks of vipctl's block are in use", hint="name one with --fwmark")


def acceptance_name(mark: int) -> str:
    return f"{ACCEPTANCE_PREFIX}{mark}"
