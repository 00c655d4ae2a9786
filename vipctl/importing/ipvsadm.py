"""The format of `ipvsadm -Sn`: a command of ipvsadm a line. Pure.

-A -f 17 -s sh -p 300 -M 255.255.255.0 -b sh-fallback
-a -f 17 -r 10.0.1.11:0 -m -w 2
"""

import re
import shlex
from collections.abc import Iterator
from getopt import GetoptError, getopt
from itertools import pairwise

from vipctl.addresses.prefixes import address, parse_address
from vipctl.errors import UsageError
from vipctl.importing.found import (
    TIMEOUTS,
    Found,
    Mark,
    Note,
    Place,
    Server,
    Vip,
    Virtual,
    Words,
    timeout,
)
from vipctl.importing.words import flags, mask, sync, tunnel
from vipctl.services import syntax

SHORT = "AEDCLlZaedRSt:u:f:s:p:M:r:gimw:x:y:nco6b:X"
LONG = {
    "add-service": "-A", "edit-service": "-E", "delete-service": "-D", "clear": "-C",
    "list": "-L", "zero": "-Z", "add-server": "-a", "edit-server": "-e", "delete-server": "-d",
    "restore": "-R", "save": "-S", "tcp-service=": "-t", "udp-service=": "-u",
    "sctp-service=": "--sctp-service", "fwmark-service=": "-f", "scheduler=": "-s",
    "persistent=": "-p", "netmask=": "-M", "real-server=": "-r", "gatewaying": "-g", "ipip": "-i",
    "masquerading": "-m", "weight=": "-w", "u-threshold=": "-x", "l-threshold=": "-y",
    "numeric": "-n", "exact": "-X", "ipv6": "-6", "ops": "-o", "sched-flags=": "-b",
    **{name: f"--{name.rstrip('=')}" for name in (
        "pe=", "tun-type=", "tun-port=", "tun-nocsum", "tun-csum", "tun-remcsum", "set",
        "start-daemon=", "stop-daemon=", "mcast-interface=", "mcast-group=", "mcast-port=",
        "mcast-ttl=", "syncid=", "sync-maxlen=",
    )},
}  # fmt: skip
SHORTENED = {f"--{name.rstrip('=')}": short for name, short in LONG.items()}
PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
FORWARD = {"-g": "dr", "-i": "tun", "-m": "nat"}
PERSISTENT = "360"  # seconds, of -p without a value
NUMBERS = "ipvsadm -Sn writes numbers, ipvsadm -S names"
Options = dict[str, str]


def read(file: str, text: str) -> Found:
    """Raises UsageError naming the line and what is wrong there."""
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), 1):
        place = Place(file, number)
        try:
            reader.line(place, _split(line))
        except (UsageError, GetoptError) as e:
            hint = e.hint if isinstance(e, UsageError) else "see man ipvsadm"
            raise UsageError(f"{place}: {e}", hint=hint) from e
    return Found([*reader.virtuals.values()], reader.director, reader.notes)


