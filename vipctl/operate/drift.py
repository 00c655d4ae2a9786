"""What in the kernel is not as stored, in words, of which services, and what to do about it."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from vipctl import methods
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.linux import ipvs, sysctl
from vipctl.linux.ipvs import wording
from vipctl.linux.ipvs.messages import Key, Seen, Virtual
from vipctl.reconcile import looking
from vipctl.reconcile.acceptance import acceptances
from vipctl.reconcile.looking import Found
from vipctl.services.change import NOTHING, Change
from vipctl.state.store import Store

RESTORE = "vipctl restore puts it back"


class Difference(NamedTuple):
    """`services` are those that it concerns; none if it is the director's."""

    what: str
    hint: str
    services: tuple[str, ...] = ()


class Drift(NamedTuple):
    """`kernel` is "as stored", "differs" or "unknown", the last two with a reason where there is.

    `problems` are those of the differences that the director cannot have.
    """

    kernel: str
    differences: tuple[Difference, ...] = ()
    problems: tuple[str, ...] = ()


def of(store: Store, seen: Mapping[Key, Seen] | None, names: Collection[str]) -> Drift:
    """Of these services and the director. `seen` is what IPVS has of them, None without IPVS."""
    try:
        return _compared(store, seen, names)
    except Refused as e:
        return Drift(f"differs: {e.message}", (_failed(e),))
    except VipctlError as e:
        return Drift(f"unknown: {e.message}", (_failed(e),))


def _failed(error: VipctlError) -> Difference:
    return Difference(error.message, error.hint or "")


def _compared(store: Store, seen: Mapping[Key, Seen] | None, names: Collection[str]) -> Drift:
    present = None if seen is None else {key: one.virtual() for key, one in seen.items()}
    these = tuple(service for name, service in store.services().items() if name in names)
    found = looking.look(store, Change(before=these), seen=present)
    looking.foresee(store, found)
    if found.differs():
        looking.refuse_taken_over(store)
    problems = [Difference(str(p), p.hint, p.services) for p in found.lacking.problems(store)]
    concerning = [
        one
        for one in (*_put_back(store, found, present or {}), *problems)
        if not one.services or not set(names).isdisjoint(one.services)
    ]
    lacking = tuple(one.what for one in concerning if one in problems)
    return Drift("differs" if concerning else "as stored", tuple(concerning), lacking)


def _put_back(store: Store, found: Found, present: Mapping[Key, Virtual]) -> Iterator[Difference]:
    """As `Found.differing`, in more words."""
    if found.everything:
        yield Difference("an earlier command was interrupted", "vipctl restore finishes it")
    for name in sorted(found.methods - found.lacking.stuck):
        yield from _of_method(store, found, name)
    with store.weighing() as verdicts:
        wanted = ipvs.desired(store.services().values(), verdicts)
    names = {service.fwmark: service.name for service in store.services().values()}
    for key in sorted(found.virtuals - found.lacking.balanced.keys()):
        unlike = list(wording.unlike(key, wanted.get(key), present.get(key)))
        words = unlike or [f"IPVS (IPv{key.version}): the service has changed just now"]
        yield from (Difference(text, RESTORE, (names[key.mark],)) for text in words)
    for name in sorted(found.sysctls - found.lacking.sysctls.keys()):
        _, needed = store.sysctls()[name]
        yield Difference(f"sysctl {name} is {sysctl.read(name)}, should be {needed}", RESTORE)
    if found.unsynced and not found.lacking.sync:
        yield Difference("IPVS's sync daemons do not run as they should", RESTORE)


def _of_method(store: Store, found: Found, name: str) -> Iterator[Difference]:
    acceptance = acceptances(store, found.lacking.accepted).get(name, NOTHING)
    concerned = tuple(service.name for service in acceptance.services)
    unlike: list[str] = []
    with suppress(Missing):
        unlike += methods.get(name).unlike(acceptance)
    for text in unlike or ["somebody has changed something, or made it anew"]:
        yield Difference(f"method {name}: {text}", RESTORE, concerned)
