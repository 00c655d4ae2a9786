"""The kernel module vip_shim: reads and changes what it has in the network namespace."""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from vipctl.addresses import spans
from vipctl.addresses.few import WIDTH
from vipctl.errors import Missing
from vipctl.linux import genetlink
from vipctl.linux.genetlink import Family
from vipctl.linux.shim.messages import (
    CHUNK,
    NAME,
    PORT,
    PREFIX,
    PROTOCOLS,
    VERSION,
    Told,
    do,
    dump,
    info,
)
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import Entry, Shape
from vipctl.services.values import Port

DROP, PING, IDLE4, IDLE6, PASSIVE = 1, 2, 4, 8, 16  # VIP_SHIM_F_…
REPLACE = (
    "install the module that came with this vipctl (README, The kernel module), then "
    f"modprobe -r {NAME}; modprobe {NAME}; vipctl restore"
)
MODULES, MODULE = Path("/lib/modules"), Path("/sys/module") / NAME


class Settings(NamedTuple):
    """How the module treats a service's packets; `flags` are of those above."""

    flags: int
    ports: tuple[Port, ...]


class Counters(NamedTuple):
    """Packets: `refused` for their sources, `left_over` as IPVS did not take them."""

    accepted: int
    left_over: int
    refused: int


class Loaded(NamedTuple):
    """A service in the kernel."""

    settings: Settings
    prefixes: int
    counters: Counters


class Snapshot(NamedTuple):
    """The services by mark, and a counter that each change in the namespace raises.

    `owner` is the token of the state directory; None if the module is too old to keep one.
    `passive`: the whole state is.
    """

    generation: int
    owner: str | None
    passive: bool
    services: dict[int, Loaded]


def check() -> None:
    """Raises Missing if the module is not there, is not loaded or speaks another version."""
    if not MODULE.exists():
        raise _absent()
    with _netlink() as link:
        found = info(link)["VERSION"]
    if found < VERSION:
        words = f"the loaded module vip_shim is too old for this vipctl ({found})"
        raise Missing(words, hint=REPLACE)
    if found > VERSION:
        cure = "install the vipctl that the module came with"
        raise Missing(f"this vipctl is too old for the loaded module vip_shim ({found})", hint=cure)


def _absent() -> Missing:
    release = os.uname().release
    cure = f"with linux-headers-{release}, as the README says (The kernel module)"
    installed = _is_installed(release)
    if installed is False:
        return Missing("the module vip_shim is not built for this kernel", hint=f"build it {cure}")
    hint = f"modprobe {NAME}" if installed else f"modprobe {NAME}; or build it first, {cure}"
    return Missing("the module vip_shim is not loaded", hint=hint)


def _is_installed(release: str) -> bool | None:
    """None where this process may not look: systemd's ProtectKernelModules= hides the modules."""
    known = MODULES / release / "modules.dep"
    if not known.parent.is_dir():
        return None
    return known.exists() and f"/{NAME}.ko" in known.read_text()


def snapshot() -> Snapshot:
    """Generation and owner are from before the services were read."""
    with _netlink() as link:
        told = info(link)
        services = {found["MARK"]: _loaded(found) for found in dump(link, "GET_SERVICE")}
        return Snapshot(told["GENERATION"], _owner(told), bool(told.get("ROLE")), services)


def owner() -> str:
    """The token of the state directory that committed the state in use; "" if it is not known."""
    with _netlink() as link:
        return _owner(info(link)) or ""


def _owner(told: Told) -> str | None:
    return told["OWNER"].decode(errors="replace") if "OWNER" in told else None


def generation() -> str:
    """The counter of changes of the state in use, whoever made them."""
    with _netlink() as link:
        return f"{NAME} {info(link)['GENERATION']}"


def services() -> dict[int, Loaded]:
    """By mark."""
    return snapshot().services


def prefixes() -> Batch:
    """All prefixes of the state in use."""
    with _netlink() as link:
        return batch.of_entries(_entries(dump(link, "GET")))


