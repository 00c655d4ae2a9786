"""The director's sysctls, and IPVS's timeouts, which are treated like sysctls.

vipctl puts back what it has changed, if the value is still the one that it set.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from vipctl import files
from vipctl.errors import KernelError, Missing, VipctlError
from vipctl.linux import timeouts
from vipctl.linux.routing.ways import advertised
from vipctl.services.service import Service
from vipctl.services.values import Forward

ROOT = "/proc/sys"
SWAPPED = str.maketrans("./", "/.")
Kept = dict[str, tuple[str, str]]  # name → (value before vipctl, value that it set)
Refusals = dict[str, VipctlError]  # by name
NOTHING = ""  # stands for the value before vipctl if there was no such sysctl
NOBODY: Mapping[str, str] = {}
CONNTRACK = "net.ipv4.vs.conntrack"
TRACKED = "net.netfilter.nf_conntrack_count"  # absent if connection tracking is not loaded
FORWARD6 = "net.ipv6.conf.all.forwarding"
EXPIRE_NODEST = "net.ipv4.vs.expire_nodest_conn"
DISABLED = "net.ipv6.conf.lo.disable_ipv6"


def needed(services: Iterable[Service]) -> dict[str, str]:
    """The sysctls, by name, that all of these services together need.

    nat rewrites addresses, so a firewall that drops `ct state invalid` must see IPVS's connections.
    With dr and tun it must not, as it sees one direction only. With both, no value is right, and
    the sysctl is left out, as any that services need to be different. Source NAT needs them seen,
    firewall or not.
    """
    known, wanted = list(services), dict[str, set[str]]()
    for service in known:
        for name, value in _of_one(service).items():
            wanted.setdefault(name, set()).add(value)
        if service.balanced and service.reals:
            tracked_by = {"1" if way is Forward.NAT else "0" for way in service.forwards()}
            wanted.setdefault(CONNTRACK, set()).update(tracked_by)
    if any(service.source_nat for service in known):
        wanted[CONNTRACK] = {"1"}
    elif CONNTRACK in wanted and read(TRACKED) is None:
        del wanted[CONNTRACK]
    return {name: values.pop() for name, values in wanted.items() if len(values) == 1}


def _of_one(service: Service) -> dict[str, str]:
    found: dict[str, str] = {}
    if not (service.balanced and service.reals):
        return found
    found[EXPIRE_NODEST] = "1"
    for real in service.servers:
        if service.forward_of(real) is Forward.NAT:
            found["net.ipv4.ip_forward" if real.address.version == 4 else FORWARD6] = "1"
    if Forward.TUN in service.forwards():
        found["net.ipv4.vs.pmtu_disc"] = "0"
    if service.persistence.seconds:
        found["net.ipv4.vs.expire_quiescent_template"] = "1"
    return found


def read(name: str) -> str | None:
    """The value; None if the kernel has no such sysctl, or not yet."""
    if name in timeouts.NAMES:
        return timeouts.read(name)
    try:
        return " ".join(files.text(_path(name)).split())  # of several numbers, with tabs between
    except FileNotFoundError:
        return None


def write(name: str, value: str) -> None:
    """Sets one sysctl or timeout. Raises KernelError, or Missing."""
    if name in timeouts.NAMES:
        timeouts.write(name, value)
    else:
        _open_and_write(name, value, value + "\n")


def _probe(name: str, value: str) -> None:
    """Raises what `write` would, as far as opening a file tells."""
    if name not in timeouts.NAMES:
        _open_and_write(name, value, "")
    elif timeouts.read(name) is None:
        raise Missing(f"{name}: this kernel has no IPVS", hint=timeouts.LOAD)


def _open_and_write(name: str, value: str, text: str) -> None:
    try:
        with open(_path(name), "w") as file:
            file.write(text)
    except OSError as e:
        raise KernelError(
            f"sysctl {name} = {value}: {e.strerror}",
            hint="is the IPVS module loaded, and /proc/sys writable?",
        ) from e


@contextmanager
def held(name: str, value: str) -> Iterator[None]:
    """Gives a sysctl another value while the body runs, if it exists. Raises KernelError."""
    before = read(name)
    if before in (value, None):
        yield
        return
    write(name, value)
    try:
        yield
    finally:
        write(name, str(before))


def unmet(wanted: dict[str, str]) -> dict[str, str]:
    """Those of `wanted` whose present value is another; what the kernel lacks is left out."""
    return {name: value for name, value in wanted.items() if read(name) not in (value, None)}


def missed(wanted: dict[str, str], services: Iterable[Service]) -> dict[str, str]:
    """Those unmet that matter to the operator: conntrack's only if connections are tracked."""
    tracking = read(TRACKED) not in (None, "0") or any(s.source_nat for s in services)
    return {n: v for n, v in unmet(wanted).items() if tracking or n != CONNTRACK}


