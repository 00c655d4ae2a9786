"""Why a VIP may not answer, by the ids that `explain --json` has: they stay as they are. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from vipctl.services.service import Service


class Cause(NamedTuple):
    """What it is, how it is found out, and what to do about it."""

    what: str
    found: str
    fix: str


RESTORE = "vipctl restore"

CAUSES: Mapping[str, Cause] = {
    "vip-in-no-service": Cause(
        "No service has the address.",
        "The stored ranges.",
        "`vipctl add-range ADDRESS --service NAME`",
    ),
    "port-in-no-service": Cause(
        "Services have the address, but none of them names the port.",
        "The stored services.",
        "`vipctl add-port NAME PORT`",
    ),
    "passive": Cause(
        "The director, or the service, is passive: it drops what is for the VIP.",
        "The stored role.",
        "`vipctl activate`, if this director is to answer",
    ),
    "asked-from-director": Cause(
        "The client is the director itself, and the method does not serve it (IPv4 by `route` "
        "or `tproxy`), or it has no route to the VIP.",
        "The client's address is one of the director's; the kernel's route to the VIP.",
        "Ask from another host, or use another method; or any route to the VIP",
    ),
    "rp-filter": Cause(
        "The kernel drops packets of the client: by its routes it would answer by another "
        "interface, or not at all.",
        "The kernel refuses the route of the client's packet to an address of the director, and "
        "`rp_filter` is on. IPv4.",
        "`rp_filter=2` of the interface; or a route to the client",
    ),
    "src-valid-mark": Cause(
        "`src_valid_mark` is on and vipctl's rule that leads source validation past its table "
        "is gone: every source is a martian.",
        "The kernel refuses that route with the mark alone, and the rule is not there. IPv4.",
        "`vipctl restore`",
    ),
    "source-refused": Cause(
        "The client's address is not valid as a source: a broadcast address, for example.",
        "The kernel refuses that route, for no reason of `rp_filter`. IPv4.",
        "Look at the kernel's route to that address",
    ),
    "shim-missing": Cause(
        "The method is `shim`, and the module vip_shim is not loaded.",
        "The kernel has no such module.",
        "`modprobe vip_shim`, then `vipctl restore`",
    ),
    "ipv6-disabled": Cause(
        "IPv6 is off on `lo`, where VIPs are accepted.",
        "`net.ipv6.conf.lo.disable_ipv6`, or a kernel without IPv6.",
        "`sysctl -w net.ipv6.conf.lo.disable_ipv6=0`, then `vipctl restore`",
    ),
    "rule-gone": Cause(
        "Somebody has removed vipctl's `ip rule` that accepts the service's mark.",
        "`ip route get VIP from CLIENT iif DEVICE mark MARK` does not say `local`, and the rule is "
        "not there.",
        "`vipctl restore`",
    ),
    "route-gone": Cause(
        "Somebody has removed vipctl's local route: that of its table, or by method `route` "
        "the VIP's own.",
        "The routes.",
        "`vipctl restore`",
    ),
    "marking-gone": Cause(
        "Somebody has flushed or removed what marks packets: vipctl's nftables table, its chain of "
        "legacy iptables, or the module's services.",
        "That table or chain is not there, empty or dormant.",
        "`vipctl restore`",
    ),
    "prefix-missing": Cause(
        "The kernel does not have the prefix that holds the VIP.",
        "That prefix is looked up in the kernel.",
        "`vipctl restore`",
    ),
    "rule-before-ours": Cause(
        "An `ip rule` of somebody else comes before vipctl's and leads packets for the VIP "
        "elsewhere.",
        "`ip route get VIP from CLIENT iif DEVICE mark MARK` does not say `local`.",
        "Give that rule a priority behind vipctl's",
    ),
    "route-elsewhere": Cause(
        "A route of somebody else, in the table that makes VIPs local, leads packets for the "
        "VIP elsewhere.",
        "As `rule-before-ours`, but no rule is to blame.",
        "Remove that route",
    ),
    "conntrack-full": Cause(
        "The table of tracked connections is full, so that the kernel drops new ones.",
        "`nf_conntrack_count` has reached `nf_conntrack_max`.",
        "A larger `net.netfilter.nf_conntrack_max`",
    ),
    "firewall-prerouting": Cause(
        "A chain of somebody else is sure to drop the client's packets at PREROUTING: firewalld's "
        "those of IPv6 whose answers would leave by another interface, for example.",
        "As at INPUT, but of nftables alone.",
        "A rule that accepts them, or a route to the client by that interface",
    ),
    "firewall-input": Cause(
        "A chain of somebody else is sure to drop the client's packets at INPUT.",
        "An imagined packet is taken through the chains of nftables and legacy iptables.",
        "A rule that accepts them (docs/firewall.md)",
    ),
    "firewall-output": Cause(
        "A chain of somebody else is sure to drop at OUTPUT what IPVS sends to a real server.",
        "As at INPUT.",
        "A rule that accepts them (docs/firewall.md)",
    ),
    "firewall-forward": Cause(
        "A chain of somebody else is sure to drop answers of real servers at FORWARD (nat).",
        "As at INPUT.",
        "A rule that accepts them (docs/firewall.md)",
    ),
    "no-real-server": Cause(
        "The service has no real server for VIPs of this IP version.",
        "The stored service; of a service of others, IPVS.",
        "`vipctl add-real NAME RIP`",
    ),
    "all-drained": Cause(
        "All real servers have weight 0: they are drained.",
        "The weights in IPVS, and those that are stored.",
        "`vipctl undrain-real NAME RIP`",
    ),
    "all-failed": Cause(
        "Health checks, or agents, leave no real server any weight.",
        "What checks say, and the weights in IPVS.",
        "`vipctl list-checks` says why each of them fails",
    ),
    "weights-altered": Cause(
        "Somebody has given all real servers weight 0 in IPVS; by what is stored they have some.",
        "The weights in IPVS.",
        "`vipctl restore`",
    ),
    "scheduler-without-fallback": Cause(
        "A real server has weight 0, and the scheduler (sh, mh, dh) refuses its clients "
        "instead of choosing another one.",
        "The scheduler, its flags and the weights.",
        "`--scheduler sh,fallback`, or remove the server",
    ),
    "no-ipvs": Cause(
        "The kernel has no IPVS, or its module is not loaded.",
        "The kernel has no netlink family of IPVS.",
        "`modprobe ip_vs`, then `vipctl restore`",
    ),
    "scheduler-missing": Cause(
        "IPVS lacks the service, as this kernel has no such scheduler, or persistence engine.",
        "The kernel's module files.",
        "Install the module, then `vipctl restore`; or choose another scheduler",
    ),
    "ipvs-service-missing": Cause(
        "IPVS has no service with the mark: somebody has removed it, or keepalived or ipvsadm "
        "has not made it.",
        "IPVS.",
        "`vipctl restore`; of a service of others, look at what makes it",
    ),
    "ipvs-real-missing": Cause(
        "Stored real servers are not in IPVS, and no other may be chosen.",
        "IPVS, compared with what is stored and what checks say.",
        "`vipctl restore`",
    ),
    "proxy-not-listening": Cause(
        "The method is `tproxy`, and nothing listens on the port of the local proxy.",
        "The sockets that listen.",
        "Start the proxy",
    ),
    "no-route-to-real": Cause(
        "The director has no route to a real server.",
        "`ip route get RIP`.",
        "Give it a route",
    ),
    "link-down": Cause(
        "The interface toward a real server, or the client, is down, or has no link.",
        "Its flags.",
        "`ip link set DEVICE up`, or mend what it is plugged into",
    ),
    "neighbour-failed": Cause(
        "A real server, or the gateway to it, does not answer ARP or neighbour discovery.",
        "The kernel's neighbour entry is FAILED.",
        "See whether that host is up, and on this link",
    ),
    "real-not-answering": Cause(
        "A real server refuses connections to the port, or does not answer.",
        "`--probe`: it is asked, with dr and tun at the VIP, and whether it answers echo requests.",
        "Start what is to listen there, or `vipctl drain-real NAME RIP`",
    ),
    "real-lacks-vip": Cause(
        "With dr or tun, a real server does not take packets for the VIP: it lacks the address, or "
        "the tunnel.",
        "`--probe`: it answers at its own address, and not at the VIP, where IPVS leads to it "
        "alone.",
        "Give it the address (`arp_ignore=1`), or the tunnel (its `rp_filter=0`)",
    ),
    "no-way-back": Cause(
        "With nat, the way of a real server to clients does not lead through the director.",
        "`--probe`: it answers the director's address on its link, and not the one on the clients' "
        "side, by the interface that leads to it.",
        "The director as its gateway, or `--source-nat auto`",
    ),
    "forwarding-off": Cause(
        "The director does not forward, so that answers of real servers (nat) end there.",
        "`net.ipv4.ip_forward` and that of the interface; `net.ipv6.conf.all.forwarding`.",
        "`vipctl set-service NAME --set-sysctls`",
    ),
    "client-beside-reals": Cause(
        "With nat, the client is in the real servers' own subnet: they answer it directly, "
        "from an address that it never asked.",
        "The client's address is in the director's connected network of a real server.",
        "`vipctl set-service NAME --source-nat auto`",
    ),
    "no-route-to-client": Cause(
        "With nat, the director has no route for the answers to the client.",
        "`ip route get CLIENT from RIP iif DEVICE`.",
        "Give it a route",
    ),
    "packet-dropped": Cause(
        "A real packet of the client came, and was dropped: by a chain of nftables, which is "
        "named, by routing, or as IPVS did not take it.",
        "`--watch`: nftables' trace of the first packet that comes.",
        "What the other causes say, or a rule that accepts such packets",
    ),
    "packet-led-elsewhere": Cause(
        "A real packet of the client came, and was routed on instead of being accepted.",
        "`--watch`: it came to FORWARD.",
        "What the other causes say",
    ),
}

HINTS: Mapping[str, Cause] = {
    "vip-is-own-address": Cause(
        "The VIP is an address of the director, too, which gets what no service takes.",
        "The addresses of its interfaces.",
        "`vipctl remove-range ADDRESS`, or take the address from the interface",
    ),
    "not-as-stored": Cause(
        "Something in the kernel is not as stored, without keeping this client from the VIP.",
        "The rules of vipctl, and the settings in IPVS.",
        "`vipctl restore`",
    ),
    "sysctl": Cause(
        "A sysctl is not as the service needs it. `expire_nodest_conn=0`: connections to a "
        "removed real server hang.",
        "Its value.",
        "`vipctl set-service NAME --set-sysctls`",
    ),
    "port-reuse": Cause(
        "`conn_reuse_mode=0`, and a real server has weight 0: a client that uses a port again "
        "stays with that server.",
        "The sysctl and the weights.",
        "`sysctl -w net.ipv4.vs.conn_reuse_mode=1`",
    ),
    "sync-loop": Cause(
        "`backup_only=0` while IPVS runs a backup daemon alone, and real servers by dr: two "
        "directors may send each other a connection.",
        "IPVS's daemons and the sysctl.",
        "`sysctl -w net.ipv4.vs.backup_only=1`",
    ),
    "tunnel-mtu": Cause(
        "A full packet of the client is too large for the tunnel to a real server: the "
        "director tells the client (`pmtu_disc=1`), and one that does not hear of it hangs.",
        "The MTUs of both interfaces, what the tunnel adds, and the sysctl.",
        "`sysctl -w net.ipv4.vs.pmtu_disc=0`, or a larger MTU",
    ),
    "path-mtu": Cause(
        "Something between the director and a real server has less room than a full packet needs: "
        "uploads hang.",
        "`--probe`: it answers a small echo request, and none as large as the interface's MTU.",
        "A larger MTU there, or a smaller one of the director's interface",
    ),
}


def set_sysctls(service: Service) -> str:
    """What gives a service the sysctls that it needs, for good."""
    return RESTORE if service.set_sysctls else f"vipctl set-service {service.name} --set-sysctls"
