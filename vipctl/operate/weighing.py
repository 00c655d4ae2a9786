"""The use cases of health checks: whom they ask, and that IPVS follows what they say."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vipctl.errors import VipctlError
from vipctl.files import Where
from vipctl.health.judging import Question
from vipctl.health.outliers import Count
from vipctl.health.verdicts import Verdicts
from vipctl.linux import ipvs
from vipctl.linux.ipvs import paths
from vipctl.operate import checking
from vipctl.reconcile import weights
from vipctl.services.service import Service
from vipctl.state import database
from vipctl.state import verdicts as file
from vipctl.state.database import Stamp
from vipctl.state.store import Store


class Learnt(NamedTuple):
    """What is stored, and what is to be asked for it."""

    services: Sequence[Service]
    questions: Sequence[Question]

    @property
    def marks(self) -> set[int]:
        """Of ways through IPVS."""
        return {q.target.mark for q in self.questions if q.target and q.target.mark}


NOTHING = Learnt((), ())


class Weighing(NamedTuple):
    """Of one state directory and the network namespace of the calling thread."""

    state_dir: Where

    def before(self) -> Verdicts:
        """What a daemon has said last."""
        return file.read(self.state_dir)

    def stamp(self) -> Stamp:
        """Other than before once something is stored."""
        return database.stamp(self.state_dir)

    def learn(self) -> Learnt:
        """Has IPVS have the ways of checks through VIPs. Raises VipctlError."""
        with Store.read(self.state_dir) as store:
            return Learnt(tuple(store.services().values()), tuple(checking.asked(store)))

    def lost(self, learnt: Learnt) -> bool:
        """Whether somebody else has taken away ways of checks through VIPs."""
        if not learnt.marks:
            return False
        with Store.read(self.state_dir) as store:
            return not learnt.marks <= paths.present(store.token())

    def forget(self) -> None:
        """Removes these ways. Raises VipctlError."""
        with Store.read(self.state_dir) as store:
            checking.forget(store)

    def counted(self, services: Iterable[Service]) -> dict[tuple[str, str], Count]:
        """What IPVS has counted of their real servers. Raises VipctlError."""
        by_mark = {service.fwmark: service.name for service in services}
        found: dict[tuple[str, str], Count] = {}
        for key, seen in ipvs.look(by_mark).items():
            for endpoint, one in seen.counters()[1].items():
                whose = by_mark[key.mark], endpoint
                connections, size = found.get(whose, Count(0, 0))
                size += one.bytes_in + one.bytes_out
                found[whose] = Count(connections + one.connections, size)
        return found

    def follow(self, before: Verdicts, after: Verdicts) -> list[VipctlError]:
        """Writes what checks say, and has IPVS follow; returns what it refuses."""
        return weights.follow(self.state_dir, before, after)
