"""Settings of the director that do not keep the VIP from answering, but some clients notice."""

from collections.abc import Iterator

from vipctl.diagnosis.case import Case
from vipctl.diagnosis.causes import set_sysctls
from vipctl.diagnosis.steps import Hint
from vipctl.errors import Missing
from vipctl.linux import devices, sysctl
from vipctl.linux.ipvs import daemons
from vipctl.linux.routing import ways
from vipctl.services.real import RealServer
from vipctl.services.values import Forward, Tunnel

FORWARDING = ("net.ipv4.ip_forward", sysctl.FORWARD6)  # see `answering`
REUSE, BACKUP_ONLY = "net.ipv4.vs.conn_reuse_mode", "net.ipv4.vs.backup_only"
PMTU = "net.ipv4.vs.pmtu_disc"
HEADER = {4: 20, 6: 40}  # bytes of the outer IP header
MORE = {"ipip": 0, "gre": 4, "gre+csum": 8, "gue": 12, "gue+csum": 12, "gue+remcsum": 20}


def hints(case: Case) -> Iterator[Hint]:
    yield from _needed(case)
    yield from _reuse(case)
    yield from _sync(case)
    yield from _tunnels(case)


def _needed(case: Case) -> Iterator[Hint]:
    service = case.service
    for name, value in sysctl.missed(sysctl.needed([service]), [service]).items():
        if name not in FORWARDING:
            says = f"{name} is {sysctl.read(name)}, and service {service.name!r} needs {value}"
            yield Hint("sysctl", says, set_sysctls(service))


def _reuse(case: Case) -> Iterator[Hint]:
    idle = [real.endpoint for real in case.reals if not real.weight]
    if idle and sysctl.read(REUSE) == "0":
        says = f"{REUSE}=0: clients that use a port again stay with {idle[0]}, of weight 0"
        yield Hint("port-reuse", says, f"sysctl -w {REUSE}=1")


def _sync(case: Case) -> Iterator[Hint]:
    direct = any(real.forward == Forward.DR for real in case.reals)
    if not direct or sysctl.read(BACKUP_ONLY) != "0":
        return
    try:
        running = daemons.running()
    except Missing:
        return
    if running.keys() == {"backup"}:
        says = f"{BACKUP_ONLY}=0 beside a backup daemon: directors may send each other connections"
        yield Hint("sync-loop", says, f"sysctl -w {BACKUP_ONLY}=1")


def _tunnels(case: Case) -> Iterator[Hint]:
    """Where a full packet of the client's does not go through, and the kernel would refuse it."""
    tunnelled = [real for real in case.chosen if real.forward == Forward.TUN]
    arriving = devices.mtu(case.asked.device_name) if case.asked.device else None
    if not arriving or sysctl.read(PMTU) != "1":
        return
    for real in tunnelled:
        room = _room(real)
        if room and room < arriving:
            says = f"packets over {room} bytes do not fit into the tunnel to {real.address}"
            yield Hint("tunnel-mtu", says, f"sysctl -w {PMTU}=0")
            return


def _room(real: RealServer) -> int | None:
    """For a packet within the tunnel, by the interface that leads to the real server."""
    device = ways.device_to(real.address)
    whole = devices.mtu(ways.name_of(device)) if device else None
    return whole and whole - HEADER[real.address.version] - MORE[_kind(real.tunnel)]


def _kind(tunnel: Tunnel) -> str:
    return tunnel.kind + (f"+{tunnel.checksum}" if tunnel.checksum else "")
