"""How services and real servers are written: by operators, in YAML, in the store. Pure."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from vipctl.addresses import prefixes
from vipctl.addresses.prefixes import IPAddress
from vipctl.errors import UsageError
from vipctl.services.model import (
    ACCEPTANCE_PREFIX,
    ROUTE,
    SCHEDULER_FLAGS,
    Forward,
    Leftover,
    Port,
    RealServer,
    Scheduler,
    Service,
    checked,
    real_key,
)

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}"
MAX_WEIGHT = 65535
MAX_PERSISTENCE = 31 * 24 * 3600  # seconds; as ipvsadm bounds it
SCHEDULERS = (
    *("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh"),
    *("sed", "nq", "fo", "ovf", "mh", "twos"),
)


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


def number(text: str, what: str, low: int, high: int) -> int:
    """A decimal (or 0x…) number within bounds. Raises UsageError naming `what`."""
    try:
        value = int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError:
        value = low - 1
    if not (low <= value <= high and text.isascii() and text.isalnum()):
        raise UsageError(f"{text!r} is not a {what}", hint=f"a number from {low} to {high}")
    return value


def parse_mark(text: str) -> int:
    return number(text, "fwmark", 1, 0xFFFFFFFF)


def parse_port(text: str) -> Port:
    protocol, slash, tail = text.partition("/")
    if not slash or protocol not in ("tcp", "udp", "sctp"):
        raise UsageError(f"{text!r} is not a port", hint="write tcp/80, udp/53 or sctp/3868")
    return Port(protocol, number(tail, "port", 1, 65535))


def parse_ports(texts: Iterable[str]) -> tuple[Port, ...]:
    """Sorted, each once; the word `all` alone stands for no restriction."""
    words = list(texts)
    if words == ["all"]:
        return ()
    return tuple(sorted({parse_port(word) for word in words}))


def parse_scheduler(text: str) -> Scheduler:
    name, *flags = text.split(",")
    if name not in SCHEDULERS:
        raise UsageError(f"{name!r} is not a scheduler", hint="one of " + " ".join(SCHEDULERS))
    known = SCHEDULER_FLAGS.get(name, {})
    for flag in flags:
        if flag not in known:
            raise UsageError(
                f"scheduler {name} has no flag {flag!r}",
                hint=f"its flags: {' '.join(known) or 'none'}",
            )
    return Scheduler(name, tuple(sorted(set(flags))))


def parse_real(text: str) -> RealServer:
    """RIP[:PORT][,weight=N]; an IPv6 address with a port in brackets."""
    endpoint, *options = text.split(",")
    address, port = parse_endpoint(endpoint)
    if not options:
        return RealServer(address, port or 0)
    key, _, value = options[0].partition("=")
    if key != "weight" or options[1:]:
        wrong = options[1] if options[1:] else options[0]
        raise UsageError(f"{text!r}: unexpected {wrong!r}", hint="a real server has one weight=N")
    return RealServer(address, port or 0, number(value, "weight", 0, MAX_WEIGHT))


def parse_weighted(text: str) -> tuple[IPAddress, int | None, int]:
    """RIP[:PORT],weight=N as (address, port or None, weight); for an existing real server."""
    endpoint, comma, _ = text.partition(",")
    if not comma:
        raise UsageError(f"{text!r} sets nothing", hint=f"write {text},weight=N")
    return *parse_endpoint(endpoint), parse_real(text).weight


def parse_endpoint(text: str) -> tuple[IPAddress, int | None]:
    """RIP or RIP:PORT as (address, port or None)."""
    host, port = text, None
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise UsageError(f"{text!r} is not a real server", hint="write [fd00:1::11]:80")
        port = tail[1:] if tail else None
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    version, value = prefixes.parse_address(host)
    prefixes.refuse_reserved(f"real server {host}", version, (value, value))
    return (
        prefixes.address(version, value),
        None if port is None else number(port, "port", 1, 65535),
    )


def parse_reals(texts: Iterable[str]) -> tuple[RealServer, ...]:
    """Sorted; the same server twice is an error. Raises UsageError."""
    found: dict[tuple[int, int, int], RealServer] = {}
    for real in map(parse_real, texts):
        if found.setdefault(real_key(real), real) != real:
            raise UsageError(
                f"real server {real.endpoint} is given twice, with different weights",
                hint="name it once",
            )
    return tuple(found[key] for key in sorted(found))


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


# How the words of service options are read, by field; others are as they come.
READ: dict[str, Callable[[Any], Any]] = {
    "reals": parse_reals,
    "scheduler": parse_scheduler,
    "forward": Forward,
    "ports": parse_ports,
    "persistence": lambda text: number(text, "persistence", 0, MAX_PERSISTENCE),
    "to_port": lambda text: number(text, "port", 1, 65535),
    "to_addresses": parse_listener,
    "fwmark": parse_mark,
    "leftover": Leftover,
}
_PLAIN = ("persistence", "to_port", "fwmark")  # numbers


def plain(service: Service) -> dict[str, object]:
    """The service in strings and numbers, as `export`, `--json` and the store write it."""
    common: dict[str, object] = {
        "fwmark": service.fwmark,
        "method": service.method,
        "ports": [str(port) for port in service.ports],
        "leftover": str(service.leftover),
        "ping": service.ping,
    }
    if service.proxied:
        listener = [str(address) for address in service.to_addresses]
        return common | {"to_port": service.to_port, "to_addresses": listener}
    if service.method == ROUTE:
        common["arp"] = service.arp
    if not service.balanced:
        return common
    return common | {
        "scheduler": str(service.scheduler),
        "forward": str(service.forward),
        "persistence": service.persistence,
        "set_sysctls": service.set_sysctls,
        "reals": [str(real) for real in service.reals],
    }


def from_plain(name: str, form: dict[str, Any]) -> Service:
    """The inverse of `plain`; what is absent has its default. Raises UsageError or Refused."""
    fields = {
        key: READ[key](value) if key in READ and key not in _PLAIN else value
        for key, value in form.items()
    }
    return checked(Service(name=name, **fields))
