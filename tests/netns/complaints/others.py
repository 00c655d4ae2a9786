"""Settings of other daemons, and these daemons themselves."""

from tests.harness.daemons import PROFILE
from tests.harness.guest import REPOSITORY
from tests.netns.complaints.base import (
    ACCEPTED,
    IPTABLES,
    LIMITED,
    ROUTE,
    UNITS,
    Complaint,
    enabled,
)

NETWORKD = "systemd-networkd.service"
KEPT = "[Network]\nManageForeignRoutingPolicyRules={rules}\nManageForeignRoutes={routes}\n"
NETWORKD_CONF = "/etc/systemd/networkd.conf"
DROP_IN = "/etc/systemd/networkd.conf.d/vipctl.conf"
OURS = (REPOSITORY / "examples/systemd/networkd.conf.d-vipctl.conf").read_text()
FLUSHING = "#!/usr/sbin/nft -f\n\nflush ruleset\ntable inet filter {\n}\n"
RUNNING = (["/usr/lib/systemd/systemd-networkd"],)
IPVSADM = '# a comment\nAUTO="{}"\nDAEMON="none"\n'
PROFILES = "/etc/NetworkManager/system-connections"
MANAGED = enabled("NetworkManager.service")
KEEPALIVED = "/etc/keepalived/keepalived.conf"
DAEMON = ["/usr/sbin/keepalived", "--dont-fork", "--log-console"]
VRRP = """vrrp_instance V {
    interface eth0
    virtual_router_id 51
    advert_int 100
    virtual_ipaddress {
        10.0.0.100/24
    }
}
"""
VIRTUAL = "virtual_server fwmark {} {{\n    real_server 10.0.1.11 80 {{\n    }}\n}}\n"
RESTORE = "/etc/alternatives/iptables-restore"
OLD = {**LIMITED, RESTORE: "-> /usr/sbin/iptables-legacy-restore"}


def tunnel(words: str) -> dict[str, str | None]:
    """A tunnel of wg-quick that starts at boot."""
    head, peer = "[Interface]\nPrivateKey = x\n", "[Peer]\nPublicKey = y\n"
    table, _, rest = words.rpartition("\n\n")
    return {
        "/etc/wireguard/wg0.conf": f"{head}{table}\n{peer}{rest}",
        **enabled("wg-quick@wg0.service"),
    }


