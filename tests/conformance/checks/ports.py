"""Services that name ports, share VIPs, or have no server; pings and ARP."""

from ftplib import Error
from functools import partial

from tests.conformance.cell import PROXY, Cell
from tests.conformance.checks import YES, Check
from tests.conformance.checks.traffic import insistent
from tests.conformance.expectations import patience
from tests.conformance.observe import SILENCE, word, worst
from tests.conformance.site import UNSERVED, Site, vip
from tests.harness import ftp
from tests.harness.traffic import Reply, tcp_get, tcp_post, udp_ask

PING_LIMIT = 1.5  # seconds
FTP = "FTP ({}) works with `ip_vs_ftp` where the service names tcp/21 alone"


def _sharing(site: Site, cell: Cell) -> str:
    target, limit = vip(site, cell, "ports"), patience(cell)
    role = PROXY if cell.forwarding == PROXY else "real"
    return worst(
        word(tcp_post(site.client, target, 80, 10_000, timeout=limit), f"{role}1"),
        word(udp_ask(site.client, target, 53, timeout=limit), f"{role}2"),
    )


def _overlap(site: Site, cell: Cell) -> str:
    """Ask for a port of a VIP that has a service already."""
    words = ["add-range", vip(site, cell, "ports"), "--service=more", f"--method={cell.method}"]
    options = ["--to-port=8080"] if cell.forwarding == PROXY else [f"--forward={cell.forwarding}"]
    done = site.command(*words, *options, "--port=udp/53", "--port=tcp/443")
    if done.code == 0:
        site.command("remove-service", "more")
    return YES if done.code == 3 and "held by" in done.stderr else done.stderr or "allowed"


def _ftp(site: Site, cell: Cell) -> str:
    """Its data connections have ports that no service names."""
    target, limit = vip(site, cell, "ftp"), patience(cell)
    try:
        got = ftp.download(site.client, target, cell.variant, limit)
    except TimeoutError:
        return SILENCE
    except ConnectionRefusedError:
        return "refused"
    except (Error, EOFError) as error:
        return f"{type(error).__name__}: {error}"
    return YES if got == ftp.FILE else f"{len(got)} bytes"


def _refused(reply: Reply) -> str:
    seen = word(reply)
    return {"refused": YES, YES: "answered"}.get(seen, seen)


def _other_port(site: Site, cell: Cell) -> str:
    ask = tcp_get if cell.variant == "TCP" else udp_ask
    return _refused(ask(site.client, vip(site, cell, "ports"), UNSERVED, timeout=patience(cell)))


def _idle(site: Site, cell: Cell) -> str:
    ask = tcp_get if cell.variant == "TCP" else udp_ask
    return _refused(ask(site.client, vip(site, cell, "idle"), 80, timeout=patience(cell)))


def _pinged(site: Site, target: str) -> bool:
    ping = ["ping", "-c1", f"-W{PING_LIMIT}", target]
    return site.client.run(ping, check=False).returncode == 0


def _no_ping(site: Site, cell: Cell) -> str:
    return "answered" if _pinged(site, vip(site, cell)) else YES


def _ping(site: Site, cell: Cell) -> str:
    """Echoes must not cost anything else, for all the connection tracking that they need."""
    target, limit = vip(site, cell, "pinged"), patience(cell)
    return worst(
        YES if _pinged(site, target) else SILENCE,
        word(tcp_get(site.client, target, 80, timeout=limit)),
        word(insistent(site, target, limit)),
    )


def _neighbour(kind: str, site: Site, cell: Cell) -> str:
    """Ask on the wire who has a VIP, instead of sending it to the director."""
    target = vip(site, cell, kind)
    site.client.ip(f"route replace {target} dev eth0")
    try:
        reply = udp_ask(site.client, target, 80, timeout=patience(cell))
        return "nobody answers" if word(reply) == "unreachable" else word(reply)
    finally:
        site.client.ip(f"route del {target} dev eth0")


def _no_arp(site: Site, cell: Cell) -> str:
    seen = _neighbour("all", site, cell)
    return {"nobody answers": YES, YES: "answered"}.get(seen, seen)


CHECKS = {
    "shared-vips": Check(
        "two services may share VIPs if their ports differ", _sharing, kind="ports", stage="plain"
    ),
    "overlap": Check(
        "services that share VIPs and a port are refused", _overlap, kind="ports", stage="plain"
    ),
    "other-port": Check(
        "a {} port without a service is refused at once",
        _other_port,
        kind="ports",
        stage="plain",
        variants=("TCP", "UDP"),
    ),
    "ftp": Check(
        FTP,
        _ftp,
        kind="ftp",
        stage="tracked",
        variants=("EPSV", "EPRT"),
        forwardings=("nat",),
    ),
    "ftp-v4": Check(
        FTP,
        _ftp,
        kind="ftp",
        stage="tracked",
        variants=("PASV", "PORT"),
        versions=(4,),
        forwardings=("nat",),
    ),
    "no-server": Check(
        "{} clients of a service without a server are refused at once",
        _idle,
        kind="idle",
        stage="plain",
        variants=("TCP", "UDP"),
    ),
    "no-ping": Check("a VIP does not answer pings unasked", _no_ping, stage="plain"),
    "ping": Check("a VIP answers pings with --ping", _ping, kind="pinged", stage="pinged"),
    "no-arp": Check(
        "the director does not answer ARP or neighbour discovery for a VIP unasked",
        _no_arp,
        stage="plain",
    ),
    "arp": Check("with --arp it does", partial(_neighbour, "arp"), kind="arp", stage="arp"),
}
