"""What a reader finds: virtual services, in words that options of ours read. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vipctl.addresses.few import Span
from vipctl.addresses.prefixes import IPAddress, span_text
from vipctl.services.director import SETTINGS, Director

Words = Mapping[str, str]  # by option of a real server
Settings = Mapping[str, Any]  # by option of a service

TIMEOUTS = ("tcp", "tcpfin", "udp")


class Place(NamedTuple):
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Note(NamedTuple):
    """Something that is not carried over."""

    place: Place
    words: str
    why: str


class Mark(NamedTuple):
    mark: int
    version: int

    def __str__(self) -> str:
        return f"fwmark {self.mark} (IPv{self.version})"


class Vip(NamedTuple):
    """Addresses, and a port of a protocol; 0 is every port that no other service has."""

    protocol: str
    version: int
    span: Span
    port: int

    def __str__(self) -> str:
        port = f"port {self.port}" if self.port else "every port"
        return f"{span_text(self.version, self.span)} {self.protocol} {port}"


class Server(NamedTuple):
    place: Place
    address: IPAddress
    port: int
    words: Words


class Virtual(NamedTuple):
    place: Place
    target: Mark | Vip
    words: Settings
    servers: list[Server]
    name: str = ""  # that the file has for it
    fallback: Server | None = None


class Found(NamedTuple):
    virtuals: list[Virtual]
    director: Director
    notes: list[Note]


def timeout(protocol: str, seconds: str) -> dict[str, int]:
    """One of IPVS's; 0 leaves it as it is. Raises UsageError."""
    name = f"{protocol}_timeout"
    return {name: SETTINGS[name].option.read(seconds)} if seconds != "0" else {}
