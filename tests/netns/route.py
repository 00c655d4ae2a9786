"""The `route` method in tests."""

from tests.harness.counter import RULESET, LocalInCounter
from tests.harness.netns import Namespace
from tests.netns.bymethod import ByMethod

ROUTE = ("--method", "route")


class ByRoute(ByMethod):
    """vipctl, with every service accepted by this method."""

    __slots__ = ()
    method = "route"


class BeforeIpvs(LocalInCounter):
    """Counts where IPVS looks: behind the marks that this method sets in LOCAL_IN."""

    def __init__(self, ns: Namespace) -> None:
        self.ns = ns
        ns.run(["nft", "-f", "-"], input=RULESET.replace("priority 50", "priority 98"))
