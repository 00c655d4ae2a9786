"""Measures a director. No range is read, so there may be any number of VIPs."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property, partial

from vipctl import __version__, files
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.files import Where
from vipctl.health.verdicts import Verdicts, left
from vipctl.linux.ipvs import daemons
from vipctl.linux.ipvs.messages import Key, Seen
from vipctl.operate import counted, drift, judged, peers, translation
from vipctl.operate.changing import refuse_foreign_state
from vipctl.operate.drift import Difference
from vipctl.operate.metrics import METRICS, NOW, STATES, TOTALS, Sample
from vipctl.operate.outcome import Report
from vipctl.services.service import Service, plain
from vipctl.state import runtime
from vipctl.state.store import Store

MODULE_VERSION = "/sys/module/vip_shim/version"


class _Read:
    """The state, and what IPVS has of its services."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.services = tuple(store.services().values())

    @cached_property
    def seen(self) -> dict[Key, Seen] | None:
        return counted.seen(self.services)


def report(state_dir: Where) -> Report:
    """What `--json` prints."""
    return {
        "metrics": [
            {
                "name": name,
                "labels": dict(zip(METRICS[name].labels, labels, strict=True)),
                "value": int(value) if isinstance(value, bool) else value,
            }
            for name, value, labels in samples(state_dir)
        ]
    }


def samples(state_dir: Where) -> Iterator[Sample]:
    """Of one state directory and the network namespace of the calling thread.

    What cannot be read is missing, and `vipctl_part_success` says so.
    """
    yield Sample("vipctl_build_info", 1, (__version__, os.uname().release, _module()))
    yield from _tried("watch", partial(_watch, state_dir))
    try:
        with Store.read(state_dir) as store:
            read = _Read(store)
            for part, measure in _READ.items():
                yield from _tried(part, partial(measure, read))
    except VipctlError:
        yield from (Sample("vipctl_part_success", 0, (part,)) for part in _READ)


def _tried(part: str, measure: Callable[[], Iterable[Sample]]) -> Iterator[Sample]:
    found: list[Sample] = []
    success = 1
    try:
        found = list(measure())
    except VipctlError:
        success = 0
    yield from found
    yield Sample("vipctl_part_success", success, (part,))


def _module() -> str:
    with suppress(OSError):
        return files.text(MODULE_VERSION).strip()
    return ""


def _watch(state_dir: Where) -> Iterator[Sample]:
    found = runtime.about(runtime.WATCH, state_dir)
    if not (found and found["answers"] and found["ours"]):
        yield Sample("vipctl_watch_up", 0)
        return
    yield Sample("vipctl_watch_up", 1)
    yield Sample("vipctl_watch_start_time_seconds", _moment(found["since"]))
    yield Sample("vipctl_watch_heals_total", found["heals"])
    if last := found["last"]:
        yield Sample("vipctl_watch_last_heal_timestamp_seconds", _moment(last["at"]))
    if alive := found["alive"]:
        yield Sample("vipctl_watch_fit", alive["fit"], (alive["device"],))


