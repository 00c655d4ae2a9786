"""Samples of what the kernel counts, of any number of services, often."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

from vipctl.errors import Missing
from vipctl.files import Where
from vipctl.linux import ipvs
from vipctl.operate import counted
from vipctl.operate.changing import refuse_foreign_state
from vipctl.operate.rates import GAUGES, Numbers, Sample
from vipctl.operate.report import chosen
from vipctl.services.service import Service
from vipctl.state import database
from vipctl.state.store import Store

Key = TypeVar("Key")


class Sampler:
    """Of one state directory, and of some services, or all if none is named.

    The state is read again only when it has changed, and the real servers of a service only where
    somebody looks at them: the kernel lists them service by service.
    """

    def __init__(self, state_dir: Where, names: Collection[str]) -> None:
        self._state_dir, self._names = state_dir, names
        self._stamp: database.Stamp | None = None
        self._services: Mapping[str, Service] = {}

    def sample(self, shown: Iterable[str]) -> Sample:
        """With the real servers of the services in `shown`. Raises VipctlError."""
        services = self._learned()
        wanted = [services[name] for name in shown if name in services]
        found = {name: Counter[str]() for name in services}
        reals: dict[tuple[str, str], Counter[str]] = {}
        for name, packets in counted.by_methods(services.values()).items():
            found[name].update(packets)
        try:
            self._add_totals(found)
            self._add_reals(wanted, found, reals)
        except Missing:  # IPVS
            pass
        endpoints = {n: tuple(r.endpoint for r in one.reals) for n, one in services.items()}
        return Sample(time.monotonic(), endpoints, _plain(found), _plain(reals))

    def _learned(self) -> Mapping[str, Service]:
        """The services that are stored."""
        stamp = database.stamp(self._state_dir)
        if stamp != self._stamp:
            with Store.read(self._state_dir) as store:
                refuse_foreign_state(store, adopt=False)
                self._services = chosen(store, self._names)
            self._stamp = stamp
        return self._services

    def _add_totals(self, found: Mapping[str, Counter[str]]) -> None:
        names = {service.fwmark: name for name, service in self._services.items()}
        for key, totals in ipvs.totals().items():
            if name := names.get(key.mark):
                found[name].update(_moving(totals._asdict()))

    def _add_reals(
        self,
        shown: Iterable[Service],
        found: Mapping[str, Counter[str]],
        reals: dict[tuple[str, str], Counter[str]],
    ) -> None:
        names = {service.fwmark: service.name for service in shown if service.balanced}
        for key, seen in ipvs.look(names).items():
            name = names[key.mark]
            for endpoint, counters in seen.counters()[1].items():
                numbers = counters._asdict()
                reals.setdefault((name, endpoint), Counter()).update(numbers)
                found[name].update({gauge: numbers[gauge] for gauge in GAUGES})


def _moving(numbers: dict[str, int]) -> dict[str, int]:
    """Without the connections of now, which IPVS does not count for a service."""
    return {field: value for field, value in numbers.items() if field not in GAUGES}


def _plain(found: Mapping[Key, Counter[str]]) -> dict[Key, Numbers]:
    return {key: dict(numbers) for key, numbers in found.items()}
