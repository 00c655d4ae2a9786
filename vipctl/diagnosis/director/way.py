"""What stands in the way of packets for VIPs, whichever VIP it is."""

from collections.abc import Iterator

from vipctl.diagnosis import firewalls, source
from vipctl.diagnosis.director.site import Site
from vipctl.diagnosis.steps import Step, ill, well
from vipctl.linux.routing import ways
from vipctl.operate import arrival, filtering
from vipctl.services.change import Change

BEHIND = "give it a priority behind vipctl's rules (ip rule)"


def rules(site: Site) -> Iterator[Step]:
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


def firewall(site: Site) -> Iterator[Step]:
    """Each chain once, with the first of the services that it drops packets of."""
    found = dict[str, filtering.Dropped]()
    for one in filtering.dropped(site.store, Change(), site.services):
        found.setdefault(one.base.title, one)
    for one in found.values():
        cause = firewalls.CAUSES[one.base.hook]
        yield ill("firewall", cause, one.says, one.cure, firewalls.command(one.base))
    if site.services and not found:
        yield well("firewall", "no chain is sure to drop what is for VIPs", "nft list ruleset")
