"""Moving ranges from other services to one, and renaming a service. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from vipctl.addresses.prefixes import AddressSet
from vipctl.addresses.spans import Spans
from vipctl.errors import Refused
from vipctl.services import planner
from vipctl.services.change import Change, Held, Shape
from vipctl.services.planner import View
from vipctl.services.service import Service


def move(view: View, wanted: AddressSet, target: Service) -> Change:
    """Moves to `target` what other services hold of `wanted`.

    Acceptance-only services that are left with nothing end. Raises Refused if two others share an
    address of it.
    """
    others = [
        name
        for name in planner.sole_holders(view, wanted, "move what only one of them holds")
        if name != target.name
    ]
    services = view.services()
    gone = planner.merged(
        planner.release(view, services[n], wanted, end_if_empty=services[n].accepted_only)
        for n in others
    )
    if not gone:
        return Change()
    return planner.merged([gone, planner.take(_After(view, gone), target, target, gone.lost())])


def rename(view: View, service: Service, name: str) -> Change:
    """Gives the service another name; all else stays. Raises Refused if the name is in use."""
    if name in view.services():
        raise Refused(f"there is a service {name!r} already", hint="vipctl list-services")
    held = view.held(service.name)
    return Change(
        (service,),
        (service._replace(name=name),),
        held,
        {place._replace(service=name): spans for place, spans in held.items()},
    )


class _After(NamedTuple):
    """A view of the store as it is after a change that takes ranges from services."""

    view: View
    change: Change

    def services(self) -> Mapping[str, Service]:
        return self.view.services()

    def held(self, service: str | None = None) -> Held:
        return self._changed(self.view.held(service))

    def touching(self, spans: Spans) -> Held:
        return self._changed(self.view.touching(spans))

    def tallies(self) -> list[tuple[str, Shape, int]]:
        return self.view.tallies()

    def _changed(self, held: Held) -> Held:
        gone = self.change.released
        return {p: spans.without(gone.get(p, Spans(p.version))) for p, spans in held.items()}
