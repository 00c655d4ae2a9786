"""Services with real servers where the kernel has no IPVS, so that no command would add them."""

from tests.harness.command import Vipctl
from tests.unit.committing import commit
from vipctl.services.change import Change
from vipctl.services.real import parse_reals
from vipctl.services.syntax import parse_scheduler
from vipctl.services.values import Forward
from vipctl.state.store import Store


def balance(
    vipctl: Vipctl, method: str, reals: tuple[str, ...], forward: str, scheduler: str
) -> None:
    """Have service `web` stored so, and the kernel have all of it but what is IPVS's."""
    with vipctl.host, Store.open(vipctl.state_dir) as opened:
        before = opened.services()["web"]
        after = before._replace(
            method=method, forward=Forward(forward), scheduler=parse_scheduler(scheduler)
        ).with_reals(parse_reals(reals))
        commit(opened, Change(before=(before,), after=(after,)))
    assert vipctl.text("restore").code == (5 if reals else 0)
