"""IPVS's synchronisation of connections with other directors, and the sysctls that it needs. Pure.

It is this director's own: no part of documents.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

IDS = 1, 255


class Sync(NamedTuple):
    """Connections go to, and come from, all directors on an interface's link with the same id."""

    interface: str
    id: int = IDS[0]

    def __str__(self) -> str:
        return f"{self.interface}, id {self.id}"


# A connection is told with its second packet, and again every few seconds, so that a director that
# comes later hears of it too. With backup_only=1 a director with both daemons would forward nothing
# of what it has heard.
SYSCTLS = {
    "net.ipv4.vs.backup_only": "0",
    "net.ipv4.vs.sync_refresh_period": "2",
    "net.ipv4.vs.sync_threshold": "2 0",
    "net.ipv4.vs.sync_version": "1",
}


def sysctls(sync: Sync | None) -> Mapping[str, str]:
    return SYSCTLS if sync else {}


def plain(sync: Sync | None) -> dict[str, Any] | None:
    return sync._asdict() if sync else None


def from_plain(form: Mapping[str, Any] | None) -> Sync | None:
    return Sync(**form) if form else None
