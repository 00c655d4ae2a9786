"""Whether the director accepts the packet: what marks it, and which route it takes."""

import os
from collections.abc import Iterator

from vipctl import methods
from vipctl.diagnosis.case import Case
from vipctl.diagnosis.causes import RESTORE
from vipctl.diagnosis.source import REFUSED, command, taken
from vipctl.diagnosis.steps import Hint, Step, ill, unknown, well
from vipctl.linux import sysctl
from vipctl.linux.routing import fwmarks, localroutes, rules
from vipctl.linux.routing.fwmarks import Block, LocalDefault, Owned
from vipctl.linux.routing.localroutes import RT_TABLE_LOCAL
from vipctl.linux.routing.rules import FR_ACT_TO_TBL, Rule
from vipctl.linux.routing.ways import Packet
from vipctl.operate import arrival, holders
from vipctl.reconcile import looking
from vipctl.reconcile.acceptance import acceptances
from vipctl.services.change import NOTHING, Acceptance

NAME, ROUTING = "acceptance", "routing"


def steps(case: Case) -> Iterator[Step]:
    if lost := _unusable(case):
        yield lost
        return
    marking, asked = _marking(case), case.asked
    yield marking
    routed = methods.get(case.service.method).LOCAL is not None
    if routed and case.arriving and not case.store.role().passive:
        packet = Packet(asked.client, case.arriving, asked.vip, case.mark, asked.port)
        yield _routed(case, packet, marking)


def _marking(case: Case) -> Step:
    """Whether the packet gets the mark: by what vipctl has made for that, and by the prefix."""
    name = case.service.method
    method, evidence = methods.get(name), f"vipctl status {case.service.name}"
    if not method.marks(case.version):
        says = f"method {name}: what marks packets is not there, or empty"
        return ill(NAME, "marking-gone", says, RESTORE, evidence)
    if lost := _prefix(case):
        return lost
    for words in _damage(case):
        says = f"method {name}: {words}; what follows from that cannot be told"
        return unknown(NAME, says, evidence)._replace(fix=RESTORE)
    return well(NAME, f"method {name} marks it {case.service.fwmark:#x}", evidence)


def _prefix(case: Case) -> Step | None:
    """Where the kernel does not have the prefix that holds the VIP."""
    name, known = case.service.method, holders.known_epoch(case.store, case.service.method)
    method, evidence = methods.get(name), f"vipctl lookup {case.asked.vip}"
    if not method.SEARCHED and method.epoch() != known:
        says = "somebody has changed what the module has; which prefixes, is seen by reading all"
        return unknown(NAME, says, "vipctl --check restore")
    if holders.in_kernel(case.store, case.service, case.entry):
        return None
    if case.service.features.local and not localroutes.present(case.entry):
        return unknown(NAME, f"the VIP's local route is not found: see {ROUTING}", evidence)
    says = f"method {name}: the kernel does not have {holders.prefix_of(case.entry)}"
    return ill(NAME, "prefix-missing", says, RESTORE, evidence)


def _unusable(case: Case) -> Step | None:
    """An address of the director is local whatever becomes of our routes."""
    name, own = case.service.method, case.is_own(case.asked.vip)
    problem = sysctl.without_ipv6_routes() if case.version == 6 else None
    if problem and methods.get(name).ROUTED and not own:
        return ill(NAME, "ipv6-disabled", problem.message, problem.hint or "", "ip -6 rule")
    if problem := methods.unusable(name):
        if name == "shim" and not _loaded():
            return ill(NAME, "shim-missing", problem.message, problem.hint or "", "lsmod")
        return unknown(NAME, f"method {name}: {problem.message} ({problem.hint})")
    return None


def _loaded() -> bool:
    from vipctl.linux import shim

    return shim.MODULE.exists()


def _block(case: Case) -> Block | None:
    """The rules and routes of the method, if it has any of its own."""
    features = case.service.features
    return Block.of(features) if features.priority else None


def _wanted(case: Case) -> Acceptance:
    """What the method is to accept, without the prefixes that stand for others."""
    name = case.service.method
    found = acceptances(case.store, looking.without_ipv6([name])).get(name, NOTHING)
    return found._replace(witnesses=())


def _damage(case: Case) -> Iterator[str]:
    """What is not as vipctl made it, but for rules, routes and prefixes."""
    name, accepted, block = case.service.method, _wanted(case), _block(case)
    routing = set(fwmarks.unlike(block, accepted)) if block else set()
    words = [text for text in methods.get(name).unlike(accepted) if text not in routing]
    yield from words
    if not (words or routing):
        found = looking.sealed(name, accepted)
        if not found.fits or found.digest != case.store.seals().get(name, ""):
            yield "somebody has changed something, or made it anew"


def _routed(case: Case, packet: Packet, marking: Step) -> Step:
    evidence, way = command(packet), taken(packet)
    if arrival.arrives(way):
        return well(ROUTING, f"it is local by table {way.table}", evidence)
    table = methods.get(case.service.method).LOCAL or RT_TABLE_LOCAL
    ahead = arrival.rules_ahead(rules.read(), case.version, table)
    if found := arrival.guilty_rules(packet, way, ahead):
        return _led_away(" or ".join(f"`{rule}`" for rule in found), evidence, table)
    for cause, says in _lost(case):
        return ill(ROUTING, cause, says, RESTORE, evidence)
    where = f"table {way.table} leads elsewhere" if way.table else os.strerror(way.failure)
    if marking.cause or way.failure in REFUSED:
        says = f"it is not local ({where}): that follows from another step, or a route drops it"
        return unknown(ROUTING, says, evidence)
    fix = f"ip -{case.version} route show table {way.table or table}: remove the route of others"
    return ill(ROUTING, "route-elsewhere", f"it is not local: {where}", fix, evidence)


def _lost(case: Case) -> Iterator[tuple[str, str]]:
    """The causes that vipctl's rule or route is not there, and what is said of each."""
    block = _block(case)
    missing = block.accepting(_wanted(case)) - fwmarks.read(block) if block else ()
    for item in missing:
        if isinstance(item, LocalDefault) and item.version == case.version:
            yield "route-gone", f"vipctl's route is gone: {item}"
        if _accepts(case, item):
            yield "rule-gone", f"vipctl's rule is gone: {item}"
    if case.service.features.local and not localroutes.present(case.entry):
        yield "route-gone", f"the local route of {holders.prefix_of(case.entry)} is gone"


def _accepts(case: Case, item: Owned) -> bool:
    """Whether it is the rule that accepts the packet."""
    wanted = (case.version, FR_ACT_TO_TBL, *fwmarks.selector(case.service.fwmark))
    return isinstance(item, Rule) and (item.version, item.action, item.mark, item.mask) == wanted


def _led_away(rule: str, evidence: str, table: int) -> Step:
    behind = "that of table local" if table == RT_TABLE_LOCAL else "vipctl's rules (ip rule)"
    says = f"{rule} comes before vipctl's rules and leads it elsewhere"
    return ill(ROUTING, "rule-before-ours", says, f"give it a priority behind {behind}", evidence)


def hints(case: Case) -> Iterator[Hint]:
    """Rules and routes that are not as stored, and that this packet does not need."""
    if block := _block(case):
        for text in fwmarks.unlike(block, _wanted(case)):
            yield Hint("not-as-stored", f"method {case.service.method}: {text}", RESTORE)