OTHERS = [
    Complaint("networkd-at-boot", ["networkd-foreign"], enabled(NETWORKD)),
    Complaint(
        "healthy-networkd-by-the-first-of-one-name",
        [],
        {DROP_IN: OURS, DROP_IN.replace("/etc", "/run"): KEPT.format(rules="1", routes="1")},
        programs=RUNNING,
    ),
    Complaint(
        "healthy-networkd-is-masked",
        [],
        {**enabled(NETWORKD), f"{UNITS}/{NETWORKD}": "-> /dev/null"},
    ),
    Complaint("healthy-networkd-is-of-no-target", [], enabled(NETWORKD, "another.service")),
    Complaint("networkd-runs", ["networkd-foreign"], programs=RUNNING),
    Complaint("healthy-networkd-is-not-there", [], {NETWORKD_CONF: "[Network]\n"}),
    Complaint("healthy-networkd", [], {DROP_IN: OURS}, programs=RUNNING),
    Complaint(
        "networkd-half",
        ["networkd-foreign"],
        {NETWORKD_CONF: KEPT.format(rules="no", routes="yes"), **enabled(NETWORKD)},
    ),
    Complaint(
        "networkd-overruled",
        ["networkd-foreign"],
        {
            NETWORKD_CONF: KEPT.format(rules="false", routes="off"),
            DROP_IN: KEPT.format(rules="yes", routes="no"),
            **enabled(NETWORKD),
        },
    ),
    Complaint(
        "healthy-networkd-settings-of-another-section",
        [],
        {NETWORKD_CONF: KEPT.format(rules="no", routes="0") + "[DHCP]\nManageForeignRoutes=yes\n"},
        programs=RUNNING,
    ),
    Complaint(
        "nftables-flush",
        ["nftables-flush"],
        {"/etc/nftables.conf": FLUSHING, **enabled("nftables.service")},
    ),
    Complaint(
        "healthy-nftables-followed",
        [],
        {
            "/etc/nftables.conf": FLUSHING,
            **enabled("nftables.service"),
            **enabled("vipctl-restore.service", "nftables.service"),
        },
    ),
    Complaint(
        "healthy-nftables-commented",
        [],
        {"/etc/nftables.conf": "# flush ruleset\n", **enabled("nftables.service")},
    ),
    Complaint("healthy-nftables-not-at-boot", [], {"/etc/nftables.conf": FLUSHING}),
    Complaint(
        "ipvsadm-clears",
        ["ipvsadm-clears"],
        {
            "/etc/default/ipvsadm": IPVSADM.format("true"),
            "/etc/rc2.d/S01ipvsadm": "-> ../init.d/ipvsadm",
        },
    ),
    Complaint(
        "ipvsadm-clears-by-a-unit",
        ["ipvsadm-clears"],
        {"/etc/default/ipvsadm": IPVSADM.format("true"), **enabled("ipvsadm.service")},
    ),
    Complaint(
        "healthy-ipvsadm",
        [],
        {
            "/etc/default/ipvsadm": IPVSADM.format("false"),
            "/etc/rc2.d/S01ipvsadm": "-> ../init.d/ipvsadm",
        },
    ),
    Complaint(
        "healthy-ipvsadm-not-at-boot",
        [],
        {
            "/etc/default/ipvsadm": IPVSADM.format("true"),
            "/etc/rc2.d/K01ipvsadm": "-> ../init.d/ipvsadm",
        },
    ),
    Complaint(
        "healthy-ipvsadm-followed",
        [],
        {
            "/etc/default/ipvsadm": IPVSADM.format("true"),
            **enabled("ipvsadm.service"),
            **enabled("vipctl-restore.service", "ipvsadm.service"),
        },
    ),
    Complaint(
        "network-manager-lo",
        ["network-manager-lo"],
        MANAGED | {f"{PROFILES}/lo.nmconnection": PROFILE},
    ),
    Complaint(
        "healthy-network-manager",
        [],
        MANAGED
        | {
            f"{PROFILES}/eth.nmconnection": PROFILE.replace("lo", "eth0").replace(
                "eth0opback", "ethernet"
            )
        },
    ),
    Complaint(
        "healthy-network-manager-route",
        [],
        MANAGED | {f"{PROFILES}/lo.nmconnection": PROFILE},
        services=(f"{ACCEPTED} {ROUTE}",),
    ),
    Complaint(
        "wg-quick", ["wg-quick-before-ours"], tunnel("AllowedIPs = 10.9.0.0/16, 0.0.0.0/0\n")
    ),
    Complaint("wg-quick-six", ["wg-quick-before-ours"], tunnel("allowedips=::/0\n")),
    Complaint("healthy-wg-quick", [], tunnel("AllowedIPs = 10.0.0.0/8, fd00::/8\n")),
    Complaint("healthy-wg-quick-off", [], tunnel("Table = off\n\nAllowedIPs = 0.0.0.0/0\n")),
    Complaint(
        "healthy-wg-quick-route",
        [],
        tunnel("AllowedIPs = ::/0\n"),
        services=(f"{ACCEPTED} {ROUTE}",),
    ),
    Complaint(
        "iptables-replaced",
        ["iptables-replaced"],
        {
            "/etc/iptables/rules.v4": "*mangle\nCOMMIT\n",
            **enabled("netfilter-persistent.service"),
            **OLD,
        },
        services=(IPTABLES,),
    ),
    Complaint(
        "iptables-replaced-by-firewalld",
        ["iptables-replaced"],
        {
            "/etc/firewalld/firewalld.conf": "FirewallBackend=iptables\n",
            **enabled("firewalld.service"),
            **OLD,
        },
        services=(IPTABLES,),
    ),
    Complaint(
        "healthy-iptables-of-nft",
        [],
        {
            "/etc/iptables/rules.v4": "*mangle\nCOMMIT\n",
            **enabled("netfilter-persistent.service"),
            **LIMITED,
            RESTORE: "-> /usr/sbin/iptables-nft-restore",
        },
        services=(IPTABLES,),
    ),
    Complaint(
        "healthy-iptables-persistent",
        [],
        {
            "/etc/iptables/rules.v4": "*filter\nCOMMIT\n",
            **enabled("netfilter-persistent.service"),
            **OLD,
        },
        services=(IPTABLES,),
    ),
    Complaint(
        "keepalived-flush",
        ["keepalived-flush"],
        {KEEPALIVED: "global_defs {\n  lvs_flush\n}\n" + VRRP, **enabled("keepalived.service")},
        reals=True,
    ),
    Complaint(
        "keepalived-flush-on-stop",
        ["keepalived-flush"],
        {
            KEEPALIVED: "include parts/*.conf\n" + VRRP,
            "/etc/keepalived/parts/one.conf": "global_defs {\n  lvs_flush_on_stop\n}\n",
            **enabled("keepalived.service"),
        },
        reals=True,
    ),
    Complaint(
        "keepalived-same-mark",
        ["keepalived-same-mark"],
        {KEEPALIVED: VRRP + VIRTUAL.format(0x1000), **enabled("keepalived.service")},
        reals=True,
    ),
    Complaint(
        "healthy-keepalived",
        [],
        {KEEPALIVED: "global_defs {\n  lvs_flush_on_stop VS\n}\n" + VRRP + VIRTUAL.format(17)},
        reals=True,
        programs=(DAEMON,),
    ),
]
