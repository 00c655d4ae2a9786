"""What ails the director itself: what of vipctl is installed, the kernel, rules, firewalls."""

from tests.netns.ailments import FORWARD, OUTPUT, SILENT
from tests.netns.complaints.base import (
    ACCEPTED,
    FORWARDING,
    FWMARK,
    IPTABLES,
    LIMITED,
    LOADED,
    RESTORE_UNIT,
    ROUTE,
    SYSCTLS,
    UNITS,
    WANTS,
    Complaint,
    enabled,
)
from tests.netns.firewalls import ICMP6, Firewall, own

ALL = "ip -4 rule add pref 100 from all lookup main"
EARLY = "ip -4 rule add pref 100 fwmark 0x11 lookup main"
PORT = f"{ACCEPTED} fwmark --port tcp/80"
PORTS, RELATED = f"{ICMP6}; tcp dport {{ 22, 80 }} accept", "ct state established,related accept"
MOST = "/proc/sys/net/netfilter/nf_conntrack_max"
# Ten connections, to ports that nobody listens on.
SEND = """import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(40000, 40010): sock.sendto(b"", ("10.0.0.2", port))
"""
TRACKED = (
    "nft 'add table inet t; add chain inet t c { type filter hook output priority 0; }; "
    "add rule inet t c ct state new'",
    f"python3 -c '{SEND}'",
)


def own_firewall(*rules: str) -> Firewall:
    """A chain at INPUT with these rules, which drops all else."""
    return Firewall(own(*rules), passes=True)


DIRECTOR = [
    *(
        Complaint(f"healthy-{name}", [], services=(f"{ACCEPTED} {name}",))
        for name in (FWMARK, ROUTE)
    ),
    Complaint(
        "healthy-fwmark-iptables",
        [],
        LIMITED,
        services=(IPTABLES,),
    ),
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
    Complaint("sysctl", ["sysctl"], make=("sysctl -w net.ipv4.ip_forward=0",), reals=True),
    Complaint("rule-before-ours", ["rule-before-ours"], make=(ALL,)),
    Complaint("rule-with-our-mark-before-ours", ["rule-before-ours"], make=(EARLY,)),
    Complaint("mark-taken", ["mark-taken"], make=(EARLY.replace("100", "5000"),)),
    Complaint(
        "healthy-mark-of-others",
        [],
        make=(EARLY.replace("100", "5000").replace("0x11", "0x12"),),
    ),
    Complaint(
        "healthy-mark-by-route",
        [],
        make=(EARLY.replace("100", "5000"),),
        services=(f"{ACCEPTED} {ROUTE}",),
    ),
    Complaint("firewall-input", ["firewall-input"], make=(Firewall(SILENT, passes=False),)),
    Complaint(
        "firewall-output", ["firewall-output"], make=(Firewall(OUTPUT, passes=False),), reals=True
    ),
    Complaint(
        "firewall-forward",
        ["firewall-forward"],
        make=(Firewall(FORWARD, passes=False),),
        reals=True,
    ),
    Complaint("own-address", ["vip-is-own-address"], make=("ip addr add 203.0.113.9/32 dev eth1",)),
    Complaint("kernel-differs", ["kernel-differs"], make=("nft flush ruleset",)),
    Complaint(
        "neighbour-failed",
        ["neighbour-failed"],
        make=("ip neighbour replace 10.0.1.11 dev eth1 nud failed",),
        reals=True,
    ),
    Complaint(
        "healthy-neighbour-of-another-link",
        [],
        make=("ip neighbour replace 10.0.1.11 dev eth0 nud failed",),
        reals=True,
    ),
    Complaint("healthy-reals", [], reals=True),
    Complaint(
        "lacking",
        ["lacking"],
        make=("sysctl -w net.ipv6.conf.lo.disable_ipv6=1",),
    ),
    Complaint(
        "unit-program-missing",
        ["unit-program-missing"],
        {
            f"{UNITS}/vipctl-restore.service": RESTORE_UNIT.replace(
                "ExecStart=vipctl", "ExecStart=/opt/vipctl/bin/no-such-vipctl"
            )
        },
    ),
    Complaint("unit-program-nowhere", ["unit-program-missing"], {"/usr/local/sbin/vipctl": None}),
    Complaint("iptables-drop-in-missing", ["iptables-drop-in-missing"], services=(IPTABLES,)),
    Complaint(
        "checks-not-run",
        ["checks-not-run"],
        reals=True,
        more=("set-service web --check tcp:80",),
    ),
    Complaint("firewall-icmp", ["firewall-icmp"], make=(own_firewall(PORTS),), services=(PORT,)),
    Complaint("healthy-firewall", [], make=(own_firewall(PORTS, RELATED),), services=(PORT,)),
    Complaint("conntrack-full", ["conntrack-full"], {MOST: "1\n"}, make=TRACKED),
    Complaint("conntrack-filling", ["conntrack-filling"], {MOST: "11\n"}, make=TRACKED),
    Complaint("healthy-conntrack", [], {MOST: "30\n"}, make=TRACKED),
    Complaint(
        "sysctl-at-boot",
        ["sysctl-at-boot"],
        {"/run/sysctl.d/90-mine.conf": "net.ipv4.ip_forward=0\n"},
        reals=True,
    ),
    Complaint(
        "healthy-sysctl-at-boot",
        [],
        {"/run/sysctl.d/10-mine.conf": "net.ipv4.ip_forward=0\n"},
        reals=True,
    ),
    Complaint(
        "healthy-sysctl-at-boot-of-another-file",
        [],
        {"/run/sysctl.d/50-director.conf": "net.ipv4.ip_forward=0\n"},
        reals=True,
    ),
    Complaint("ip-vs-not-at-boot", ["ip-vs-not-at-boot"], {LOADED: "#ip_vs\n"}, reals=True),
    Complaint("healthy-ip-vs", [], {LOADED: None, SYSCTLS: FORWARDING}, reals=True),
]
