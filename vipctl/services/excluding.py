"""Refusals of options that exclude each other. Pure."""

from typing import TYPE_CHECKING

from vipctl.errors import Refused
from vipctl.services.methods import owner_of
from vipctl.services.options import EVERY_OPTION
from vipctl.services.real import TUNNELLED
from vipctl.services.values import Forward

if TYPE_CHECKING:
    from vipctl.services.service import Service


def refuse(service: "Service") -> None:
    """Raises Refused if a service's options exclude each other."""
    _refuse_options_of_other_methods(service)
    _refuse_missing_options(service)
    _refuse_servers_of_a_proxy(service)
    _refuse_unknown_protocols(service)
    _refuse_many_ports(service)
    _refuse_translated_ports(service)
    _refuse_idle_tunnels(service)
    _refuse_forgotten_connections(service)
    _refuse_untranslated_sources(service)
    _refuse_idle_engine(service)


def _refuse_options_of_other_methods(service: "Service") -> None:
    method, features = service.method, service.features
    for name, _ in service.own:
        if name not in features.options:
            owner, said = owner_of(name), EVERY_OPTION[name].spelled(name)
            switched = EVERY_OPTION[name].typed is bool
            raise Refused(
                f"{said} is for --method {owner}, not {method}",
                hint=f"use --method {owner}, or "
                + (f"--no-{said[2:]}" if switched else f"leave {said} out"),
            )


def _refuse_missing_options(service: "Service") -> None:
    for name, option in service.features.options.items():
        if option.needed and not service.value(name):
            said = option.spelled(name)
            raise Refused(
                f"method {service.method} needs {said}", hint=f"add {said} {option.metavar}"
            )


def _refuse_servers_of_a_proxy(service: "Service") -> None:
    if service.proxied and (service.accepted_only or service.reals):
        raise Refused(
            f"method {service.method} hands packets to a local proxy, IPVS never sees them: "
            "real servers and fwmarks for keepalived or ipvsadm are not for it",
            hint="configure the servers in the proxy; for a service that IPVS balances, "
            "remove-service and add it anew",
        )


def _refuse_unknown_protocols(service: "Service") -> None:
    for port in service.ports:
        if port.protocol not in service.features.protocols:
            raise Refused(
                f"method {service.method} cannot tell {port} apart, only ports of "
                + " and ".join(service.features.protocols),
                hint="name others, or use another method",
            )


def _refuse_many_ports(service: "Service") -> None:
    number = sum(port.end - port.number + 1 for port in service.ports)
    if number > service.features.most_ports:
        raise Refused(
            f"method {service.method} tells {service.features.most_ports:,} ports of a service "
            f"apart, not {number:,}",
            hint="name fewer, all (--port all), or use another method",
        )


def _refuse_translated_ports(service: "Service") -> None:
    for real in service.reals:
        forward = service.forward_of(real)
        if real.port and forward is not Forward.NAT:
            raise Refused(
                f"real server {real.endpoint} names a port, which --forward {forward} "
                "cannot translate",
                hint=f"name it as {real.address}, or use --forward nat",
            )


def _refuse_idle_tunnels(service: "Service") -> None:
    for real in service.reals:
        forward = service.forward_of(real)
        for key, usual in TUNNELLED.items() if forward is not Forward.TUN else ():
            if getattr(real, key) != usual:
                raise Refused(
                    f"real server {real.endpoint} has {key}={getattr(real, key)}, which is for "
                    f"--forward tun, not {forward}",
                    hint=f"add forward=tun to it, use --forward tun, or give it {key}={usual}",
                )


def _refuse_forgotten_connections(service: "Service") -> None:
    """With one-packet scheduling IPVS keeps no connection, so it cannot translate the answer."""
    if "ops" in service.scheduler.flags and Forward.NAT in service.forwards():
        raise Refused(
            "one-packet scheduling (ops) forgets each packet at once, and --forward nat could not "
            "translate its answer",
            hint="use --forward dr or tun, or leave ops out",
        )


def _refuse_untranslated_sources(service: "Service") -> None:
    others = service.forwards() - {Forward.NAT}
    if service.source_nat and others:
        raise Refused(
            f"--source-nat is for --forward nat: with {min(others)} answers do not come back "
            "to the director, which could translate them",
            hint="use --forward nat, or --source-nat no",
        )


def _refuse_idle_engine(service: "Service") -> None:
    engine, protocols = service.persistence.pe, {port.protocol for port in service.ports}
    if engine and protocols and "udp" not in protocols:
        raise Refused(
            f"persistence engine {engine} looks at UDP alone, of which the service names no port",
            hint="add --port udp/5060, or leave pe out",
        )
