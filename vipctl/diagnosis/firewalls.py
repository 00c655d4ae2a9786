"""Whether a firewall on the director is sure to drop a packet of the connection."""

from collections.abc import Iterator

from vipctl.diagnosis.case import Case
from vipctl.diagnosis.steps import State, Step, ill, unknown, well
from vipctl.linux import filters, sysctl
from vipctl.linux.filters.packet import ESTABLISHED, Device, Hook
from vipctl.linux.filters.walk import Base
from vipctl.linux.routing import ways
from vipctl.operate import filtering, holders, passing
from vipctl.operate.passing import Asked, Site
from vipctl.services.real import RealServer
from vipctl.services.values import Forward

CAUSES = {
    Hook.PREROUTING: "firewall-prerouting",
    Hook.INPUT: "firewall-input",
    Hook.OUTPUT: "firewall-output",
    Hook.FORWARD: "firewall-forward",
}


def coming(case: Case) -> Iterator[Step]:
    """One step at most, as few directors have a chain there: a cause, or else what is not known."""
    site, asked = _site(case), _asked(case, None)
    found = [_of_hook(site, Hook.PREROUTING, one) for one in passing.coming(site, asked)]
    doubts = [step for step in found if step.state is State.UNKNOWN]
    yield from ([step for step in found if step.cause] or doubts)[:1]


def arriving(case: Case) -> Iterator[Step]:
    yield from _at(case, Hook.INPUT)
    if case.version == 6 and case.asked.device:
        yield from _unsolicited(case)


def _unsolicited(case: Case) -> Iterator[Step]:
    """No cause while neighbours remember the director's link-layer address."""
    site = _site(case)
    one = passing.solicited(site)
    for base, place in filtering.losing(site.bases, one):
        says = f"{filtering.dropping(base, place, one)}: who has to ask does not find the director"
        fix = filtering.cure(site, base, place, one)
        yield unknown("firewall neighbours", says, command(base))._replace(fix=fix)


def sent(case: Case) -> Iterator[Step]:
    yield from _at(case, Hook.OUTPUT)


def answered(case: Case) -> Iterator[Step]:
    yield from _at(case, Hook.FORWARD)


def _at(case: Case, hook: Hook) -> Iterator[Step]:
    """With the first real server that may be chosen."""
    real, site = next(iter(case.chosen), None), _site(case)
    whole = _asked(case, real)
    for one in passing.cases(site, whole):
        if one.packets and one.packets[0].hook is hook:
            yield _of_hook(site, hook, one)
    if hook is Hook.FORWARD and not case.asked.device:
        yield from _come_back(case, site, whole)


def _come_back(case: Case, site: Site, asked: Asked) -> Iterator[Step]:
    """The answer to the director itself."""
    if case.service.proxied:
        yield _of_hook(site, Hook.INPUT, passing.proxied_to_director(site, asked))
    elif asked.real and not case.is_own(asked.real.address):
        yield _of_hook(site, Hook.INPUT, passing.to_director(site, asked, asked.real))


def deaf(case: Case, real: RealServer) -> str:
    """Which chain may drop what the real server answers the director's own questions, in words.

    By nat these are connections of its own, which are tracked.
    """
    site = _site(case)
    one = passing.to_director(site, _asked(case, real), real)
    if real.forward == Forward.NAT:
        one = one._replace(packets=tuple(p._replace(state=ESTABLISHED) for p in one.packets))
    found = [base for base in filtering.seeing(site.bases, one) if _may_drop(base, one)]
    return f"chain {found[0].title} may drop the answer" if found else ""


def _asked(case: Case, real: RealServer | None) -> Asked:
    return Asked(
        case.service, case.asked.vip, case.asked.port, real, case.asked.client, *_kind(case)
    )


def _site(case: Case) -> Site:
    devices = [Device(case.arriving, ways.name_of(case.arriving))] if case.arriving else []
    tracked = sysctl.read(sysctl.CONNTRACK) == "1"
    return Site(tracked, filters.bases(), {case.version: devices})


def _kind(case: Case) -> tuple[bool, bool]:
    """Whether the VIP is an address of the director; and if not, anycast: see `Packet`."""
    prefix, own = holders.prefix_of(case.entry), case.is_own(case.asked.vip)
    first = prefix.version == 6 and prefix.prefixlen < 127 and prefix[0] == case.asked.vip
    return own, first and case.service.features.local and not own


def _of_hook(site: Site, hook: Hook, one: passing.Case) -> Step:
    name, cause = f"firewall {hook.name}", CAUSES[hook]
    for base, place in filtering.losing(site.bases, one):
        says = filtering.dropping(base, place, one)
        return ill(name, cause, says, filtering.cure(site, base, place, one), command(base))
    doubtful = [base for base in filtering.seeing(site.bases, one) if _may_drop(base, one)]
    if not doubtful:
        return well(name, f"no chain of others drops {one.what}", "nft list ruleset")
    titles = " and ".join(base.title for base in doubtful)
    says = f"chain {titles} may drop {one.what}, and may not"
    return unknown(name, says, command(doubtful[0]))


def _may_drop(base: Base, one: passing.Case) -> bool:
    return any(map(base.may_lose, filter(base.sees, one.packets)))


def command(base: Base) -> str:
    tool, _, chain = base.title.partition(" ")
    return f"{tool} -S {chain}" if tool.endswith("-legacy") else f"nft list chain {base.title}"
