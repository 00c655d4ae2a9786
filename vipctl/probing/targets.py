"""Whom the checks of services ask."""

from collections.abc import Iterable, Iterator, Mapping

from vipctl.addresses.prefixes import IPAddress
from vipctl.errors import VipctlError
from vipctl.health.judging import Question
from vipctl.linux.ipvs.paths import Path, path
from vipctl.services.checks import Check, Target
from vipctl.services.real import RealServer
from vipctl.services.service import Service

Vips = Mapping[tuple[str, int], IPAddress | None]  # one of each service and IP version


Marks = Mapping[Path, int | VipctlError]


def questions(services: Iterable[Service], vips: Vips, marks: Marks) -> Iterator[Question]:
    """All of them; those that go through a VIP once for each IP version that there is a VIP of."""
    for service in services:
        for real in service.reals:
            for check in service.checks:
                yield from _questions(service, real, check, vips, marks)


def _questions(
    service: Service, real: RealServer, check: Check, vips: Vips, marks: Marks
) -> Iterator[Question]:
    port = service.check_port(check, real)
    if not service.checked_by_vip(real):
        yield Question(service.name, real, check, Target(real.address, port))
        return
    for version in real.versions:
        vip = vips.get((service.name, version))
        mark = 0 if check.kind == "exec" else marks[path(service, real, version)]
        if isinstance(mark, VipctlError):
            why = f"IPVS has no way to it for checks: {mark.message}"
            yield Question(service.name, real, check, None, why)
        elif vip:
            target = Target(vip, port, mark, real.address)
            yield Question(service.name, real, check, target)
