"""What ails a director as somebody makes it, for `doctor`. A later one is one entry more."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.harness.guest import REPOSITORY
from tests.netns.ailments import FORWARD, OUTPUT, SILENT
from tests.netns.firewalls import Firewall

UNITS, WANTS = "/etc/systemd/system", "/etc/systemd/system/multi-user.target.wants"
ACCEPTED = "add-range 203.0.113.0/24 2001:db8:1::/64 --fwmark 17 --method"
FWMARK, ROUTE = "fwmark", "route"
IPTABLES = f"{ACCEPTED} fwmark-iptables"
RESTORE_UNIT = (REPOSITORY / "examples/systemd/vipctl-restore.service").read_text()


def enabled(unit: str, by: str = "multi-user.target") -> dict[str, str]:
    """The link that `systemctl enable` makes."""
    return {f"{UNITS}/{by}.wants/{unit}": f"-> {UNITS}/{unit}"}


RESTORED = {
    "/usr/local/sbin/vipctl": "",
    f"{UNITS}/vipctl-restore.service": RESTORE_UNIT,
    **enabled("vipctl-restore.service"),
}


class Complaint(NamedTuple):
    """The findings that are to be named, none where it is healthy, and how to make them.

    `services` are commands of vipctl; with `reals` there is one with real servers instead, and
    `more` are commands after that. `make` are
    words of a shell on the director, `files` those of its machine, which runs `programs`.
    """

    name: str
    causes: list[str]
    files: Mapping[str, str | None] = {}
    make: tuple[str | Firewall, ...] = ()
    services: tuple[str, ...] = (f"{ACCEPTED} {FWMARK}",)
    programs: tuple[list[str], ...] = ()
    reals: bool = False
    more: tuple[str, ...] = ()


NETWORKD = "systemd-networkd.service"
KEPT = "[Network]\nManageForeignRoutingPolicyRules={rules}\nManageForeignRoutes={routes}\n"
NETWORKD_CONF = "/etc/systemd/networkd.conf"
DROP_IN = "/etc/systemd/networkd.conf.d/vipctl.conf"
OURS = (REPOSITORY / "examples/systemd/networkd.conf.d-vipctl.conf").read_text()
FLUSHING = "#!/usr/sbin/nft -f\n\nflush ruleset\ntable inet filter {\n}\n"
RUNNING = (["/usr/lib/systemd/systemd-networkd"],)
EARLY = "ip -4 rule add pref 100 fwmark 0x11 lookup main"
WEB = "add-range 203.0.113.0/24 2001:db8:1::/64 --service web --method fwmark"
FOR_IPTABLES = (REPOSITORY / "examples/systemd/vipctl-restore.service.d-iptables.conf").read_text()
HEALTHY = [
    *(
        Complaint(f"healthy-{name}", [], services=(f"{ACCEPTED} {name}",))
        for name in (FWMARK, ROUTE)
    ),
    Complaint(
        "healthy-fwmark-iptables",
        [],
        {f"{UNITS}/vipctl-restore.service.d/iptables.conf": FOR_IPTABLES},
        services=(IPTABLES,),
    ),
]
COMPLAINTS = [
    *HEALTHY,
    Complaint(
        "restore-not-at-boot", ["restore-not-at-boot"], {f"{WANTS}/vipctl-restore.service": None}
    ),
    Complaint(
        "healthy-restored-by-a-unit-of-another-name",
        [],
        {
            f"{UNITS}/vipctl-restore.service": None,
            f"{WANTS}/vipctl-restore.service": None,
            f"{UNITS}/vips.service": "[Service]\nExecStart=/opt/vipctl/bin/vipctl restore\n",
            **enabled("vips.service"),
        },
    ),
    Complaint(
        "restore-masked",
        ["restore-not-at-boot"],
        {f"{UNITS}/vipctl-restore.service": "-> /dev/null"},
    ),
    Complaint("networkd-at-boot", ["networkd-foreign"], enabled(NETWORKD)),
    Complaint("networkd-runs", ["networkd-foreign"], programs=RUNNING),
    Complaint("healthy-networkd-is-not-there", [], {NETWORKD_CONF: "[Network]\n"}),
    Complaint("healthy-networkd", [], {DROP_IN: OURS}, programs=RUNNING),
    Complaint(
        "networkd-half", ["networkd-foreign"],
        {NETWORKD_CONF: KEPT.format(rules="no", routes="yes"), **enabled(NETWORKD)},
    ),
    Complaint(
        "networkd-overruled", ["networkd-foreign"],
        {
            NETWORKD_CONF: KEPT.format(rules="false", routes="off"),
            DROP_IN: KEPT.format(rules="yes", routes="no"),
            **enabled(NETWORKD),
        },
    ),
    Complaint(
        "healthy-networkd-settings-of-another-section", [],
        {NETWORKD_CONF: KEPT.format(rules="no", routes="0") + "[DHCP]\nManageForeignRoutes=yes\n"},
        programs=RUNNING,
    ),
    Complaint(
        "nftables-flush", ["nftables-flush"],
        {"/etc/nftables.conf": FLUSHING, **enabled("nftables.service")},
    ),
    Complaint(
        "healthy-nftables-followed", [],
        {
            "/etc/nftables.conf": FLUSHING, **enabled("nftables.service"),
            **enabled("vipctl-restore.service", "nftables.service"),
        },
    ),
    Complaint(
        "healthy-nftables-commented", [],
        {"/etc/nftables.conf": "# flush ruleset\n", **enabled("nftables.service")},
    ),
    Complaint("healthy-nftables-not-at-boot", [], {"/etc/nftables.conf": FLUSHING}),
    Complaint("sysctl", ["sysctl"], make=("sysctl -w net.ipv4.ip_forward=0",), reals=True),
    Complaint("rule-before-ours", ["rule-before-ours"], make=(EARLY,)),
    Complaint("healthy-rule-behind", [], make=(EARLY.replace("100", "5000"),)),
    Complaint("firewall-input", ["firewall-input"], make=(Firewall(SILENT, passes=False),)),
    Complaint(
        "firewall-output", ["firewall-output"], make=(Firewall(OUTPUT, passes=False),), reals=True
    ),
    Complaint(
        "firewall-forward", ["firewall-forward"], make=(Firewall(FORWARD, passes=False),),
        reals=True,
    ),
    Complaint("own-address", ["vip-is-own-address"], make=("ip addr add 203.0.113.9/32 dev eth1",)),
    Complaint("kernel-differs", ["kernel-differs"], make=("nft flush ruleset",)),
    Complaint(
        "neighbour-failed", ["neighbour-failed"],
        make=("ip neighbour replace 10.0.1.11 dev eth1 nud failed",), reals=True,
    ),
    Complaint(
        "healthy-neighbour-of-another-link", [],
        make=("ip neighbour replace 10.0.1.11 dev eth0 nud failed",), reals=True,
    ),
    Complaint("healthy-reals", [], reals=True),
    Complaint(
        "lacking", ["lacking"], make=("sysctl -w net.ipv6.conf.lo.disable_ipv6=1",),
    ),
    Complaint(
        "unit-program-missing", ["unit-program-missing"],
        {
            f"{UNITS}/vipctl-restore.service": RESTORE_UNIT.replace(
                "ExecStart=vipctl", "ExecStart=/opt/vipctl/bin/no-such-vipctl"
            )
        },
    ),
    Complaint(
        "unit-program-nowhere", ["unit-program-missing"], {"/usr/local/sbin/vipctl": None}
    ),
    Complaint("iptables-drop-in-missing", ["iptables-drop-in-missing"], services=(IPTABLES,)),
    Complaint(
        "checks-not-run", ["checks-not-run"], reals=True,
        more=("set-service web --check tcp:80",),
    ),
]  # fmt: skip