def _entries(dumped: Iterable[Told]) -> Iterator[Entry]:
    for found in dumped:
        for version, prefix in PREFIX.items():
            for address, length in prefix.iter_unpack(found.get(f"PREFIXES{version}", b"")):
                shape = Shape(version, found["PLANE"], length)
                yield Entry(shape, int.from_bytes(address), found["MARK"])


class Commands:
    """Changes the state in use, each command at once, or a staged one.

    `steps` is by how much that has raised the generation. A module that is too old has no `roles`.
    """

    def __init__(self, link: Family, *, staged: bool = False, roles: bool = True) -> None:
        self._link = link
        self._roles = roles
        self._where = {"STAGED": True} if staged else {}
        self.steps = 0

    def _do(self, command: str, **attributes: Any) -> None:
        do(self._link, command, **attributes, **self._where)
        self.steps += not self._where

    def set_role(self, *, passive: bool) -> None:
        """Of all services. Raises Missing if the module is too old."""
        self._need_roles()
        self._do("SET_ROLE", ROLE=int(passive))

    def _need_roles(self) -> None:
        if not self._roles:
            raise Missing("the loaded module vip_shim is too old to be passive", hint=REPLACE)

    def set_service(self, mark: int, settings: Settings) -> None:
        """Raises Missing if it is to be passive and the module is too old."""
        if settings.flags & PASSIVE:
            self._need_roles()
        ports = b"".join(
            PORT.pack(port.number, PROTOCOLS[port.protocol]) for port in settings.ports
        )
        named = {"PORTS": ports} if ports else {}
        self._do("SET_SERVICE", MARK=mark, FLAGS=settings.flags, **named)

    def delete_service(self, mark: int) -> None:
        """The service must not have prefixes any more."""
        self._do("DEL_SERVICE", MARK=mark)

    def add(self, added: Batch) -> None:
        """Gives prefixes to services, which must exist, whichever service had them before."""
        for (shape, mark), addresses in added.items():
            for named in _chunks(shape, addresses):
                self._do("ADD", MARK=mark, **named)

    def delete(self, removed: Batch) -> None:
        for (shape, _), addresses in removed.items():
            for named in _chunks(shape, addresses):
                self._do("DEL", **named)


@contextmanager
def changing() -> Iterator[Commands]:
    """Changes of the state in use."""
    with _netlink() as link:
        yield Commands(link, roles="ROLE" in info(link))


@contextmanager
def replacing(owner: str = "") -> Iterator[Commands]:
    """Stages a new state, which replaces the one in use when the body ends without an error."""
    with _netlink() as link:
        told = info(link)
        named = {} if _owner(told) is None else {"OWNER": owner.encode()}
        do(link, "BEGIN")
        commands = Commands(link, staged=True, roles="ROLE" in told)
        yield commands
        do(link, "COMMIT", **named)
        commands.steps += 1


def flush() -> int:
    """Removes everything in the network namespace; returns by how much the generation rises."""
    with _netlink() as link:
        do(link, "FLUSH")
    return 1


def _chunks(shape: Shape, addresses: bytes) -> Iterator[dict[str, Any]]:
    """The prefixes, as attributes of as many messages as they need."""
    width = WIDTH[shape.version]
    packed = spans.records(PREFIX[shape.version].pack(b"", shape.length), 0, width, addresses)
    for at in range(0, len(packed), CHUNK):
        yield {"PLANE": shape.plane, f"PREFIXES{shape.version}": packed[at : at + CHUNK]}


def _loaded(found: Told) -> Loaded:
    names = {number: name for name, number in PROTOCOLS.items()}
    ports = tuple(
        Port(names[protocol], number)
        for number, protocol in PORT.iter_unpack(found.get("PORTS", b""))
    )
    counters = Counters(found["ACCEPTED"], found["LEFT_OVER"], found["REFUSED"])
    return Loaded(Settings(found["FLAGS"], tuple(sorted(ports))), found["COUNT"], counters)


def _netlink() -> AbstractContextManager[Family]:
    if not MODULE.exists():
        raise _absent()
    absent = Missing("the module vip_shim is not loaded", hint=f"modprobe {NAME}")
    return genetlink.connect(NAME, VERSION, absent)
