"""What `vipctl sync` is told on its command line. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from vipctl.errors import UsageError
from vipctl.relay.transport import Address
from vipctl.services.option import Option, switch, word, words
from vipctl.services.syntax import device, parse_endpoint

PORT = 8849  # IPVS's own is 8848
DEVICE = "vipctl-sync"


class Settings(NamedTuple):
    """Either all three files of TLS are named, or it is `insecure_udp`."""

    listen: Address
    peers: tuple[Address, ...]
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    insecure_udp: bool = False
    services: tuple[str, ...] = ()
    device: str = DEVICE
    record: str = ""
    replay: str = ""


def made(given: Mapping[str, Any]) -> Settings:
    """Raises UsageError if something is missing, or does not go together."""
    for name in ("listen", "peers"):
        if name not in given:
            said = OPTIONS[name].spelled(name)
            raise UsageError(f"{said} is missing", hint=f"add {said} {OPTIONS[name].metavar}")
    found = Settings(**given)
    papers = [found.tls_ca, found.tls_cert, found.tls_key]
    if found.insecure_udp and any(papers):
        raise UsageError("--insecure-udp has no certificates", hint="leave it, or --tls-…, out")
    if not found.insecure_udp and not all(papers):
        raise UsageError(
            "--tls-ca, --tls-cert and --tls-key are needed",
            hint="docs/two-directors.md shows how to make them",
        )
    hosts = [peer.host for peer in found.peers]
    if len(set(hosts)) < len(hosts) or found.listen.host in hosts:
        raise UsageError(
            "two directors have the same address", hint="--peer names each other director, once"
        )
    return found


def _address(text: str) -> Address:
    host, port = parse_endpoint(text, "director", "name an address that one of its interfaces has")
    return Address(host, port or PORT)


def _addresses(texts: Sequence[str]) -> tuple[Address, ...]:
    return tuple(map(_address, texts))


def _names(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(texts)


def _path(text: str) -> str:
    if not text:
        raise UsageError("the name of a file is empty", hint="see vipctl sync --help")
    return text


OPTIONS: dict[str, Option] = {  # by field of Settings
    "listen": word(
        f"Take records of other directors at this address, port {PORT} if none is named.",
        "ADDRESS[:PORT]", _address,
    ),
    "peers": words(
        "Another director, by what it has as --listen; repeat.",
        "ADDRESS[:PORT]", _addresses, _address, flag="--peer",
    ),
    "tls_ca": word("The certificate by which directors' certificates are judged.", "FILE", _path),
    "tls_cert": word("The certificate of this director, which names its address.", "FILE", _path),
    "tls_key": word("The key of that certificate.", "FILE", _path),
    "insecure_udp": switch(
        "Plain UDP instead of TLS: whoever can send to --listen in the name of a peer can forge "
        "connections, and lead clients to another real server."
    ),
    "services": words(
        "Records of this service alone; repeat. Without it, of all.",
        "NAME", _names, flag="--service",
    ),
    "device": word(
        f"The tun device to make, which set-sync --interface names; {DEVICE} if it is not named.",
        "DEVICE", device,
    ),
    "record": word("Write what is sent to a new file, too.", "FILE", _path),
    "replay": word("Take what such a file has, first of all.", "FILE", _path),
}  # fmt: skip