def plan(kept: Kept, services: Iterable[Service], chosen: Mapping[str, str] = NOBODY) -> Kept:
    """What is to be set: name → (value to put back, value).

    That is: what services with `set_sysctls` need; what vipctl has set already, as long as any
    service needs it; and what the operator has `chosen`, whatever services need.
    """
    known = list(services)
    wanted = needed(s for s in known if s.set_sysctls)
    for name, value in needed(known).items():
        if name in kept and kept[name][1] == value:
            wanted.setdefault(name, value)
    planned = {}
    for name, value in (wanted | dict(chosen)).items():
        old = _before(kept, name)
        if name in kept or name in chosen or old not in (value, NOTHING):
            planned[name] = (old, value)
    return planned | (_for_routers(kept) if FORWARD6 in planned else {})


def _before(kept: Kept, name: str) -> str:
    known = kept[name][0] if name in kept else NOTHING
    return known or read(name) or NOTHING


def _for_routers(kept: Kept) -> Kept:
    """accept_ra=2 for interfaces with a default route from a router advertisement.

    Without it the kernel drops that route as soon as it forwards IPv6.
    """
    found = of_routers(kept)
    return found | {name: ("1", "2") for name in at_risk() if name not in found}


def at_risk() -> list[str]:
    """The accept_ra that must be 2 before IPv6 is forwarded, or the default route is dropped."""
    if read(FORWARD6) != "0":
        return []
    names = [f"net.ipv6.conf.{device.translate(SWAPPED)}.accept_ra" for device in advertised()]
    return [name for name in sorted(names) if read(name) == "1"]


def of_routers(kept: Kept) -> Kept:
    """Those of accept_ra. They stay after a boot, when the first advertisement may come late."""
    return {name: values for name, values in kept.items() if listens(name)}


def listens(name: str) -> bool:
    return name.startswith("net.ipv6.conf.") and name.endswith(".accept_ra")


def enforce(kept: Kept, planned: Kept) -> Refusals:
    """Sets what is planned and puts back what no longer is, if it is still as vipctl set it.

    Returns what the kernel refused, by name. accept_ra is set before forwarding, and put back after
    it.
    """
    return _refused(write, _due(kept, planned))


def foreseen(kept: Kept, planned: Kept) -> Refusals:
    """What `enforce` would return, as far as opening these files tells; nothing is changed."""
    return _refused(_probe, _due(kept, planned))


def _due(kept: Kept, planned: Kept) -> dict[str, str]:
    gone = {n: kept[n] for n in kept.keys() - planned.keys() if kept[n][0] != NOTHING}
    back = {n: gone[n][0] for n in sorted(gone, key=listens) if read(n) == gone[n][1]}
    wanted = unmet({name: new for name, (_, new) in planned.items()})
    wanted |= {name: new for name, (old, new) in planned.items() if old == NOTHING}
    return {n: wanted[n] for n in sorted(wanted, key=listens, reverse=True)} | back


def _refused(act: Callable[[str, str], None], due: dict[str, str]) -> Refusals:
    found = {}
    for name, value in due.items():
        try:
            act(name, value)
        except VipctlError as e:
            found[name] = e
    return found


def without_ipv6() -> Missing | None:
    """The error that says why the kernel has no IPv6 at all; None if it has."""
    if files.exists(_path("net.ipv6.conf.all")):
        return None
    return Missing("the kernel runs without IPv6", hint="boot without ipv6.disable=1")


def without_ipv6_routes() -> Missing | None:
    """The error that says why there can be no IPv6 route on `lo`; None if there can."""
    if read(DISABLED) == "1":
        return Missing(f"IPv6 is disabled ({DISABLED}=1)", hint=f"sysctl -w {DISABLED}=0")
    return without_ipv6()


def _path(name: str) -> str:
    """As in sysctl(8), a slash in the name stands for a dot in an interface's name."""
    return f"{ROOT}/{name.translate(SWAPPED)}"
