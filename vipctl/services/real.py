"""Real servers: what they are, how they are written, their options. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from vipctl.addresses.prefixes import VERSIONS, IPAddress, bracketed
from vipctl.errors import Refused, UsageError
from vipctl.services import option
from vipctl.services.option import Option, amount
from vipctl.services.syntax import parse_endpoint, parse_tunnel
from vipctl.services.values import Forward, Tunnel

SERVICE = "service"  # a real server's forwarding method: that of its service
OWN, BOTH = "own", "both"  # families of VIPs
TUNNELLED = {"tunnel": Tunnel(), "family": OWN}  # otherwise only with tun


def _one_of(text: str, what: str, known: Sequence[str]) -> str:
    if text not in known:
        raise UsageError(f"{text!r} is not {what}", hint="one of " + " ".join(known))
    return text


def _parse_forward(text: str) -> str:
    return _one_of(text, "a forwarding method", [*Forward, SERVICE])


def _parse_family(text: str) -> str:
    return _one_of(text, "a choice of address families", [OWN, BOTH])


OPTIONS: dict[str, Option] = {  # fields of a RealServer, written KEY=VALUE
    "weight": amount(
        "Its share of new connections; 0 drains it.", "weight", "N", 0, 65535, default=1
    ),
    "upper": amount(
        "At most so many connections; 0: any number.", "threshold", "N", 0, 0x7FFFFFFF, default=0
    ),
    "lower": amount(
        "Once full, it gets new ones when it has fewer; 0: three quarters of upper.",
        "threshold",
        "N",
        0,
        0x7FFFFFFF,
        default=0,
    ),
    "forward": option.word(
        "Its own forwarding method; 'service': that of the service.",
        "nat|dr|tun|service",
        _parse_forward,
        default=SERVICE,
    ),
    "tunnel": option.word(
        "With tun: how packets are wrapped; PORT is 6080 if none is named. With checksums of the "
        "tunnel's own: gre+csum, gue:PORT+csum, gue:PORT+remcsum.",
        "ipip|gre|gue[:PORT]",
        parse_tunnel,
        default=Tunnel(),
    ),
    "family": option.word(
        "It serves VIPs of the address family that its own address has, or of both (tun only).",
        "own|both",
        _parse_family,
        default=OWN,
    ),
    "was": amount(
        "Its weight before drain-real, which undrain-real restores.",
        "weight",
        "N",
        0,
        65535,
        default=0,
    ),
}
FORM = "RIP[:PORT]" + "".join(f"[,{k}={o.metavar}]" for k, o in OPTIONS.items() if k != "was")

Settings = dict[str, Any]  # options that somebody named


class RealServer(NamedTuple):
    """One real server; port 0 means the port that the client asked for."""

    address: IPAddress
    port: int = 0
    weight: int = 1
    upper: int = 0
    lower: int = 0
    forward: str = SERVICE
    tunnel: Tunnel = Tunnel()
    family: str = OWN
    was: int = 0

    @property
    def endpoint(self) -> str:
        if not self.port:
            return str(self.address)
        return f"{bracketed(self.address)}:{self.port}"

    @property
    def versions(self) -> tuple[int, ...]:
        """IP versions of the VIPs that it serves."""
        return VERSIONS if self.family == BOTH else (self.address.version,)

    def in_kernel(self) -> "RealServer":
        """Without the fields that IPVS does not keep for a real server."""
        return self._replace(forward=SERVICE, tunnel=Tunnel(), family=OWN, was=0)

    def settings(self) -> Settings:
        return {key: getattr(self, key) for key in OPTIONS}

    def altered(self, settings: Settings) -> "RealServer":
        """With other options. Raises Refused for thresholds that IPVS would not accept."""
        changed = RealServer(self.address, self.port, **{**self.settings(), **settings})
        if changed.weight:
            changed = changed._replace(was=0)
        if changed.lower > changed.upper:
            raise Refused(
                f"real server {changed}: lower is more than upper",
                hint="lower=N is for one that has upper=M, and at most as much",
            )
        return changed

    def __str__(self) -> str:
        told = (f",{k}={n}" for k, n in self.settings().items() if n != OPTIONS[k].default)
        return self.endpoint + "".join(told)


def real_key(real: RealServer) -> tuple[int, int, int]:
    return real.address.version, int(real.address), real.port


def parse_real(text: str) -> RealServer:
    """RIP[:PORT][,KEY=VALUE…]; an IPv6 address with a port in brackets."""
    endpoint, *words = text.split(",")
    address, port = parse_endpoint(endpoint)
    return RealServer(address, port or 0).altered(_settings(text, words))


def parse_endpoint_and_settings(text: str) -> tuple[IPAddress, int | None, Settings]:
    """RIP[:PORT][,KEY=VALUE…] as address, port or None, and options. Raises UsageError."""
    endpoint, *words = text.split(",")
    return *parse_endpoint(endpoint), _settings(text, words)


def parse_changed(text: str) -> tuple[IPAddress, int | None, Settings]:
    """As `parse_endpoint_and_settings`, with at least one option. Raises UsageError."""
    if "," not in text:
        hint = " or ".join(f"{text},{key}={option.metavar}" for key, option in OPTIONS.items())
        raise UsageError(f"{text!r} sets nothing", hint=f"write {hint}")
    return parse_endpoint_and_settings(text)


def _settings(text: str, words: Iterable[str]) -> Settings:
    found: Settings = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in OPTIONS or key in found:
            known = " ".join(f"{key}={option.metavar}" for key, option in OPTIONS.items())
            raise UsageError(
                f"{text!r}: unexpected {word!r}", hint=f"a real server has, once: {known}"
            )
        found[key] = OPTIONS[key].read(value)
    return found


def parse_fallback(text: str) -> RealServer | None:
    """RIP[:PORT], or 'no'."""
    if text == "no":
        return None
    address, port = parse_endpoint(text)
    return RealServer(address, port or 0)


def parse_reals(texts: Iterable[str]) -> tuple[RealServer, ...]:
    """Sorted, each once. Raises UsageError if one is given twice with different options."""
    found: dict[tuple[int, int, int], RealServer] = {}
    for real in map(parse_real, texts):
        if found.setdefault(real_key(real), real) != real:
            raise UsageError(
                f"real server {real.endpoint} is given twice, with different options",
                hint="name it once",
            )
    return tuple(found[key] for key in sorted(found))
