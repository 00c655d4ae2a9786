"""The `fwmark-iptables` method in tests."""

from tests.harness.command import Finished, Vipctl
from tests.harness.netns import Namespace

SAVED = ("iptables-legacy-save", "ip6tables-legacy-save", "ipset save")


class ByIptables(Vipctl):
    """vipctl, with every service accepted by this method."""

    __slots__ = ()

    def text(self, *words: str) -> Finished:
        """Add the option where a service may begin."""
        for command in ("add-range", "add-service"):
            if command in words:
                words = (*words, "--method", "fwmark-iptables")
        return super().text(*words)


def saved(host: Namespace) -> str:
    """Return all of legacy iptables and ipset as their own tools save it."""
    return "".join(host.run(command.split()).stdout for command in SAVED)


def ours(host: Namespace) -> list[str]:
    """Return the lines of it that name vipctl."""
    return [line for line in saved(host).splitlines() if "vipctl" in line.lower()]
