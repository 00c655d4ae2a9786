"""The `shim` method: the module vip_shim accepts in PREROUTING, by one lookup.

No rules, no tables: the module has hooks of its own.

    PREROUTING, -90      destination → service: sets its mark, and a route to the director
    LOCAL_OUT, -150      sets the mark of what the director itself sends to a VIP
    LOCAL_IN, 100        refuses what came by that route and IPVS did not take

A passive director drops in PREROUTING, as the module is told in one message.

The route saves the kernel's own lookup: a packet for a VIP costs less than one for an address of
the director. The module validates sources as the kernel would. It is in kernel/.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from vipctl import digests
from vipctl.linux import shim
from vipctl.linux.shim import Settings
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Entry
from vipctl.services.methods import METHODS
from vipctl.services.seal import ABSENT, OTHER, Seal
from vipctl.services.service import Service, idle_versions
from vipctl.services.values import Leftover, Port

WITNESSED = False
SIZED = False
LOCAL = None
ROUTED = False
SEARCHED = False
BRIDGED = {
    f"net.bridge.bridge-nf-call-{name}": Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}")
    for name in ("iptables", "ip6tables")
}
IDLE = {4: shim.IDLE4, 6: shim.IDLE6}


def probe() -> Iterable[str]:
    shim.check()
    return _notes()


def owner() -> str:
    return shim.owner()


def seal(acceptance: Acceptance) -> Seal:
    wanted = _wanted(acceptance)
    generation, owned, passive, found = shim.snapshot()
    if found and owned not in (None, acceptance.owner):
        return OTHER
    if wanted != {mark: loaded.settings for mark, loaded in found.items()}:
        return OTHER
    if not found:
        return ABSENT
    if passive != acceptance.all_passive:
        return OTHER
    counts = sorted((mark, loaded.prefixes) for mark, loaded in found.items())
    return Seal(digests.of(f"{generation} {counts}"))


def unlike(acceptance: Acceptance) -> Iterator[str]:
    wanted = _wanted(acceptance)
    _, _, passive, found = shim.snapshot()
    for mark in sorted(wanted.keys() | found.keys()):
        if mark not in found:
            yield f"the module has no service of fwmark {mark:#x}"
        elif mark not in wanted:
            yield f"the module has a service of fwmark {mark:#x}, and should not"
        elif found[mark].settings != wanted[mark]:
            yield f"the module has other settings for the service of fwmark {mark:#x}"
    if found and passive != acceptance.all_passive:
        yield f"the module is {'passive' if passive else 'active'}, and should not be"


def marks(_version: int) -> bool:
    return bool(shim.services())


def apply(before: Acceptance, after: Acceptance, removed: Batch, added: Batch) -> int:
    """Adds before it removes, so that a VIP of both states is accepted all the time."""
    if not (before.active() and after.active()):
        return load(after, added)
    old, new = _wanted(before), _wanted(after)
    changed = {mark for mark, settings in new.items() if settings != old.get(mark)}
    with shim.changing() as commands:
        if after.all_passive and not before.all_passive:
            commands.set_role(passive=True)
        for mark in changed:
            commands.set_service(mark, _wider(old.get(mark, new[mark]), new[mark]))
        commands.add(added)
        commands.delete(batch.elsewhere(removed, added))
        for mark in changed & old.keys():
            commands.set_service(mark, new[mark])
        for mark in old.keys() - new.keys():
            commands.delete_service(mark)
        if before.all_passive and not after.all_passive:
            commands.set_role(passive=False)
    return commands.steps


def load(after: Acceptance, wanted: Batch) -> int:
    if not after.active():
        return shim.flush()
    with shim.replacing(after.owner) as commands:
        if after.all_passive:
            commands.set_role(passive=True)
        for mark, settings in _wanted(after).items():
            commands.set_service(mark, settings)
        commands.add(wanted)
    return commands.steps


def epoch() -> str:
    return shim.generation()


def holds(acceptance: Acceptance, wanted: Batch, since: str) -> bool:
    if since == epoch():
        return True
    found = shim.prefixes()
    return not (batch.without(found, wanted) or batch.without(wanted, found))


def has(entry: Entry, since: str) -> bool:
    """The module can list all prefixes, but not look up one."""
    return since == epoch() or entry in batch.entries(shim.prefixes())


def counters() -> dict[int, dict[str, int]]:
    return {mark: loaded.counters._asdict() for mark, loaded in shim.services().items()}


def sizes() -> dict[int, int]:
    return {mark: loaded.prefixes for mark, loaded in shim.services().items()}


def _wanted(acceptance: Acceptance) -> dict[int, Settings]:
    """The settings of each service, by mark."""
    if not acceptance.active():
        return {}
    passive = acceptance.passive
    return {s.fwmark: _settings(s, passive=s.fwmark in passive) for s in acceptance.services}


def _settings(service: Service, *, passive: bool) -> Settings:
    flags = sum(IDLE[version] for version in idle_versions(service))
    flags |= shim.DROP if service.leftover is Leftover.DROP else 0
    flags |= shim.PING if service.ping else 0
    flags |= shim.PASSIVE if passive else 0
    return Settings(flags, tuple(sorted(_each(service))))


def _each(service: Service) -> Iterator[Port]:
    """Single ports: the module knows no ranges."""
    for port in service.ports:
        yield from (Port(port.protocol, number) for number in range(port.number, port.end + 1))


def _wider(old: Settings, new: Settings) -> Settings:
    """Settings that accept what either does; only the new ports if the module cannot hold both."""
    idle = (shim.IDLE4 | shim.IDLE6) & ~old.flags
    ports = {*old.ports, *new.ports} if old.ports and new.ports else ()
    if len(ports) > METHODS["shim"].most_ports:
        ports = set(new.ports)
    return Settings(new.flags & ~idle, tuple(sorted(ports)))


def _notes() -> Iterator[str]:
    for name, path in BRIDGED.items():
        if path.exists() and path.read_text().strip() == "1":
            yield f"VIPs are not accepted from ports of a bridge while {name} is 1: use fwmark"
