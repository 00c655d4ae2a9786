"""What is measured: each metric's name, kind, labels and meaning. docs/metrics.md is made of it.

Names and units are as Prometheus recommends, and as node_exporter has them of IPVS.
"""

from collections.abc import Mapping
from typing import NamedTuple

from vipctl.health.verdicts import State
from vipctl.linux.ipvs.daemons import ROLES
from vipctl.services.methods import METHODS, PACKETS

PARTS = ("watch", "state", "drift", "ipvs", "methods", "sync")  # what is read by itself
STATES = tuple(map(str, State))
SERVICE, REAL, CHECK = ("service",), ("service", "real"), ("service", "real", "check")
VALUES = {"part": PARTS, "state": STATES, "ip_version": ("4", "6"), "daemon": tuple(ROLES)}


class Metric(NamedTuple):
    """A counter begins anew when the kernel's does."""

    help: str
    labels: tuple[str, ...] = ()
    counter: bool = False

    @property
    def series(self) -> int:
        """How many there are at most, of each thing that its labels name."""
        number = 1
        for label in self.labels:
            number *= len(VALUES.get(label, " "))
        return number


class Sample(NamedTuple):
    """One value of a metric, and those of its labels."""

    metric: str
    value: float
    labels: tuple[str, ...] = ()


DIRECTOR = {
    "vipctl_build_info": Metric(
        "Versions: of vipctl, of the kernel, and of the module vip_shim if it is loaded.",
        ("version", "kernel", "module"),
    ),
    "vipctl_part_success": Metric(
        "Whether this part could be read; if not, what is measured there is missing.", ("part",)
    ),
    "vipctl_drift": Metric("Whether the kernel is other than stored, or than a command makes it."),
    "vipctl_interrupted": Metric("Whether a command is at work, or was interrupted."),
    "vipctl_active": Metric("The director's role: 1 active, 0 passive."),
    "vipctl_sync_configured": Metric("Whether connections are synchronised with other directors."),
    "vipctl_sync_running": Metric("Whether this sync daemon runs as it should.", ("daemon",)),
    "vipctl_watch_up": Metric("Whether vipctl watch runs for this state, and answers."),
    "vipctl_watch_start_time_seconds": Metric("When it was started, since 1970."),
    "vipctl_watch_heals_total": Metric("How often it put something back.", counter=True),
    "vipctl_watch_last_heal_timestamp_seconds": Metric("When it last did, since 1970."),
    "vipctl_watch_fit": Metric(
        "Whether the device of watch --alive is up, as this director is fit.", ("device",)
    ),
}
OF_SERVICES = {
    "vipctl_service_info": Metric(
        "What it is; local_mark is its fwmark as node_exporter writes it.",
        ("service", "local_mark", "method", "scheduler", "forward"),
    ),
    "vipctl_service_prefixes": Metric("Its VIPs, in the shortest list of prefixes.", SERVICE),
    "vipctl_service_addresses": Metric("Its VIPs.", SERVICE),
    "vipctl_service_active": Metric("Its role: 1 active, 0 passive.", SERVICE),
    "vipctl_service_drift": Metric("Whether what the kernel has of it is not as stored.", SERVICE),
    "vipctl_service_fallback": Metric("Whether its fallback serves.", SERVICE),
}
COUNTING = {
    kind: ", ".join(name for name, method in METHODS.items() if kind in method.counters)
    for kind in PACKETS
}
ACCEPTANCE = {
    f"vipctl_service_{kind}_packets_total": Metric(
        f"Packets: {words.removeprefix('packets ')}. Counted by {COUNTING[kind]}.", SERVICE, True
    )
    for kind, words in PACKETS.items()
}
TOTALS = {  # by field of the kernel's counters
    "connections": ("connections_total", "Connections."),
    "packets_in": ("incoming_packets_total", "Packets from clients."),
    "packets_out": ("outgoing_packets_total", "Packets to clients that pass the director."),
    "bytes_in": ("incoming_bytes_total", "Bytes from clients."),
    "bytes_out": ("outgoing_bytes_total", "Bytes to clients that pass the director."),
}
NOW = {
    "active": ("connections_active", "Connections now."),
    "inactive": ("connections_inactive", "Connections now that are being closed."),
}
OF_REALS = {
    "vipctl_real_weight": Metric("Its stored weight.", REAL),
    "vipctl_real_effective_weight": Metric(
        "What health checks, agents and feedback leave of it.", REAL
    ),
    "vipctl_real_state": Metric(
        "How it stands, of services with checks, agents or feedback: 1 of the state that it has.",
        (*REAL, "state"),
    ),
    "vipctl_real_state_timestamp_seconds": Metric("When it came to that, since 1970.", REAL),
    "vipctl_real_source_ports_used": Metric("Ports that source NAT has in use toward it.", REAL),
    "vipctl_real_source_ports": Metric("All ports that source NAT has toward it.", REAL),
}
OF_CHECKS = {
    "vipctl_check_passed": Metric("Whether it passes this check; missing if not known.", CHECK),
    "vipctl_check_timestamp_seconds": Metric("Since when, since 1970.", CHECK),
}
BALANCING = {
    f"vipctl_{what}_{name}": Metric(words, (*labels, "ip_version"), name.endswith("_total"))
    for what, labels, counted in (("service", SERVICE, TOTALS), ("real", REAL, TOTALS | NOW))
    for name, words in counted.values()
}
METRICS: Mapping[str, Metric] = {
    **DIRECTOR, **OF_SERVICES, **ACCEPTANCE, **OF_REALS, **BALANCING, **OF_CHECKS,
}  # fmt: skip
