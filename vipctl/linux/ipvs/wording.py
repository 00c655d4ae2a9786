"""What IPVS has otherwise than it should, in words. Pure."""

from collections.abc import Iterator, Mapping

from vipctl.linux.ipvs.messages import BY_ORDER, Dest, Key, Virtual
from vipctl.services.real import real_key
from vipctl.services.values import Forward

FORWARD = {0: Forward.NAT, 2: Forward.TUN, 3: Forward.DR}  # IP_VS_CONN_F_…
SETTINGS = {
    "scheduler": "the scheduler",
    "flags": "what the scheduler is told (flags)",
    "timeout": "the persistence, in seconds,",
    "netmask": "the persistence's mask",
    "engine": "the persistence's engine",
}
OF_REAL = ("weight", "upper", "lower")


def unlike(key: Key, wanted: Virtual | None, present: Virtual | None) -> Iterator[str]:
    """Of one IPVS service; nothing if both are the same."""
    where = f"IPVS (IPv{key.version})"
    if wanted is None or present is None:
        there = "is not there" if present is None else "is there, and should not be"
        if wanted is not present:
            yield f"{where}: the service of fwmark {key.mark:#x} {there}"
        return
    for name, words in SETTINGS.items():
        was, is_to_be = getattr(present, name), getattr(wanted, name)
        if was != is_to_be:
            yield f"{where}: {words} is {_said(was)}, should be {_said(is_to_be)}"
    for text in _unlike_reals(wanted, present):
        yield f"{where}: {text}"


def _unlike_reals(wanted: Virtual, present: Virtual) -> Iterator[str]:
    expected, found = _by_endpoint(wanted), _by_endpoint(present)
    for endpoint in expected.keys() - found.keys():
        yield f"real server {endpoint} is not there"
    for endpoint in found.keys() - expected.keys():
        yield f"real server {endpoint} is there, and should not be"
    both = [(name, dest, found[name]) for name, dest in expected.items() if name in found]
    for endpoint, dest, was in both:
        yield from (f"real server {endpoint}: {text}" for text in _unlike_real(dest, was))
    if len(both) == len(expected) == len(found) and wanted.scheduler in BY_ORDER:
        order = [[real_key(dest.real) for dest in one.dests] for one in (wanted, present)]
        if order[0] != order[1]:
            yield "real servers are in another order, so clients go to others than they should"


def _unlike_real(wanted: Dest, present: Dest) -> Iterator[str]:
    for name in OF_REAL:
        was, is_to_be = getattr(present.real, name), getattr(wanted.real, name)
        if was != is_to_be:
            yield f"{name} is {was}, should be {is_to_be}"
    if present.forward != wanted.forward:
        was, is_to_be = (FORWARD.get(n, n) for n in (present.forward, wanted.forward))
        yield f"forward is {was}, should be {is_to_be}"
    if present.tunnel != wanted.tunnel:
        yield "its tunnel is another one"


def _by_endpoint(virtual: Virtual) -> Mapping[str, Dest]:
    return {dest.real.endpoint: dest for dest in virtual.dests}


def _said(value: object) -> str:
    return (value.hex() if isinstance(value, bytes) else str(value)) or "none"
