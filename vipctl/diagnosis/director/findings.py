"""What may ail a director, by the ids that `doctor --json` has: they stay as they are. Pure.

What `explain` finds too has the same id, and is described there.
"""

from collections.abc import Mapping

from vipctl.diagnosis.causes import CAUSES, HINTS, Cause

FINDINGS: Mapping[str, Cause] = {
    "restore-not-at-boot": Cause(
        "No unit restores VIPs at boot: they will be gone then.",
        "The units that systemd starts at boot; one of any name that calls `vipctl restore` is "
        "enough.",
        "`systemctl enable vipctl-restore.service` (examples/systemd)",
    ),
    "unit-program-missing": Cause(
        "A unit of vipctl starts a program that is not there.",
        "`ExecStart=` of the units named vipctl… that start at boot; a name without a path is "
        "looked for where systemd looks.",
        "A link from `/usr/local/bin/vipctl`, or its whole path in the unit",
    ),
    "iptables-drop-in-missing": Cause(
        "A service has the method `fwmark-iptables`, and a unit of vipctl may not use legacy "
        "iptables.",
        "`CapabilityBoundingSet=` of the unit and its drop-ins has no `CAP_NET_RAW`.",
        "examples/systemd/vipctl-restore.service.d-iptables.conf",
    ),
    "checks-not-run": Cause(
        "Services have health checks or agents, and nobody asks: `vipctl watch` does not run.",
        "Its socket below `/run/vipctl`.",
        "`systemctl enable --now vipctl.service` (examples/systemd)",
    ),
    "watch-of-another-state": Cause(
        "`vipctl watch` runs for another state directory than this one, and restores that.",
        "It is asked, on its socket below `/run/vipctl`.",
        "Have it started with `--state-dir`",
    ),
    "watch-outdated": Cause(
        "vipctl was installed anew, and `vipctl watch` runs since before.",
        "When its process began, and when the files of vipctl last changed; if both are of one "
        "Python.",
        "`systemctl try-restart vipctl.service`",
    ),
    "not-restored": Cause(
        "The director has been booted since, and its VIPs are not restored.",
        "The boot that the state was last used in.",
        "`vipctl restore`",
    ),
    "kernel-differs": Cause(
        "What vipctl has in the kernel has been changed by somebody.",
        "As `vipctl status` does; not every prefix is compared.",
        "`vipctl restore`",
    ),
    "taken-over": Cause(
        "What vipctl has in the kernel is that of another state directory.",
        "Its token in the kernel.",
        "Name that one with `--state-dir`; or `vipctl restore`",
    ),
    "no-ipvs": CAUSES["no-ipvs"],
    "ipvs-service-missing": CAUSES["ipvs-service-missing"],
    "lacking": Cause(
        "The kernel, or the director, lacks something else that the stored state needs: a "
        "scheduler, IPv6, the module vip_shim, a library, a sysctl that cannot be written.",
        "As `vipctl status` does.",
        "What is named; then `vipctl restore`",
    ),
    "networkd-foreign": Cause(
        "systemd-networkd takes rules and routes that are not its own for leftovers, and removes "
        "them.",
        "It runs in this network namespace, or starts at boot, and "
        "`ManageForeignRoutingPolicyRules` or `ManageForeignRoutes` is not `no`, by its files and "
        "their drop-ins. Not with `shim` alone, which has neither.",
        "examples/systemd/networkd.conf.d-vipctl.conf",
    ),
    "nftables-flush": Cause(
        "The service of nftables flushes the whole ruleset when it starts again, and nothing "
        "puts VIPs back then.",
        "`/etc/nftables.conf`; the service starts at boot, and neither does "
        "vipctl-restore.service follow it, nor `vipctl watch` run.",
        "`systemctl enable vipctl-restore.service`",
    ),
    "network-manager-lo": Cause(
        "NetworkManager takes vipctl's IPv6 route away when it starts, and nothing puts it back "
        "then.",
        "It runs, or starts at boot, and has a profile for `lo`; neither does "
        "vipctl-restore.service follow it, nor `vipctl watch` run.",
        "`systemctl enable vipctl-restore.service`",
    ),
    "ipvsadm-clears": Cause(
        "The service of the package ipvsadm clears IPVS when it starts, and nothing puts vipctl's "
        "services back then.",
        '`AUTO="true"` in `/etc/default/ipvsadm`; the service starts at boot, and neither does '
        "vipctl-restore.service follow it, nor `vipctl watch` run.",
        "`systemctl enable vipctl-restore.service`",
    ),
    "iptables-replaced": Cause(
        "Somebody replaces legacy iptables' table mangle, where method `fwmark-iptables` has its "
        "chains, and nothing puts them back then.",
        "firewalld with `FirewallBackend=iptables`, or netfilter-persistent with `*mangle` in its "
        "rules, where `iptables-restore` is that of legacy iptables; the rest as `ipvsadm-clears`.",
        "`systemctl enable vipctl-restore.service`",
    ),
    "wg-quick-before-ours": Cause(
        "wg-quick, which starts at boot behind vipctl, leads everything into a tunnel by rules "
        "that come before vipctl's.",
        "`AllowedIPs` has `0.0.0.0/0` or `::/0` in `/etc/wireguard/NAME.conf`, and `Table` does "
        "not say otherwise. Not with `shim` or `route` alone. Once it is up: `rule-before-ours`.",
        "`Table = off`, and rules with a priority behind vipctl's",
    ),
    "keepalived-flush": Cause(
        "keepalived clears all of IPVS when it starts or stops, and nothing puts vipctl's services "
        "back then.",
        "`lvs_flush`, or `lvs_flush_on_stop` without `VS`, in `/etc/keepalived/keepalived.conf` or "
        "what it includes; keepalived runs, or starts at boot, and `vipctl watch` does not.",
        "Take it out",
    ),
    "keepalived-same-mark": Cause(
        "keepalived has a virtual server of the same fwmark as a service that vipctl balances: "
        "each undoes what the other does.",
        "`virtual_server fwmark` in its configuration, and the stored services.",
        "Take it out; or have `vipctl add-range RANGE --fwmark MARK` accept for keepalived",
    ),
    "sysctl": HINTS["sysctl"],
    "sysctl-at-boot": Cause(
        "A file gives a sysctl another value at boot than services need that have no "
        "`--set-sysctls`.",
        "The files of sysctl.d(5), of which the last word counts. Where none says anything, it is "
        "a ?.",
        "Change that file",
    ),
    "ip-vs-not-at-boot": Cause(
        "A file sets sysctls of IPVS at boot, in vain: its module is loaded when it is first used.",
        "The files of sysctl.d(5) have `net.ipv4.vs.…`, and those of modules-load.d(5) no `ip_vs`.",
        "examples/modules-load.d/vipctl.conf",
    ),
    "rule-before-ours": CAUSES["rule-before-ours"],
    "mark-taken": Cause(
        "Somebody has a rule for the very mark of a service: vipctl's rules come first and make "
        "such packets local, whatever they are for.",
        "The rules of others with that mark, as a whole. Those that come before vipctl's are "
        "`rule-before-ours`, if packets for VIPs go elsewhere by them.",
        "Another mark, for one of the two",
    ),
    "firewall-input": CAUSES["firewall-input"],
    "firewall-output": CAUSES["firewall-output"],
    "firewall-forward": CAUSES["firewall-forward"],
    "firewall-icmp": Cause(
        "A chain of somebody else is sure to drop ICMP errors for VIPs at INPUT, by which senders "
        "learn to send smaller packets: connections hang.",
        "As `firewall-input`, with a packet of ICMP of which nothing else is known.",
        "A rule that accepts them",
    ),
    "vip-is-own-address": HINTS["vip-is-own-address"],
    "neighbour-failed": CAUSES["neighbour-failed"],
    "conntrack-full": CAUSES["conntrack-full"],
    "conntrack-filling": Cause(
        "Nine tenths of the table of tracked connections are in use.",
        "`nf_conntrack_count` and `nf_conntrack_max`.",
        "A larger `net.netfilter.nf_conntrack_max`",
    ),
    "advertisements-ignored": Cause(
        "The director has no IPv6 default route: as it forwards, it takes none from routers' "
        "advertisements.",
        "`net.ipv6.conf.all.forwarding` is 1 and `accept_ra` is 1 on an interface with an address "
        "that is not permanent, and there are IPv6 VIPs.",
        "`accept_ra=2` of the interface",
    ),
    "shim-not-at-boot": Cause(
        "Services have the method `shim`, and its module is not loaded at boot.",
        "The files of modules-load.d(5).",
        "`echo vip_shim > /etc/modules-load.d/vip_shim.conf`",
    ),
    "shim-not-built": Cause(
        "Services have the method `shim`, and its module is not built for a newer kernel that is "
        "installed and may be booted next.",
        "`modules.dep` of the kernels newer than the one that runs.",
        "The headers of that kernel, and `dkms autoinstall`",
    ),
    "bridge-netfilter": Cause(
        "Services have the method `shim`, which does not accept VIPs from ports of a bridge while "
        "netfilter sees what these bridge.",
        "`net.bridge.bridge-nf-call-iptables` or `-ip6tables` is 1, and there is a bridge.",
        "Set it to 0, or use another method",
    ),
    "ftp-module": Cause(
        "A service has port 21 and real servers by nat, and the module that changes addresses in "
        "FTP is not loaded.",
        "`/sys/module/ip_vs_ftp`.",
        "`modprobe ip_vs_ftp`, and at boot",
    ),
    "library-missing": Cause(
        "A Python library that vipctl needs is not there: one that it always needs, or dnspython "
        "for a check of kind `dns`.",
        "Python does not find it. What methods lack is `lacking`.",
        "`pip install .`, or `pip install '.[dns]'`",
    ),
    "library-outdated": Cause(
        "A Python library is older than vipctl asks for, or than a service's method or check does.",
        "The versions that are installed, and those that vipctl's package names.",
        "`pip install 'NAME>=VERSION'`",
    ),
    "certificate-expired": Cause(
        "The certificate of `vipctl sync` has expired: other directors refuse this one.",
        "`/etc/vipctl/sync/cert.pem`, where vipctl-sync.service starts at boot, or the relay runs.",
        "A new certificate",
    ),
    "certificate-expires": Cause(
        "The certificate of `vipctl sync` expires within 14 days.",
        "As `certificate-expired`.",
        "A new certificate",
    ),
    "certificate-not-yet": Cause(
        "The certificate of `vipctl sync` is not good yet: the clock is behind.",
        "As `certificate-expired`.",
        "Set the clock",
    ),
    "conntrack-strict": Cause(
        "Connections are synchronised with other directors, and connection tracking refuses TCP "
        "connections that another one began.",
        "`net.netfilter.nf_conntrack_tcp_loose` is 0.",
        "Set it to 1",
    ),
}
