"""The use case of a device that is up while this director is fit: what speaks against that."""

from collections.abc import Iterator
from typing import NamedTuple

from vipctl.errors import VipctlError
from vipctl.files import Where
from vipctl.health.fitness import CALM, FILLING, KEEP, Reason, of_services
from vipctl.health.verdicts import Verdicts
from vipctl.linux import devices
from vipctl.linux.ipvs import daemons
from vipctl.services.service import Service
from vipctl.services.sync import Sync
from vipctl.state import database
from vipctl.state.database import Stamp
from vipctl.state.store import Store


class Needs(NamedTuple):
    """The device, and the interfaces and services without which it is not to be up."""

    device: str
    interfaces: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


class Examined(NamedTuple):
    """What speaks against the director, and for how long nothing is to, before it is fit."""

    reasons: list[Reason]
    calm: float = CALM


class Examining:
    """Of one state directory and the network namespace of the calling thread."""

    def __init__(self, state_dir: Where, needs: Needs) -> None:
        self._state_dir, self._needs = state_dir, needs
        self._stamp: Stamp | None = None
        self._services: tuple[Service, ...] = ()
        self._passive = False
        self._sync: Sync | None = None

    def examine(self, said: Verdicts, *, first: bool) -> Examined:
        """With what health checks say; `first`: they may not have had time to answer."""
        try:
            self._learn()
            reasons = list(self._reasons(said, first=first))
        except VipctlError as error:
            reasons = [Reason("this cannot be examined", error.message, KEEP)]
        return Examined(reasons, FILLING if self._sync else CALM)

    def _learn(self) -> None:
        """Takes note of what is stored now, if that is other than before."""
        if (stamp := database.stamp(self._state_dir)) == self._stamp:
            return
        with Store.read(self._state_dir) as store:
            self._services = tuple(store.services().values())
            self._passive, self._sync = store.role().passive, store.sync()
        self._stamp = stamp

    def _reasons(self, said: Verdicts, *, first: bool) -> Iterator[Reason]:
        if self._passive:
            yield Reason("this director is passive (vipctl activate)")
        for name in self._needs.interfaces:
            if not devices.is_up(name):
                yield Reason(f"interface {name} is down")
        yield from of_services(self._services, self._needs.services, said, first=first)
        if self._sync and daemons.running().get("backup") != self._sync:
            yield Reason("connections of other directors are not taken", patience=KEEP)
