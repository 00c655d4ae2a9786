"""The `fwmark-iptables` method in tests."""

from tests.harness.netns import Namespace
from tests.netns.bymethod import ByMethod

SAVED = ("iptables-legacy-save", "ip6tables-legacy-save", "ipset save")


class ByIptables(ByMethod):
    """vipctl, with every service accepted by this method."""

    __slots__ = ()
    method = "fwmark-iptables"


def saved(host: Namespace) -> str:
    """Return all of legacy iptables and ipset as their own tools save it."""
    return "".join(host.run(command.split()).stdout for command in SAVED)


def ours(host: Namespace) -> list[str]:
    """Return the lines of it that name vipctl."""
    return [line for line in saved(host).splitlines() if "vipctl" in line.lower()]
