"""Goes the way of a client's packet for a VIP, and of the answer."""

from collections.abc import Callable, Iterable, Iterator

from vipctl.addresses.prefixes import IPAddress
from vipctl.diagnosis import (
    acceptance,
    answering,
    asking,
    balancing,
    case,
    firewalls,
    sending,
    service,
    source,
    tracking,
    tuning,
)
from vipctl.diagnosis.case import Case, Question
from vipctl.diagnosis.causes import RESTORE
from vipctl.diagnosis.steps import Found, Hint, Step, unknown
from vipctl.errors import UsageError, VipctlError
from vipctl.files import Where
from vipctl.linux.routing import ways
from vipctl.operate import holders
from vipctl.operate.changing import refuse_foreign_state
from vipctl.operate.filtering import SAMPLE
from vipctl.operate.outcome import Report
from vipctl.services.values import Port
from vipctl.state.store import Store

Leg = Callable[[Case], Iterator[Step]]
LEGS: dict[str, Leg] = {  # by the name of a step where one cannot be gone at all
    "service": service.steps,
    "firewall PREROUTING": firewalls.coming,
    "source": source.steps,
    "acceptance": acceptance.steps,
    "conntrack": tracking.steps,
    "firewall INPUT": firewalls.arriving,
    "ipvs": balancing.steps,
    "real-server": sending.steps,
    "firewall OUTPUT": firewalls.sent,
    "answer": answering.steps,
    "firewall FORWARD": firewalls.answered,
}
HINTS = (service.hints, acceptance.hints, balancing.hints, tuning.hints)


def explain(
    state_dir: Where,
    vip: IPAddress,
    port: Port | None = None,
    client: IPAddress | None = None,
    device: str | None = None,
    *,
    probe: bool = False,
    watch: float = 0,
) -> Report:
    """Why a VIP does not answer a client on a port, whose packets arrive by a device.

    Without a port it is the first one of the service that has the VIP; without a client, one that
    the default route leads to. With `probe` real servers are asked; with `watch` a packet is waited
    for, so many seconds. Raises UsageError or Refused.
    """
    if port and port.last:
        raise UsageError(f"{port} is a range of ports", hint="name one of them")
    with Store.read(state_dir) as store:
        refuse_foreign_state(store, adopt=False)
        own = ways.own()
        held = list(holders.held(store, vip))
        who = asking.sender(vip, client, device, own, _reals(held))
        asked = Question(vip, port or _usual(held), *who)
        found = service.taking(asked, held)
        if found is None:
            return _report(asked, None, [service.none(asked, held)], [], store)
        one = case.of(store, asked, *found, own)
        steps = list(_way(one))
        whole = _probed(one, steps) if probe else Found(list(steps), [])
        whole.steps.extend(_watched(one, watch, client, device))
        hints = [*_hints(one, steps), *whole.hints]
        return _report(asked, one, whole.steps, hints, store)


def _probed(one: Case, steps: list[Step]) -> Found:
    from vipctl.diagnosis import probes

    try:
        return probes.asked(one, steps)
    except VipctlError as e:
        return Found([*steps, unknown("probe", f"could not be asked: {e.in_a_line}")], [])


def _watched(
    one: Case, seconds: float, client: IPAddress | None, device: str | None
) -> Iterator[Step]:
    if not seconds:
        return
    from vipctl.diagnosis import watched

    try:
        yield watched.step(one, watched.Watching(seconds, client, device))
    except VipctlError as e:
        yield unknown(watched.NAME, f"could not be watched: {e.in_a_line}")


def _usual(held: Iterable[service.Held]) -> Port:
    named = (one.ports[0] for one, _ in held if one.ports)
    return next((Port(port.protocol, port.number) for port in named), SAMPLE)


def _reals(held: Iterable[service.Held]) -> list[IPAddress]:
    """Of all of the services, as many as are looked at."""
    return [real.address for one, _ in held for real in one.servers][: sending.MOST]


def _way(one: Case) -> Iterator[Step]:
    """A leg of which nothing can be found out is a step that says so."""
    for name, leg in LEGS.items():
        try:
            yield from list(leg(one))
        except VipctlError as e:
            yield unknown(name, f"could not be found out: {e.in_a_line}")


def _hints(one: Case, steps: Iterable[Step]) -> Iterator[Hint]:
    """What restoring puts back is told once."""
    restored = any(step.fix == RESTORE for step in steps)
    for find in HINTS:
        try:
            found = list(find(one))
        except VipctlError:
            continue
        yield from (hint for hint in found if not (restored and hint.fix == RESTORE))


def _report(
    asked: Question, one: Case | None, steps: list[Step], hints: list[Hint], store: Store
) -> Report:
    return {
        "address": str(asked.vip),
        "port": str(asked.port),
        "client": str(asked.client),
        "device": asked.device_name if asked.device else None,
        "service": one.service.name if one else None,
        "steps": [step._asdict() for step in steps],
        "causes": list(dict.fromkeys(step.cause for step in steps if step.cause)),
        "hints": [hint._asdict() for hint in hints],
        "pending": store.intent() is not None,
    }
