"""The kernel module vip_shim: what it has in the network namespace, and changes of that."""

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

DROP, PING, IDLE4, IDLE6 = 1, 2, 4, 8  # VIP_SHIM_F_…
MODULES, MODULE = Path("/lib/modules"), Path("/sys/module") / NAME


class Settings(NamedTuple):
    """How the module treats a service's packets; `flags` are of DROP, PING, IDLE4 and IDLE6."""

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
    """The services by mark, and a number that each change in the namespace makes another.

    `owner` is None of a module that has no place for one.
    """

    generation: int
    owner: str | None
    services: dict[int, Loaded]


def check() -> None:
    """Raises Missing if the module is not there, is not loaded or speaks another version."""
    if not MODULE.exists():
        raise _absent()
    with _netlink() as link:
        found = info(link)["VERSION"]
    if found < VERSION:
        cure = (
            "install the module that came with this vipctl (README, The kernel module), then "
            f"modprobe -r {NAME}; modprobe {NAME}; vipctl restore"
        )
        raise Missing(f"the loaded module vip_shim is too old for this vipctl ({found})", hint=cure)
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
    """The count of changes, and whose the state is, are of before its services were read."""
    with _netlink() as link:
        told = info(link)
        services = {found["MARK"]: _loaded(found) for found in dump(link, "GET_SERVICE")}
        return Snapshot(told["GENERATION"], _owner(told), services)


def owner() -> str:
    """Whose the state in use is, as whoever committed it has said."""
    with _netlink() as link:
        return _owner(info(link)) or ""


def _owner(told: Told) -> str | None:
    return told["OWNER"].decode(errors="replace") if "OWNER" in told else None


def generation() -> str:
    """The count of changes of what is in use, in the network namespace, anybody's."""
    with _netlink() as link:
        return f"{NAME} {info(link)['GENERATION']}"


def services() -> dict[int, Loaded]:
    """By mark."""
    return snapshot().services


def prefixes() -> Batch:
    """All that there are."""
    with _netlink() as link:
        return batch.of_entries(_entries(dump(link, "GET")))


def _entries(dumped: Iterable[Told]) -> Iterator[Entry]:
    for found in dumped:
        for version, prefix in PREFIX.items():
            for address, length in prefix.iter_unpack(found.get(f"PREFIXES{version}", b"")):
                shape = Shape(version, found["PLANE"], length)
                yield Entry(shape, int.from_bytes(address), found["MARK"])


class Commands:
    """Changes, each of them at once; of the state in use, or of one beside it.

    `steps` is by how much they have moved the generation.
    """

    def __init__(self, link: Family, *, staged: bool = False) -> None:
        self._link = link
        self._where = {"STAGED": True} if staged else {}
        self.steps = 0

    def _do(self, command: str, **attributes: Any) -> None:
        do(self._link, command, **attributes, **self._where)
        self.steps += not self._where

    def set_service(self, mark: int, settings: Settings) -> None:
        ports = b"".join(
            PORT.pack(port.number, PROTOCOLS[port.protocol]) for port in settings.ports
        )
        named = {"PORTS": ports} if ports else {}
        self._do("SET_SERVICE", MARK=mark, FLAGS=settings.flags, **named)

    def delete_service(self, mark: int) -> None:
        """Once it has no prefix."""
        self._do("DEL_SERVICE", MARK=mark)

    def add(self, added: Batch) -> None:
        """To services that are there, whoever had these prefixes before."""
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
        yield Commands(link)


@contextmanager
def replacing(owner: str = "") -> Iterator[Commands]:
    """Makes a new state, that takes the place of the one in use at the end."""
    with _netlink() as link:
        named = {} if _owner(info(link)) is None else {"OWNER": owner.encode()}
        do(link, "BEGIN")
        commands = Commands(link, staged=True)
        yield commands
        do(link, "COMMIT", **named)
        commands.steps += 1


def flush() -> int:
    """Leaves nothing in the network namespace. The generation moves by as much as is returned."""
    with _netlink() as link:
        do(link, "FLUSH")
    return 1


def _chunks(shape: Shape, addresses: bytes) -> Iterator[dict[str, Any]]:
    """The attributes of as many messages as it takes."""
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
