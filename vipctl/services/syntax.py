"""Parsers of names, numbers and values of options. Pure."""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from vipctl.addresses import prefixes
from vipctl.addresses.prefixes import IPAddress
from vipctl.errors import UsageError
from vipctl.services import ports
from vipctl.services.marks import ACCEPTANCE_PREFIX, acceptance_name
from vipctl.services.values import (
    AUTO,
    EVERY_PORT,
    GUE_PORT,
    PROTOCOLS,
    SCHEDULERS,
    TUNNELS,
    Persistence,
    Port,
    Scheduler,
    Tunnel,
)

MAX_PERSISTENCE = 31 * 24 * 3600  # seconds; as ipvsadm bounds it
OF_AN_INTERFACE = (
    "name a unicast address; of a real server on this director, one that an interface has"
)
MASKS = {"mask": 32, "mask6": 128}
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DEVICE = r"[A-Za-z0-9_.-]{1,15}"  # without what files of other programs take for syntax
NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"


def check_name(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise UsageError(
            f"{name!r} is not a service name",
            hint="1 to 63 letters, digits, '.', '_' and '-', the first a letter or digit",
        )
    if name.startswith(ACCEPTANCE_PREFIX):
        raise UsageError(
            f"{name!r}: names that start with {ACCEPTANCE_PREFIX!r} are vipctl's own",
            hint="choose another name, or use add-range --fwmark for acceptance only",
        )
    return name


def device(text: str) -> str:
    if not re.fullmatch(DEVICE, text, re.ASCII):
        raise UsageError(
            f"{prefixes.quoted(text)} is not an interface", hint="as ip link names it, such as eth0"
        )
    return text


def number(text: str, what: str, low: int, high: int, *, hexadecimal: bool = False) -> int:
    """A decimal number, or one of 0x…, within bounds. Raises UsageError naming `what`."""
    try:
        value = int(text, 16 if hexadecimal and text.lower().startswith("0x") else 10)
    except ValueError:
        value = low - 1
    if not (low <= value <= high and text.isascii() and text.isalnum()):
        raise UsageError(f"{text!r} is not a {what}", hint=f"a number from {low} to {high}")
    return value


def seconds(text: str | float, low: float, high: float) -> float:
    """A time: 30, 30s, 0.5s, 500ms, 5m; to the millisecond. Raises UsageError."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)?", str(text), re.ASCII)
    value = round(float(found[1]) * UNITS[found[2] or "s"], 3) if found else -1.0
    if not low <= value <= high:
        raise UsageError(
            f"{str(text)!r} is not a time",
            hint=f"seconds from {low:g} to {high:g}, such as 30, 0.5s, 500ms, 5m",
        )
    return value


def parse_sources(texts: Sequence[str]) -> tuple[IPAddress | str, ...]:
    """Addresses; or 'auto' alone; nothing for 'no'. Raises UsageError."""
    found = sorted(set(texts))
    if found in ([AUTO], ["no"], []):
        return (AUTO,) if found == [AUTO] else ()
    parsed = sorted(prefixes.parse_address(text) for text in found)
    return tuple(prefixes.address(*pair) for pair in parsed)


def parse_mark(text: str) -> int:
    return number(text, "fwmark", 1, 0xFFFFFFFF, hexadecimal=True)


def acceptance_mark(name: str) -> int:
    """That of the acceptance-only service of this name. Raises UsageError."""
    mark = parse_mark(name.removeprefix(ACCEPTANCE_PREFIX))
    if name != acceptance_name(mark):
        raise UsageError(
            f"{name!r} is no name of a service",
            hint=f"the acceptance-only one of fwmark {mark} is {acceptance_name(mark)}",
        )
    return mark


def parse_port(text: str) -> Port:
    """tcp/80, 80/tcp, tcp/http, tcp/10000-10100; udp alone is every port of it."""
    parts = text.split("/")
    protocol = next((word for word in parts if word in PROTOCOLS), None)
    if protocol is None or len(parts) > 2:
        hint = "write tcp/80, tcp/https, tcp/10000-10100, or udp for all of its ports"
        raise UsageError(f"{text!r} is not a port", hint=hint)
    if len(parts) == 1:
        return Port(protocol, *EVERY_PORT)
    parts.remove(protocol)
    first, _, last = parts[0].partition("-")
    if not (first and last) or _service_port(parts[0], protocol):
        return Port(protocol, port_number(parts[0], protocol))
    low, high = (port_number(word, protocol) for word in (first, last))
    if low > high:
        raise UsageError(f"{text!r}: the range ends before it begins", hint=f"{high}-{low}?")
    return ports.port(protocol, low, high)


def port_number(word: str, protocol: str) -> int:
    found = _service_port(word, protocol)
    if not found and word[:1].isalpha():
        raise UsageError(
            f"{word!r} is not a port, nor a name for one of {protocol} in /etc/services",
            hint="write its number (Debian's package netbase has that file)",
        )
    return found or number(word, "port", 1, 65535)


def _service_port(word: str, protocol: str) -> int:
    """The port with that name in /etc/services; 0 if there is none."""
    if not word[:1].isalpha():
        return 0
    import socket

    with suppress(OSError):
        return socket.getservbyname(word, protocol)
    return 0


def parse_ports(texts: Iterable[str]) -> tuple[Port, ...]:
    """Sorted, each once; the word `all` alone stands for no restriction."""
    words = list(texts)
    if words == ["all"]:
        return ()
    return ports.union(map(parse_port, words))


def parse_scheduler(text: str) -> Scheduler:
    name, *flags = text.split(",")
    if name not in SCHEDULERS:
        raise UsageError(f"{name!r} is not a scheduler", hint="one of " + " ".join(SCHEDULERS))
    scheduler = Scheduler(name, tuple(sorted(set(flags))))
    known = scheduler.known()
    for flag in flags:
        if flag not in known:
            raise UsageError(
                f"scheduler {name} has no flag {flag!r}",
                hint=f"its flags: {' '.join(known) or 'none'}",
            )
    return scheduler


def parse_persistence(value: str | int) -> Persistence:
    """SECONDS[,mask=N][,mask6=N][,pe=sip]; a number has seconds alone."""
    first, *words = str(value).split(",")
    seconds, found = number(first, "persistence", 0, MAX_PERSISTENCE), dict[str, Any]()
    for word in words:
        key, _, bits = word.partition("=")
        if word == "pe=sip" and seconds:
            found["pe"] = "sip"
            continue
        if key not in MASKS or key in found or not seconds:
            raise UsageError(
                f"persistence {str(value)!r}: unexpected {word!r}",
                hint="write 300,mask=24,mask6=64: seconds, and how many bits of a client's IPv4 "
                "and IPv6 address count; pe=sip behind it for SIP; or 0 for none",
            )
        found[key] = number(bits, key, 1, MASKS[key])
    return Persistence(seconds, **found)


def parse_endpoint(
    text: str, what: str = "real server", hint: str = OF_AN_INTERFACE
) -> tuple[IPAddress, int | None]:
    """ADDRESS or ADDRESS:PORT as (address, port or None). Raises UsageError naming `what`."""
    host, port = text, None
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise UsageError(f"{text!r} is not a {what}", hint="write [fd00:1::11]:80")
        port = tail[1:] if tail else None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    version, value = prefixes.parse_address(host)
    prefixes.refuse_reserved(f"{what} {host}", version, (value, value), hint)
    return (
        prefixes.address(version, value),
        None if port is None else number(port, "port", 1, 65535),
    )


def listener(text: str) -> tuple[IPAddress, int]:
    """[ADDR]:PORT, of 127.0.0.1 without ADDR. Raises UsageError.

    >>> listener(":9817")
    (IPv4Address('127.0.0.1'), 9817)
    """
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        raise UsageError(f"{text!r} is no [ADDR]:PORT", hint="such as :9817, or [::1]:9817")
    version, value = prefixes.parse_address(host.strip("[]") or "127.0.0.1")
    return prefixes.address(version, value), number(port, "port", 1, 65535)


def parse_tunnel(text: str) -> Tunnel:
    """ipip, gre, gre+csum, gue (IANA's port), gue:PORT, gue:PORT+csum, gue+remcsum."""
    head, plus, checksum = text.partition("+")
    kind, colon, port = head.partition(":")
    usual = GUE_PORT if kind == "gue" else 0
    if checksum not in TUNNELS.get(kind, ()) or (plus and not checksum) or (colon and not usual):
        raise UsageError(
            f"{text!r} is not a tunnel",
            hint="ipip, gre, gre+csum, gue:PORT, gue:PORT+csum or gue:PORT+remcsum",
        )
    return Tunnel(kind, number(port, "port", 1, 65535) if colon else usual, checksum)


def parse_listener(texts: Iterable[str]) -> tuple[IPAddress, ...]:
    """Where a local proxy listens: at most one address of an IP version, IPv4 first."""
    found = sorted(prefixes.parse_address(text) for text in texts)
    versions = [version for version, _ in found]
    for address in (prefixes.address(*pair) for pair in found):
        if address.is_multicast:
            raise UsageError(f"nobody listens on {address}", hint="name a unicast address")
    if len(set(versions)) < len(versions):
        raise UsageError(
            f"--to-address has more than one IPv{versions[0]} address",
            hint="one of IPv4 and one of IPv6 at most",
        )
    return tuple(prefixes.address(version, value) for version, value in found)
