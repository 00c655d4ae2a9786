"""Has IPVS follow what health checks say, while commands may be at work."""

from vipctl.errors import Missing, VipctlError
from vipctl.files import Where
from vipctl.health.verdicts import Verdicts, effective
from vipctl.linux import ipvs
from vipctl.services.service import Service
from vipctl.state import verdicts as file
from vipctl.state.directory import weighing
from vipctl.state.store import Store


def follow(state_dir: Where, before: Verdicts, after: Verdicts) -> list[VipctlError]:
    """Writes the verdicts, and edits the real servers of services that have others now.

    The services are read while nobody edits weights: a command stores them before it begins to.
    What IPVS does not have at all is for healing. Returns what IPVS refuses.
    """
    with weighing(state_dir):
        file.write(state_dir, after)
        with Store.read(state_dir) as store:
            services = [s for s in store.services().values() if _differs(s, before, after)]
        wanted = ipvs.desired(services, after)
        try:
            present = ipvs.read({key.mark for key in wanted})
        except Missing:
            return []
        there = {key: virtual for key, virtual in wanted.items() if key in present}
        return list(ipvs.add(there, present).values())


def _differs(service: Service, before: Verdicts, after: Verdicts) -> bool:
    return service.balanced and effective(service, before) != effective(service, after)
