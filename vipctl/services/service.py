"""Services, and each of their options: described here, and nowhere else. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vipctl.addresses.prefixes import VERSIONS, IPAddress
from vipctl.errors import Refused, UsageError
from vipctl.services import ports
from vipctl.services.marks import ACCEPTANCE_PREFIX
from vipctl.services.methods import METHODS, SOURCE_NAT, Features, owner_of
from vipctl.services.option import Option, amount, choice, switch, word, words
from vipctl.services.real import FORM, SERVICE, RealServer, parse_real, parse_reals, real_key
from vipctl.services.syntax import (
    parse_persistence,
    parse_port,
    parse_ports,
    parse_scheduler,
    parse_sources,
)
from vipctl.services.values import AUTO, Forward, Leftover, Persistence, Port, Scheduler

DEFAULT_METHOD = "fwmark"
DEFAULT_SCHEDULER = Scheduler()
Own = tuple[tuple[str, Any], ...]
Given = Mapping[str, Any]  # options that somebody named, and their values


def _known(method: str) -> str:
    if method not in (AUTO, *METHODS):
        raise UsageError(f"{method!r} is not a method", hint="one of " + " ".join(METHODS))
    return method


OPTIONS: dict[str, Option] = {  # by field of a Service
    "fwmark": amount(
        "Default: the lowest free of vipctl's block.", "fwmark", "MARK", 1, 0xFFFFFFFF
    ),
    "method": word(
        "How packets are accepted; default auto, the best here.",
        "",
        _known,
        choices=(AUTO, *METHODS),
        agree=True,
        lasting=True,
    ),
    "ports": words(
        "Only this port, or range of ports; repeat. 'all' is every port, the default.",
        "tcp/80|tcp/1000-2000|udp",
        parse_ports,
        parse_port,
        flag="--port",
    ),
    "leftover": choice(
        "What IPVS does not take is rejected (default) or dropped.", Leftover, agree=True
    ),
    "ping": switch("Answer echo requests; default no.", agree=True),
    "reals": words(
        "Real server; repeat.",
        FORM,
        parse_reals,
        parse_real,
        flag="--real",
        ipvs=True,
    ),
    "scheduler": word(
        "rr, wrr, wlc (the default), sh, mh, …. Flags: ops; of sh and mh fallback, port.",
        "NAME[,FLAG…]",
        parse_scheduler,
        ipvs=True,
    ),
    "forward": choice("Forwarding method; default nat.", Forward, ipvs=True),
    "persistence": Option(
        "Keep a client on its real server; 0: do not. Clients that share the first mask bits of "
        "an IPv4 address, or mask6 of an IPv6 address, stay together. pe=sip: by calls "
        "of SIP over UDP.",
        object,
        parse_persistence,
        Persistence.plain,
        "SECONDS[,mask=N][,mask6=N][,pe=sip]",
        ipvs=True,
    ),
    "source_nat": words(
        "Real servers see this address of the director instead of the client's (nat only); repeat. "
        "'auto' is that of the way to them, 'no' the client's, the default.",
        "IP|auto|no",
        parse_sources,
        flag="--source-nat",
        ipvs=True,
    ),
    "set_sysctls": switch("Set the sysctls that the service needs; default: name them.", ipvs=True),
}


# Of services of any kind: those that only a method has, too.
EVERY_OPTION = OPTIONS | {
    name: option for method in METHODS.values() for name, option in method.options.items()
}


class Service(NamedTuple):
    """A named set of VIPs and how its traffic is balanced.

    Empty `ports` means every protocol and port; empty `source_nat` that real servers see the
    client's address. `own` has the method's own options that
    are not as they are by default, in order.
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
    set_sysctls: bool = False
    own: Own = ()

    @property
    def features(self) -> Features:
        """Of its method."""
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
    def silent(self) -> bool:
        """Whether the director answers no ARP for these VIPs, be one its own address."""
        return "arp" in self.features.options and not self.value("arp")

    @property
    def parts(self) -> tuple[str, ...]:
        """What of `methods` is at work for it."""
        translated = self.balanced and self.source_nat
        return (self.method, SOURCE_NAT) if translated else (self.method,)

    def versions(self) -> frozenset[int]:
        """IP versions for which there is a real server."""
        return frozenset(real.address.version for real in self.reals)

    def forward_of(self, real: RealServer) -> Forward:
        return self.forward if real.forward == SERVICE else Forward(real.forward)

    def forwards(self) -> frozenset[Forward]:
        """Forwarding methods of its real servers; its own as long as it has none."""
        return frozenset(map(self.forward_of, self.reals)) or frozenset({self.forward})

    def options(self) -> dict[str, Option]:
        """Those that a service of its kind has, by field."""
        common = {n: option for n, option in OPTIONS.items() if self.balanced or not option.ipvs}
        return common | dict(self.features.options)

    def value(self, option: str) -> Any:
        if option in OPTIONS:
            return getattr(self, option)
        return dict(self.own).get(option, self.features.options[option].default)

    def values(self, chosen: str) -> tuple[object, ...]:
        """Of its options that are `agree` or `lasting`."""
        options = self.options()
        return tuple(self.value(name) for name in options if getattr(options[name], chosen))

    def altered(self, given: Given) -> "Service":
        """With other values. Raises Refused for those that it cannot have."""
        own = _own(given.get("method", self.method), {**dict(self.own), **given})
        return checked(self._replace(own=own, **_common(given)))

    def with_reals(self, reals: Iterable[RealServer]) -> "Service":
        return checked(self._replace(reals=tuple(sorted(reals, key=real_key))))


