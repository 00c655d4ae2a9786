"""What ails a director as somebody makes it, for `doctor`. A later one is one entry more."""

from collections.abc import Mapping
from typing import NamedTuple

from tests.harness.guest import REPOSITORY
from tests.netns.ailments import FORWARD, OUTPUT, SILENT
from tests.netns.firewalls import Firewall

UNITS, WANTS = "/etc/systemd/system", "/etc/systemd/system/multi-user.target.wants"
ACCEPTED = "add-range 203.0.113.0/24 2001:db8:1::/64 --fwmark 17 --method"
FWMARK, ROUTE = (f"{ACCEPTED} {method}" for method in ("fwmark", "route"))
RESTORE_UNIT = (REPOSITORY / "examples/systemd/vipctl-restore.service").read_text()


def enabled(unit: str, by: str = "multi-user.target") -> dict[str, str]:
    """The link that `systemctl enable` makes."""
    return {f"{UNITS}/{by}.wants/{unit}": f"-> {UNITS}/{unit}"}


RESTORED = {f"{UNITS}/vipctl-restore.service": RESTORE_UNIT} | enabled("vipctl-restore.service")


class Complaint(NamedTuple):
    """The findings that are to be named, none where it is healthy, and how to make them.

    `services` are commands of vipctl; with `reals` it is one with real servers instead. `make` are
    words of a shell on the director, `files` those of its machine, which runs `programs`.
    """

    name: str
    causes: list[str]
    files: Mapping[str, str | None] = {}
    make: tuple[str | Firewall, ...] = ()
    services: tuple[str, ...] = (FWMARK,)
    programs: tuple[list[str], ...] = ()
    reals: bool = False


NETWORKD = "systemd-networkd.service"
KEPT = "[Network]\nManageForeignRoutingPolicyRules={rules}\nManageForeignRoutes={routes}\n"
NETWORKD_CONF = "/etc/systemd/networkd.conf"
DROP_IN = "/etc/systemd/networkd.conf.d/vipctl.conf"
OURS = (REPOSITORY / "examples/systemd/networkd.conf.d-vipctl.conf").read_text()
FLUSHING = "#!/usr/sbin/nft -f\n\nflush ruleset\ntable inet filter {\n}\n"
RUNNING = (["/usr/lib/systemd/systemd-networkd"],)
EARLY = "ip -4 rule add pref 100 fwmark 0x11 lookup main"
WEB = "add-range 203.0.113.0/24 2001:db8:1::/64 --service web --method fwmark"
HEALTHY = [
    Complaint(f"healthy-{method}", [], services=(f"{ACCEPTED} {method}",))
    for method in ("fwmark", "fwmark-iptables", "route")
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
]  # fmt: skip
