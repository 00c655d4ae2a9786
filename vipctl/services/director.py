"""Settings of the whole director: IPVS's timeouts and what of its sysctls a client notices. Pure.

What is not set stays as it is, or as the services need it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vipctl.services.option import Option, amount, switch

MAX_TIMEOUT = 2_147_483  # seconds: the kernel counts them in jiffies, up to INT_MAX
Director = Mapping[str, Any]  # values by name, of those that are set
UNSET: Director = {}
DEFAULT = "default"  # typed instead of a value: vipctl no longer sets it


class Setting(NamedTuple):
    """A setting of the director, and its name in the kernel: a sysctl, or one of `timeouts`."""

    kernel: str
    option: Option


def _timeout(kernel: str, text: str) -> Setting:
    return Setting(f"ipvs timeout {kernel}", amount(text, "timeout", "SECONDS", 1, MAX_TIMEOUT))


def _switch(name: str, text: str) -> Setting:
    return Setting(f"net.ipv4.vs.{name}", switch(text))


SETTINGS: dict[str, Setting] = {
    "tcp_timeout": _timeout("tcp", "IPVS forgets an idle TCP connection after so long."),
    "tcpfin_timeout": _timeout("tcpfin", "The same for one that has seen a FIN."),
    "udp_timeout": _timeout("udp", "IPVS forgets an idle UDP client's real server after so long."),
    "expire_nodest_conn": _switch(
        "expire_nodest_conn",
        "Connections to a removed real server end at once, instead of waiting for it to come back. "
        "Every balanced service asks for it.",
    ),
    "expire_quiescent_template": _switch(
        "expire_quiescent_template",
        "New connections of a persistent client leave a drained real server. Services with "
        "persistence ask for it.",
    ),
    "sloppy_tcp": _switch(
        "sloppy_tcp",
        "A TCP connection may begin with any packet, as after a failover without connection sync, "
        "where every director chooses alike (mh, sh).",
    ),
    "sloppy_sctp": _switch("sloppy_sctp", "The same for SCTP."),
    "conn_reuse_mode": Setting(
        "net.ipv4.vs.conn_reuse_mode",
        amount(
            "A client that uses a port again: 0 keeps the real server, 1 schedules it anew if the "
            "old connection is over (nat), 2 and 3 also if it is being closed (dr, tun).",
            "mode", "BITS", 0, 3,
        ),
    ),
    "schedule_icmp": _switch(
        "schedule_icmp",
        "ICMP errors about connections that IPVS does not know are scheduled as the connections "
        "would be: needed where several directors share the packets.",
    ),
    "nat_icmp_send": _switch(
        "nat_icmp_send", "Answers of real servers (nat) that belong to no connection get an error."
    ),
    "pmtu_disc": _switch(
        "pmtu_disc",
        "Packets too large for the tunnel get an error instead of being fragmented. Services with "
        "forwarding tun ask for no.",
    ),
    "conntrack": _switch(
        "conntrack",
        "The kernel's connection tracking sees IPVS's connections: slower, but needed by stateful "
        "firewall rules. Services ask for yes with nat, for no with dr and tun.",
    ),
    "run_estimation": _switch(
        "run_estimation", "IPVS computes rates all the time; no saves that with many services."
    ),
}  # fmt: skip


def plain(director: Director) -> dict[str, Any]:
    """As `export`, `--json` and the store write it."""
    return {name: director[name] for name in SETTINGS if name in director}


def from_plain(form: Mapping[str, Any]) -> Director:
    """The inverse of `plain`. Raises UsageError."""
    return {name: SETTINGS[name].option.read(value) for name, value in form.items()}


def kernel_values(director: Director) -> dict[str, str]:
    """The settings by the kernel's names, with values as the kernel writes them."""
    return {SETTINGS[name].kernel: str(int(value)) for name, value in director.items()}
