"""What a complaint consists of, and what many of them have."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.harness.guest import REPOSITORY
from tests.netns.firewalls import Firewall

UNITS, WANTS = "/etc/systemd/system", "/etc/systemd/system/multi-user.target.wants"
ACCEPTED = "add-range 203.0.113.0/24 2001:db8:1::/64 --fwmark 17 --method"
FWMARK, ROUTE = "fwmark", "route"
IPTABLES = f"{ACCEPTED} fwmark-iptables"
WEB = "add-range 203.0.113.0/24 2001:db8:1::/64 --service web --method fwmark"
RESTORE_UNIT = (REPOSITORY / "examples/systemd/vipctl-restore.service").read_text()

FOR_IPTABLES = (REPOSITORY / "examples/systemd/vipctl-restore.service.d-iptables.conf").read_text()
LIMITED = {f"{UNITS}/vipctl-restore.service.d/iptables.conf": FOR_IPTABLES}


def enabled(unit: str, by: str = "multi-user.target") -> dict[str, str | None]:
    """The link that `systemctl enable` makes."""
    return {f"{UNITS}/{by}.wants/{unit}": f"-> {UNITS}/{unit}"}


FORWARDING = "# all\nnet/ipv6/conf/all/forwarding=1\n-net.ipv4.ip_forward = 1\n"
IPVS = "net.ipv4.vs.expire_nodest_conn = 1\n"
SYSCTLS, LOADED = "/etc/sysctl.d/50-director.conf", "/etc/modules-load.d/vipctl.conf"
RESTORED = {
    SYSCTLS: FORWARDING + IPVS,
    LOADED: (REPOSITORY / "examples/modules-load.d/vipctl.conf").read_text(),
    "/usr/local/sbin/vipctl": "",
    f"{UNITS}/vipctl-restore.service": RESTORE_UNIT,
    **enabled("vipctl-restore.service"),
}


class Complaint(NamedTuple):
    """The findings that are to be named, none where it is healthy, and how to make them.

    `services` are commands of vipctl; with `reals` there is one with real servers instead, by
    `method`, forwarded so. `more` are commands after that, `make` words of a shell on the director,
    `files` those of its machine, which runs `programs`.
    """

    name: str
    causes: list[str]
    files: Mapping[str, str | None] = {}
    make: tuple[str | Firewall, ...] = ()
    services: tuple[str, ...] = (f"{ACCEPTED} {FWMARK}",)
    programs: tuple[list[str], ...] = ()
    reals: bool = False
    method: str = "fwmark"
    forward: str = "nat"
    more: tuple[str, ...] = ()