def made(name: str, given: Given) -> Service:
    """Of these values, and the defaults of others. Raises Refused."""
    method = given.get("method", DEFAULT_METHOD)
    return checked(Service(name=name, own=_own(method, given), **_common(given)))


def plain(service: Service) -> dict[str, object]:
    """The service in strings and numbers, as `export`, `--json` and the store write it."""
    options = service.options()
    return {name: option.write(service.value(name)) for name, option in options.items()}


def from_plain(name: str, form: Mapping[str, Any]) -> Service:
    """The inverse of `plain`; what is absent has its default. Raises UsageError or Refused."""
    return made(name, {key: EVERY_OPTION[key].read(value) for key, value in form.items()})


def flag(name: str) -> str:
    """How the command line spells an option."""
    return EVERY_OPTION[name].flag or f"--{name.replace('_', '-')}"


def checked(service: Service) -> Service:
    """The service, if its options go together. Raises Refused."""
    _refuse_options_of_other_methods(service)
    _refuse_many_ports(service)
    _refuse_translated_ports(service)
    _refuse_forgotten_connections(service)
    _refuse_untranslated_sources(service)
    _refuse_idle_engine(service)
    return service


def _common(given: Given) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in OPTIONS}


def _own(method: str, given: Given) -> Own:
    """The options in `given` that are methods' own, but for defaults."""
    found = {n: value for n, value in given.items() if n not in OPTIONS}
    usual = {n: METHODS[owner_of(n)].options[n].default for n in found}
    return tuple(sorted((n, value) for n, value in found.items() if value != usual[n]))


def _refuse_options_of_other_methods(service: Service) -> None:
    method, features = service.method, service.features
    for name, _ in service.own:
        if name not in features.options:
            owner, said = owner_of(name), flag(name)
            switched = EVERY_OPTION[name].typed is bool
            raise Refused(
                f"{said} is for --method {owner}, not {method}",
                hint=f"use --method {owner}, or "
                + (f"--no-{said[2:]}" if switched else f"leave {said} out"),
            )
    for name, option in features.options.items():
        if option.needed and not service.value(name):
            raise Refused(
                f"method {method} needs {flag(name)}", hint=f"add {flag(name)} {option.metavar}"
            )
    if service.proxied and (service.accepted_only or service.reals):
        raise Refused(
            f"method {method} hands packets to a local proxy, IPVS never sees them: real servers "
            "and fwmarks for keepalived or ipvsadm are not for it",
            hint="configure the servers in the proxy; for a service that IPVS balances, "
            "remove-service and add it anew",
        )
    for port in service.ports:
        if port.protocol not in features.protocols:
            raise Refused(
                f"method {method} cannot tell {port} apart, only ports of "
                + " and ".join(features.protocols),
                hint="name others, or use another method",
            )


def _refuse_many_ports(service: Service) -> None:
    number = sum(port.end - port.number + 1 for port in service.ports)
    if number > service.features.most_ports:
        raise Refused(
            f"method {service.method} tells {service.features.most_ports:,} ports of a service "
            f"apart, not {number:,}",
            hint="name fewer, all (--port all), or use another method",
        )


def _refuse_translated_ports(service: Service) -> None:
    for real in service.reals:
        forward = service.forward_of(real)
        if real.port and forward is not Forward.NAT:
            raise Refused(
                f"real server {real.endpoint} names a port, which --forward {forward} "
                "cannot translate",
                hint=f"name it as {real.address}, or use --forward nat",
            )


def _refuse_forgotten_connections(service: Service) -> None:
    """IPVS keeps nothing of such a packet by which it could translate the answer."""
    if "ops" in service.scheduler.flags and Forward.NAT in service.forwards():
        raise Refused(
            "one-packet scheduling (ops) forgets each packet at once, and --forward nat could not "
            "translate its answer",
            hint="use --forward dr or tun, or leave ops out",
        )


def _refuse_untranslated_sources(service: Service) -> None:
    others = service.forwards() - {Forward.NAT}
    if service.source_nat and others:
        raise Refused(
            f"--source-nat is for --forward nat: with {min(others)} answers do not come back "
            "to the director, which could translate them",
            hint="use --forward nat, or --source-nat no",
        )


def _refuse_idle_engine(service: Service) -> None:
    engine, protocols = service.persistence.pe, {port.protocol for port in service.ports}
    if engine and protocols and "udp" not in protocols:
        raise Refused(
            f"persistence engine {engine} looks at UDP alone, of which the service names no port",
            hint="add --port udp/5060, or leave pe out",
        )


def ports_disjoint(left: Service, right: Service) -> bool:
    """Whether both name ports and share none: then they may share VIPs."""
    return bool(left.ports and right.ports and ports.disjoint(left.ports, right.ports))


def idle_versions(service: Service) -> tuple[int, ...]:
    """IP versions whose clients nobody can serve, so that they are refused at once."""
    if not service.balanced:
        return ()
    return tuple(v for v in VERSIONS if v not in service.versions())
