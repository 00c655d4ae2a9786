"""Methods: ways to make packets for VIPs reach LOCAL_IN with their service's fwmark."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from vipctl.errors import Missing, UsageError
from vipctl.services.methods import METHODS, SOURCE_NAT

if TYPE_CHECKING:
    from vipctl.services.batch import Batch
    from vipctl.services.change import Acceptance, Entry
    from vipctl.services.seal import Seal

NAMES = tuple(METHODS)  # best first
PARTS = (*NAMES, SOURCE_NAT)  # all modules that have the interface `Method`
UNCOUNTED = ("fwmark-iptables",)  # those whose `epoch` is always ""


class Method(Protocol):
    """One module of this package, acting on the calling thread's network namespace.

    If it is SIZED, the `Shape`s that it is given say how much room they need. LOCAL is the routing
    table that makes VIPs local, None if packets for VIPs are not routed. If it is ROUTED, it needs
    routes to `lo`. If it is SEARCHED, `has` looks up one prefix; else it may have to read all.
    """

    WITNESSED: bool  # whether it needs the `witnesses` of an `Acceptance`
    SIZED: bool
    LOCAL: int | None
    ROUTED: bool
    SEARCHED: bool

    def probe(self) -> Iterable[str]:
        """Notes for the operator about this method on this director; may be evaluated lazily. Fast.

        Raises Missing, with the reason and the cure, where the director cannot use the method.
        """

    def owner(self) -> str:
        """The `owner` of the `Acceptance` that is in the kernel; "" if nothing there tells."""

    def seal(self, acceptance: "Acceptance") -> "Seal":
        """Whether the kernel has what `acceptance` needs, without looking at every prefix; O(1).

        Where the kernel tells nothing about all prefixes, `acceptance.witnesses` stand for them.
        """

    def unlike(self, acceptance: "Acceptance") -> Iterable[str]:
        """What `seal` finds otherwise, in words; nothing if all that is wanted is there.

        It was made anew then, or changed in a way that `seal` alone notices.
        """

    def marks(self, version: int) -> bool:
        """Whether there is anything left that gives packets of an IP version their mark.

        That it does so rightly, `seal` tells.
        """

    def apply(
        self, before: "Acceptance", after: "Acceptance", removed: "Batch", added: "Batch"
    ) -> int:
        """Takes the kernel from one state to the next. Raises KernelError.

        Returns by how many steps that raised the epoch's counter. A packet for a VIP of both states
        is accepted all the time. A prefix both in `removed` and in `added` is of a service that
        changed, or goes from one service to another.
        """

    def load(self, after: "Acceptance", wanted: "Batch") -> int:
        """Takes the kernel to `after` from any state, interrupting traffic as little as possible.

        Returns steps as `apply` does. Raises KernelError.
        """

    def epoch(self) -> str:
        """The name and the value of a kernel counter that each change of prefixes raises.

        "" where the kernel has none.
        """

    def holds(self, acceptance: "Acceptance", wanted: "Batch", since: str) -> bool:
        """Whether the kernel has exactly these prefixes, as it had in epoch `since`.

        Reads all prefixes, which is slow, unless `since` is still the present epoch.
        """

    def has(self, entry: "Entry", since: str) -> bool:
        """Whether the kernel has this prefix; `since` is the epoch in which it had it, or ""."""


class Counting(Protocol):
    """A method whose features name counters."""

    def counters(self) -> Mapping[int, dict[str, int]]:
        """The packets of each of its services, by mark. Raises Missing."""


class Sized(Protocol):
    """A method that knows how many prefixes it has."""

    def sizes(self) -> Mapping[int, int]:
        """How many prefixes each of its services has, by mark. Raises Missing."""


class Rerouting(Protocol):
    """A method whose prefixes are not routes."""

    def reroute(self, after: "Acceptance") -> bool:
        """Restores its rules and routes; or returns False, as something else is missing too.

        The prefixes are known to be those of `after`: they are not read.
        """


def get(name: str) -> Method:
    """The module of a method. Raises UsageError for a name that is not a method."""
    if name not in PARTS:
        raise UsageError(f"{name!r} is not a method", hint="one of " + " ".join(NAMES))
    return cast(Method, import_module(f"{__name__}.{name.replace('-', '_')}"))


def counters(name: str) -> Mapping[int, dict[str, int]]:
    return cast(Counting, get(name)).counters()


def sizes(name: str) -> Mapping[int, int]:
    """Nothing, if the method does not know."""
    module = get(name)
    return cast(Sized, module).sizes() if hasattr(module, "sizes") else {}


def rerouted(name: str, after: "Acceptance") -> bool:
    """Whether a method whose prefixes are as they should be needed no more than its routes."""
    module = get(name)
    return hasattr(module, "reroute") and cast(Rerouting, module).reroute(after)


def unusable(name: str) -> Missing | None:
    """The error that says why the director cannot use the method; None if it can."""
    try:
        get(name).probe()
    except Missing as e:
        return e
    return None


def best(*, proxied: bool) -> str:
    """The first method that the director can use, for a local proxy or for IPVS.

    Raises Missing with every reason if there is none.
    """
    reasons = {}
    for name in NAMES:
        if METHODS[name].proxied is proxied:
            problem = unusable(name)
            if problem is None:
                return name
            reasons[name] = problem
    said = "; ".join(f"{name}: {problem.message}" for name, problem in reasons.items())
    hint = next((problem.hint for problem in reasons.values()), None)
    raise Missing(f"this director can use no method ({said})", hint=hint)


def passed_over(name: str) -> dict[str, str]:
    """Methods better than `name` that the director cannot use, and why."""
    better = [n for n in NAMES[: NAMES.index(name)] if not METHODS[n].proxied]
    problems = {n: unusable(n) for n in better}
    return {n: problem.message for n, problem in problems.items() if problem}