class _Reader:
    def __init__(self) -> None:
        self.virtuals: dict[Mark | Vip, Virtual] = {}
        self.director: dict[str, int] = {}
        self.notes: list[Note] = []

    def line(self, place: Place, words: list[str]) -> None:
        typed, rest = getopt(list(_timed(words[words[:1] == ["ipvsadm"] :])), SHORT, [*LONG])
        options = {SHORTENED.get(name, name): value for name, value in typed}
        command = next(iter(options), "")
        if len(options) < len(typed) or (rest and command != "--set"):
            raise UsageError(f"unexpected {' '.join(rest or words)!r}", hint="see man ipvsadm")
        if command == "-A":
            self._add_service(place, options)
        elif command == "-a":
            self._add_server(place, options)
        elif command == "-C":
            self.virtuals.clear()
        elif command == "--set":
            self._set_timeouts(rest)
        elif command in ("--start-daemon", "--stop-daemon"):
            why = sync(options.get("--mcast-interface", ""), options.get("--syncid", ""))
            self.notes.append(Note(place, command, why))
        elif typed or rest:
            raise UsageError(
                f"{command} is no line of ipvsadm -Sn",
                hint="load the file with ipvsadm -R, then import what ipvsadm -Sn prints",
            )

    def _add_service(self, place: Place, options: Options) -> None:
        target = _target(options)
        if target in self.virtuals:
            raise UsageError(
                f"{_said(options)} is there already, by line {self.virtuals[target].place.line}",
                hint="name it once",
            )
        words = {
            "scheduler": self._scheduler(place, options),
            "persistence": self._persistence(place, target, options),
        }
        self.virtuals[target] = Virtual(place, target, words, [])

    def _scheduler(self, place: Place, options: Options) -> str:
        name = options.get("-s", "wlc")
        found, unknown = flags(name, options.get("-b", "").split(","))
        for flag in unknown:
            why = f"scheduler {name} has no such flag"
            self.notes.append(Note(place, f"-b {flag}", why))
        return ",".join([name, *found, *["ops"] * ("-o" in options)])

    def _persistence(self, place: Place, target: Mark | Vip, options: Options) -> str:
        if "-p" not in options:
            return "0"
        words = [options["-p"]]
        if "-M" in options:
            words += mask(options["-M"], target.version)
        if "--pe" in options:
            words.append(f"pe={options['--pe']}")
        return ",".join(words)

    def _add_server(self, place: Place, options: Options) -> None:
        target = _target(options)
        if target not in self.virtuals:
            raise UsageError(
                f"{_said(options)} is no service yet", hint="its -A line comes before its -a lines"
            )
        protocol = target.protocol if isinstance(target, Vip) else "tcp"
        version, value, port = _endpoint(options.get("-r", ""), protocol)
        if port is None:
            port = target.port if isinstance(target, Vip) else 0
        server = Server(place, address(version, value), port, _words(options))
        self.virtuals[target].servers.append(server)

    def _set_timeouts(self, values: list[str]) -> None:
        if len(values) != 3:
            raise UsageError("--set has three timeouts: tcp tcpfin udp", hint="see man ipvsadm")
        for name, value in zip(TIMEOUTS, values, strict=True):
            self.director |= timeout(name, value)


def _split(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as e:
        raise UsageError(f"{line.strip()!r}: {e}", hint="close the quotation") from e


def _timed(words: list[str]) -> Iterator[str]:
    """-p may be without a value, which getopt does not know."""
    for word, behind in pairwise([*words, "-"]):
        yield word
        if word in ("-p", "--persistent") and behind.startswith("-"):
            yield PERSISTENT


def _target(options: Options) -> Mark | Vip:
    named = [name for name in ("-f", *PROTOCOLS) if name in options]
    if len(named) != 1:
        raise UsageError("which service it is about is not said", hint="once -t, -u or -f")
    text, protocol = options[named[0]], PROTOCOLS.get(named[0])
    if protocol is None:
        return Mark(_mark(text), 6 if "-6" in options else 4)
    version, value, port = _endpoint(text, protocol)
    return Vip(protocol, version, (value, value), port or 0)


def _mark(text: str) -> int:
    """ipvsadm prints those from 0x80000000 as negative numbers."""
    negative = re.fullmatch("-[0-9]{1,10}", text)
    return syntax.parse_mark(str(int(text) + (1 << 32)) if negative else text)


def _endpoint(text: str, protocol: str) -> tuple[int, int, int | None]:
    """IP version, address and port, None if it is not there."""
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        version, value = parse_address(host)
    except UsageError as e:
        raise UsageError(e.message, hint=NUMBERS) from e
    if port in ("", "0"):
        return version, value, 0 if port else None
    return version, value, syntax.port_number(port, protocol)


def _words(options: Options) -> Words:
    """Of a real server."""
    forward = next((name for name in FORWARD if name in options), "-g")
    keys = {"weight": "-w", "upper": "-x", "lower": "-y"}
    found = {key: options[name] for key, name in keys.items() if name in options}
    sums = [name[len("--tun-") :] for name in ("--tun-csum", "--tun-remcsum") if name in options]
    wrapped = tunnel(options.get("--tun-type", "ipip"), options.get("--tun-port", ""), sums)
    return {"forward": FORWARD[forward], **wrapped, **found}


def _said(options: Options) -> str:
    return " ".join(f"{n} {options[n]}".strip() for n in ("-f", *PROTOCOLS, "-6") if n in options)
