"""What stands in the way of packets for VIPs, whichever VIP it is."""

from collections.abc import Iterator

from vipctl.diagnosis import firewalls, source
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, well
from vipctl.linux.routing import neighbours, rules, ways
from vipctl.linux.routing.localroutes import PROTOCOL
from vipctl.operate import arrival, filtering, owned
from vipctl.services.change import Change
from vipctl.services.methods import FIRST_PRIORITY

WHOLE = 0xFFFFFFFF  # mask of a mark
BEHIND = "give it a priority behind vipctl's rules (ip rule)"


def ahead(site: Site) -> Iterator[Step]:
    """Rules of others that lead packets for VIPs elsewhere: VPNs, and marks of others."""
    astray = list(arrival.astray(site.store, Change(), ways.own()))
    for packet, _, guilty in astray:
        if guilty:
            says = f"{' or '.join(f'`{rule}`' for rule in guilty)} comes before vipctl's rules"
            says += f": packets for {packet.vip} by {ways.name_of(packet.device)} go elsewhere"
            yield ill("rules", "rule-before-ours", says, BEHIND, source.command(packet))
    if site.routed and not astray:
        yield well(
            "rules", "no rule of others comes before vipctl's and leads VIPs elsewhere", "ip rule"
        )


def marks(site: Site) -> Iterator[Step]:
    """Rules of others for the mark of a service: vipctl's rules take these packets first."""
    named = {service.fwmark: service.name for service in site.services if service.features.priority}
    for rule in rules.read():
        whole = rule.mask == WHOLE and not rule.inverted
        behind = rule.protocol != PROTOCOL and rule.priority > FIRST_PRIORITY
        if whole and behind and (name := named.pop(rule.mark, None)):
            says = f"`{rule}` is for the mark of service {name!r}: vipctl makes such packets local"
            fix = "give others another mark, or the service (--fwmark)"
            yield ill("marks", "mark-taken", says, fix, "ip rule; ip -6 rule")


def firewall(site: Site) -> Iterator[Step]:
    """Each chain once, with the first of the services that it drops packets of."""
    found = dict[str, filtering.Dropped]()
    for one in filtering.dropped(site.store, Change(), site.services):
        found.setdefault(one.base.title, one)
    errors = list(filtering.errors_dropped(site.store, Change(), site.services))
    for base, case in errors:
        if base.title not in found:
            says = filtering.dropping(base, base.chain, case)
            says += ", by which senders learn to send smaller packets"
            evidence = firewalls.command(base)
            yield ill("firewall", "firewall-icmp", says, _letting(base.title), evidence)
    for one in found.values():
        cause = firewalls.CAUSES[one.base.hook]
        yield ill("firewall", cause, one.says, one.cure, firewalls.command(one.base))
    if site.services and not (found or errors):
        yield well("firewall", "no chain is sure to drop what is for VIPs", "nft list ruleset")


def _letting(title: str) -> str:
    tool, _, chain = title.partition(" ")
    if tool.endswith("-legacy"):
        protocol = "icmpv6" if tool.startswith("ip6") else "icmp"
        return f"{tool} -I {chain} -p {protocol} -j ACCEPT"
    return f"nft insert rule {title} meta l4proto {{ icmp, icmpv6 }} accept"


def addresses(site: Site) -> Iterator[Step]:
    """VIPs that are addresses of the director, such as those that keepalived adds."""
    taken = list(owned.taken(site.store, ways.own()))
    for service, found in taken:
        more = f" and {len(found) - 1} more" if found[1:] else ""
        says = f"{found[0]}{more}, of this director, is a VIP of service {service!r}"
        fix = f"vipctl remove-range {found[0]} --service {service}"
        yield ill("addresses", "vip-is-own-address", says, fix, f"ip address show to {found[0]}")
    if site.services and not taken:
        yield well("addresses", "no VIP is an address of this director", "ip address")


def real_servers(site: Site) -> Iterator[Step]:
    """Those on a link of the director that do not answer ARP or neighbour discovery there."""
    name, failed = "real servers", neighbours.failed()
    silent = {address for _, address in failed}
    reals = {real.address for service in site.services for real in service.servers}
    lost = sorted(reals & silent, key=lambda a: (a.version, int(a)))
    lost = [address for address in lost if (ways.device_to(address), address) in failed]
    if lost:
        more = f" and {len(lost) - 1} more" if lost[1:] else ""
        says = f"real server {lost[0]}{more} does not answer on its link"
        fix = f"is {lost[0]} up, and on that link?"
        yield ill(name, "neighbour-failed", says, fix, f"ip neighbour show to {lost[0]}")
    elif reals:
        yield well(
            name,
            "no real server is known not to answer on its link",
            "ip neighbour show nud failed",
        )
