"""Virtual services as ipvsadm and keepalived write them, and how they are read."""

from collections.abc import Iterable, Iterator, Mapping

from vipctl.importing import ipvsadm, keepalived
from vipctl.importing.found import Place
from vipctl.importing.gather import Gathered, gathered
from vipctl.services.checks import Check
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Forward

SWITCH = {Forward.NAT: "-m", Forward.DR: "-g", Forward.TUN: "-i"}


NO_FILES: Mapping[str, str] = {}


def of_ipvsadm(text: str) -> Gathered:
    return gathered(ipvsadm.read("rules", text))


def of_keepalived(text: str, files: Mapping[str, str] = NO_FILES) -> Gathered:
    def include(_place: Place, name: str) -> list[tuple[str, str]]:
        return [(name, files[name])] if name in files else []

    return gathered(keepalived.read("conf", text, include))


def told(found: Gathered) -> list[str]:
    return [f"{note.place.line}: {note.words}: {note.why}" for note in found.notes]


def rules_of(services: Iterable[Service]) -> str:
    """As `ipvsadm -Sn` does, and with thresholds, which that leaves out."""
    return "".join(f"{line}\n" for service in services for line in _rules(service))


def _rules(service: Service) -> Iterator[str]:
    for version in sorted(service.versions()):
        signed = (service.fwmark ^ 0x80000000) - 0x80000000  # as C prints it
        name = f"-f {signed}" + (" -6" if version == 6 else "")
        yield f"-A {name} {_options(service, version)}"
        for real in (r for r in service.reals if version in r.versions):
            limits = f"-x {real.upper} -y {real.lower}"
            switch = SWITCH[service.forward_of(real)] + _tunnel(real)
            yield f"-a {name} -r {_endpoint(real)} {switch} -w {real.weight} {limits}"


def _tunnel(real: RealServer) -> str:
    kind, port, checksum = real.tunnel
    words = [f" --tun-type {kind}"] * (kind != "ipip") + [f" --tun-port {port}"] * (port > 0)
    return "".join([*words, *[f" --tun-{checksum}"] * bool(checksum)])


def _options(service: Service, version: int) -> str:
    kind, flags = service.scheduler
    words = [f"-s {kind}"]
    if service.persistence.seconds:
        words.append(f"-p {service.persistence.seconds} -M {_mask(service, version)}")
    if service.persistence.pe:
        words.append(f"--pe {service.persistence.pe}")
    if "ops" in flags:
        words.append("-o")
    if own := [f"{kind}-{flag}" for flag in flags if flag != "ops"]:
        words.append("-b " + ",".join(own))
    return " ".join(words)


def _mask(service: Service, version: int) -> str:
    if version == 6:
        return str(service.persistence.mask6)
    bits = 0xFFFFFFFF << 32 - service.persistence.mask & 0xFFFFFFFF
    return ".".join(str(byte) for byte in bits.to_bytes(4, "big"))


def _endpoint(real: RealServer) -> str:
    host = f"[{real.address}]" if real.address.version == 6 else str(real.address)
    return f"{host}:{real.port}"


def blocks_of(services: Iterable[Service]) -> str:
    """As a careful operator would: one virtual server for each IP version."""
    return "\n".join(line for service in services for line in _blocks(service))


def _blocks(service: Service) -> Iterator[str]:
    kind, flags = service.scheduler
    for version in sorted(service.versions()):
        yield f"virtual_server fwmark {service.fwmark} {{  ! {service.name}"
        yield f"  ip_family inet{'6' if version == 6 else ''}\n  lb_algo {kind}"
        yield from (f"  {flag}" if flag == "ops" else f"  {kind}-{flag}" for flag in flags)
        yield f"  lvs_method {service.forward.upper()}"
        if service.persistence.seconds:
            yield f"  persistence_timeout {service.persistence.seconds}"
            yield f"  persistence_granularity {_mask(service, version)}"
        if service.persistence.pe:
            yield f"  persistence_engine {service.persistence.pe}"
        for real in (r for r in service.reals if version in r.versions):
            yield from _block(service, real)
        yield "}"


CHECKERS = {"tcp": "TCP_CHECK", "http": "HTTP_GET", "https": "SSL_GET", "udp": "UDP_CHECK"}


def _checker(check: Check) -> Iterator[str]:
    yield f"    {CHECKERS[check.kind]} {{\n      connect_port {check.port}"
    yield f"      delay_loop {check.every}\n      delay_before_retry {check.every}"
    yield f"      connect_timeout {check.timeout}\n      retry {check.fall - 1}"
    if check.kind == "udp":
        yield f"      payload {check.send.hex()}\n      require_reply {check.expect.hex()}"
    if check.what:
        low, high = check.status
        yield f'      url {{\n        path "{check.what}"\n        status_code {low}-{high}'
        yield from [f'        regex "{check.body}"'] * bool(check.body)
        yield from [f"        virtualhost {check.host}"] * bool(check.host)
        yield "      }"
    yield "    }"


def _block(service: Service, real: RealServer) -> Iterator[str]:
    yield f"  real_server {real.address} {real.port}\n  {{"
    yield f"    weight {real.weight}  # its share"
    yield f"    uthreshold {real.upper}\n    lthreshold {real.lower}"
    tunnel = _tunnel(real).replace("--tun-", "")
    yield f"    lvs_method {service.forward_of(real).upper()}{tunnel}"
    for check in service.checks:
        yield from _checker(check)
    yield "    inhibit_on_failure\n  }" if not service.dead_after else "  }"