def _moment(date: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(date).timestamp()


def _state(read: _Read) -> Iterator[Sample]:
    role, sizes = read.store.role(), counted.sizes(read.store)
    said = read.store.verdicts()
    yield Sample("vipctl_interrupted", read.store.intent() is not None)
    yield Sample("vipctl_active", not role.passive)
    for service in read.services:
        name = (service.name,)
        size = sizes.get(service.name, counted.NONE)
        yield _info(service)
        yield Sample("vipctl_service_prefixes", size["prefixes"], name)
        yield Sample("vipctl_service_addresses", size["addresses"], name)
        yield Sample("vipctl_service_active", role.of(service.name) == "active", name)
        yield from _weights(service, said)
        yield from _health(service, said)


def _info(service: Service) -> Sample:
    form = plain(service)
    how = (str(form.get(key, "")) for key in ("method", "scheduler", "forward"))
    return Sample("vipctl_service_info", 1, (service.name, f"{service.fwmark:08X}", *how))


def _weights(service: Service, said: Verdicts) -> Iterator[Sample]:
    weights = left(service, said)
    for real in service.reals:
        labels = service.name, real.endpoint
        yield Sample("vipctl_real_weight", real.weight, labels)
        yield Sample("vipctl_real_effective_weight", weights[real.endpoint], labels)


def _health(service: Service, said: Verdicts) -> Iterator[Sample]:
    if found := said.of(service):
        yield Sample("vipctl_service_fallback", found.fallback, (service.name,))
    for endpoint, verdict in judged.known(service, said).items():
        labels = service.name, endpoint
        for state in STATES:
            yield Sample("vipctl_real_state", verdict.state == state, (*labels, state))
        if verdict.since:
            yield Sample("vipctl_real_state_timestamp_seconds", _wall(verdict.since), labels)
        for check, finding in verdict.checks.items():
            if finding.passed is not None:
                of = (*labels, check)
                yield Sample("vipctl_check_passed", finding.passed, of)
                yield Sample("vipctl_check_timestamp_seconds", _wall(finding.since), of)


def _wall(since: float) -> float:
    """The moment of the monotonic clock, in seconds since 1970."""
    return round(time.time() - time.monotonic() + since)


def _drift(read: _Read) -> Iterator[Sample]:
    found = _differences(read)
    concerned = {name for one in found for name in one.services}
    yield Sample("vipctl_drift", bool(found))
    for service in read.services:
        yield Sample("vipctl_service_drift", service.name in concerned, (service.name,))


def _differences(read: _Read) -> tuple[Difference, ...]:
    """Raises VipctlError if they are not known."""
    try:
        refuse_foreign_state(read.store, adopt=False)
    except Refused as e:
        return (Difference(e.message, "", tuple(service.name for service in read.services)),)
    found = drift.of(read.store, read.seen, read.store.services().keys())
    if found.kernel.startswith("unknown"):
        raise VipctlError(found.kernel)
    return found.differences


def _ipvs(read: _Read) -> Iterator[Sample]:
    if read.seen is None:
        raise Missing("this kernel has no IPVS")
    names = {service.fwmark: service.name for service in read.services}
    for key, one in read.seen.items():
        of_service, of_reals = one.counters()
        labels = names[key.mark], str(key.version)
        yield from _totals("service", of_service._asdict(), labels, TOTALS)
        for endpoint, found in of_reals.items():
            of_real = names[key.mark], endpoint, str(key.version)
            yield from _totals("real", found._asdict(), of_real, TOTALS | NOW)
    for name, ports in translation.used(read.services, counted.by_ipvs(read.seen)).items():
        for endpoint, number in ports.items():
            of = name, endpoint
            yield Sample("vipctl_real_source_ports_used", number["used"], of)
            yield Sample("vipctl_real_source_ports", number["ports"], of)


def _totals(
    what: str, found: dict[str, int], labels: tuple[str, ...], named: dict[str, tuple[str, str]]
) -> Iterator[Sample]:
    for field, (name, _) in named.items():
        yield Sample(f"vipctl_{what}_{name}", found[field], labels)


def _methods(read: _Read) -> Iterator[Sample]:
    for name, packets in counted.by_methods(read.services).items():
        for kind, number in packets.items():
            yield Sample(f"vipctl_service_{kind}_packets_total", number, (name,))


def _sync(read: _Read) -> Iterator[Sample]:
    found = peers.seen(read.store)
    yield Sample("vipctl_sync_configured", found is not None)
    if found is not None:
        yield from (Sample("vipctl_sync_running", found[role], (role,)) for role in daemons.ROLES)


_READ: dict[str, Callable[[_Read], Iterable[Sample]]] = {
    "state": _state, "drift": _drift, "ipvs": _ipvs, "methods": _methods, "sync": _sync,
}  # fmt: skip
