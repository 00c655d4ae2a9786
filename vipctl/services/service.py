"""Services, and what follows from their options. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vipctl.addresses.prefixes import VERSIONS, IPAddress
from vipctl.services import checkable, excluding, ports
from vipctl.services.agents import Agent
from vipctl.services.checks import Check
from vipctl.services.marks import ACCEPTANCE_PREFIX
from vipctl.services.methods import METHODS, SOURCE_NAT, Features, owner_of
from vipctl.services.option import Option
from vipctl.services.options import EVERY_OPTION, OPTIONS
from vipctl.services.real import SERVICE, RealServer, real_key
from vipctl.services.values import (
    AllDown,
    CheckVia,
    Feedback,
    Forward,
    Leftover,
    Persistence,
    Port,
    Scheduler,
)

DEFAULT_METHOD = "fwmark"
DEFAULT_SCHEDULER = Scheduler()
Own = tuple[tuple[str, Any], ...]
Given = Mapping[str, Any]  # options that somebody named, and their values


class Service(NamedTuple):
    """A named set of VIPs and how its traffic is balanced.

    Empty `ports` means every protocol and port; empty `source_nat` that real servers see the
    client's address. `own` has those of the method's own options that differ from their defaults,
    sorted by name.
    """

    name: str
    fwmark: int
    method: str = DEFAULT_METHOD
    ports: tuple[Port, ...] = ()
    leftover: Leftover = Leftover.REJECT
    ping: bool = False
    reals: tuple[RealServer, ...] = ()
    scheduler: Scheduler = DEFAULT_SCHEDULER
    forward: Forward = Forward.NAT
    persistence: Persistence = Persistence()
    source_nat: tuple[IPAddress | str, ...] = ()
    checks: tuple[Check, ...] = ()
    check_via: CheckVia = CheckVia.AUTO
    fallback: RealServer | None = None
    all_down: AllDown = AllDown.KEEP
    slow_start: int = 0
    dead_after: int = 0
    agent: Agent | None = None
    feedback: Feedback = Feedback.NO
    set_sysctls: bool = False
    own: Own = ()

    @property
    def features(self) -> Features:
        """The features of its method."""
        return METHODS[self.method]

    @property
    def accepted_only(self) -> bool:
        """Whether keepalived or ipvsadm owns the IPVS side."""
        return self.name.startswith(ACCEPTANCE_PREFIX)

    @property
    def proxied(self) -> bool:
        """Whether a local proxy gets the packets, and IPVS none."""
        return self.features.proxied

    @property
    def balanced(self) -> bool:
        """Whether IPVS has virtual services of ours for it."""
        return not (self.accepted_only or self.proxied)

    @property
    def watched(self) -> bool:
        """Whether others than the operator have a say in its weights."""
        return self.balanced and bool(self.checks or self.agent or self.feeds_back)

    @property
    def feeds_back(self) -> bool:
        return self.feedback is Feedback.LOAD

    @property
    def silent(self) -> bool:
        """Whether ARP requests for its VIPs are dropped: method `route` without --arp."""
        return "arp" in self.features.options and not self.value("arp")

    @property
    def exclusive(self) -> bool:
        """Whether only one director may serve it, as each answers ARP, or by its own proxy."""
        return self.proxied or ("arp" in self.features.options and bool(self.value("arp")))

    @property
    def parts(self) -> tuple[str, ...]:
        """The modules of `methods` that serve it: its method, and source NAT if it has that."""
        translated = self.balanced and self.source_nat
        return (self.method, SOURCE_NAT) if translated else (self.method,)

    def versions(self) -> frozenset[int]:
        """IP versions of VIPs for which there is a real server."""
        return frozenset(version for real in self.reals for version in real.versions)

    def forward_of(self, real: RealServer) -> Forward:
        return self.forward if real.forward == SERVICE else Forward(real.forward)

    def forwards(self) -> frozenset[Forward]:
        """The forwarding methods of its real servers; the service's own if it has none."""
        return frozenset(map(self.forward_of, self.servers)) or frozenset({self.forward})

    def checked_by_vip(self, real: RealServer) -> bool:
        """Whether its checks ask the real server through IPVS, at a VIP."""
        if self.check_via is CheckVia.AUTO:
            return self.forward_of(real) is not Forward.NAT
        return self.check_via is CheckVia.VIP

    def check_port(self, check: Check, real: RealServer) -> int:
        """The port that a check asks: its own, the real server's, the only one; 0: none is."""
        named = [port for port in self.ports if port.protocol == check.protocol]
        only = named[0].number if len(named) == 1 and not named[0].last else 0
        return check.port or real.port or only

    @property
    def servers(self) -> tuple[RealServer, ...]:
        """All that may get its packets: the real servers, and the fallback."""
        return self.reals if self.fallback is None else (*self.reals, self.fallback)

    def when_all_down(self) -> AllDown:
        """What it does then: a fallback is used unless `all_down` says otherwise."""
        return AllDown.FALLBACK if self.fallback else self.all_down

    def options(self) -> dict[str, Option]:
        """The options that apply to a service of this kind, by field."""
        common = {n: option for n, option in OPTIONS.items() if self.balanced or not option.ipvs}
        return common | dict(self.features.options)

    def value(self, option: str) -> Any:
        if option in OPTIONS:
            return getattr(self, option)
        return dict(self.own).get(option, self.features.options[option].default)

    def values(self, chosen: str) -> tuple[object, ...]:
        """The values of its options that are `chosen`: "agree" or "lasting"."""
        options = self.options()
        return tuple(self.value(name) for name in options if getattr(options[name], chosen))

    def altered(self, given: Given) -> "Service":
        """With other options. Raises Refused if these exclude each other."""
        own = _own(given.get("method", self.method), {**dict(self.own), **given})
        return checked(self._replace(own=own, **_common(given)))

    def with_reals(self, reals: Iterable[RealServer]) -> "Service":
        return checked(self._replace(reals=tuple(sorted(reals, key=real_key))))


def made(name: str, given: Given) -> Service:
    """A service with these options, and defaults for others. Raises Refused as `checked`."""
    method = given.get("method", DEFAULT_METHOD)
    return checked(Service(name=name, own=_own(method, given), **_common(given)))


def plain(service: Service) -> dict[str, object]:
    """The service in strings and numbers, as `export`, `--json` and the store write it."""
    options = service.options()
    return {name: option.write(service.value(name)) for name, option in options.items()}


def from_plain(name: str, form: Mapping[str, Any]) -> Service:
    """The inverse of `plain`; what is absent has its default. Raises UsageError or Refused."""
    return made(name, {key: EVERY_OPTION[key].read(value) for key, value in form.items()})


def checked(service: Service) -> Service:
    """Returns the service. Raises Refused if its options exclude each other."""
    excluding.refuse(service)
    checkable.refuse(service)
    return service


def _common(given: Given) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in OPTIONS}


def _own(method: str, given: Given) -> Own:
    """The options in `given` that belong to a method, without those with their defaults."""
    found = {n: value for n, value in given.items() if n not in OPTIONS}
    usual = {n: METHODS[owner_of(n)].options[n].default for n in found}
    return tuple(sorted((n, value) for n, value in found.items() if value != usual[n]))


def ports_disjoint(left: Service, right: Service) -> bool:
    """Whether both name ports and share none: then they may share VIPs."""
    return bool(left.ports and right.ports and ports.disjoint(left.ports, right.ports))


def idle_versions(service: Service) -> tuple[int, ...]:
    """IP versions without a real server: their clients are refused at once."""
    if not service.balanced:
        return ()
    return tuple(v for v in VERSIONS if v not in service.versions())
