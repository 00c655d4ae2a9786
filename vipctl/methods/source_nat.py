"""Source NAT of what IPVS sends to the real servers of services with --source-nat.

It works beside any method. It has the interface of a method, and no prefixes. The table, drawn by
`chains`:

    sent        LOCAL_OUT, -151      sets bit TAG in the mark of what IPVS sends on
    translate   POSTROUTING, 95      translates by that mark, before the rules of others (100)

At LOCAL_OUT, -150, methods take their marks off, or a packet for a dead real server would be routed
by its mark once more. A mark with TAG is not theirs, and stays. IPVS and the kernel's connection
tracking work together only where net.ipv4.vs.conntrack is 1, which such a service asks for.
"""

from collections.abc import Iterator

from vipctl.linux.nftables import tables, transactions
from vipctl.linux.nftables.ruleset import Chains, marks
from vipctl.services.batch import Batch
from vipctl.services.change import NOTHING, Acceptance
from vipctl.services.seal import Seal
from vipctl.services.service import Service
from vipctl.services.values import AUTO

TAG = 0x80000000
WITNESSED = SIZED = ROUTED = SEARCHED = False
LOCAL = None


class _Translated(Acceptance):
    """An acceptance without prefixes: services make it active."""

    def active(self) -> bool:
        return bool(self.services)


def chains(acceptance: Acceptance) -> Chains:
    if not acceptance.active():
        return {}
    keep = f"{marks(acceptance.services)} meta mark set meta mark ^ {TAG:#x}"
    rules = [line for service in acceptance.services for line in _translating(service)]
    return {
        "sent": ("filter hook output priority -151", [keep]),
        "translate": ("nat hook postrouting priority srcnat - 5", rules),
    }


def _translating(service: Service) -> Iterator[str]:
    mark = f"meta mark {service.fwmark ^ TAG:#x}"
    if service.source_nat == (AUTO,):
        yield f"{mark} masquerade"
        return
    for version, family in ((4, "ip"), (6, "ip6")):
        found = [
            str(a) for a in service.source_nat if not isinstance(a, str) and a.version == version
        ]
        if found:
            numbered = ", ".join(f"{n} : {address}" for n, address in enumerate(found))
            which = f"jhash {family} saddr mod {len(found)} map {{ {numbered} }}"
            yield f"{mark} snat {family} to {which if found[1:] else found[0]}"


TABLE = tables.Table("vipctl_source", chains)


def probe() -> tuple[str, ...]:
    tables.probe()
    return ()


def owner() -> str:
    return TABLE.owner()


def seal(acceptance: Acceptance) -> Seal:
    return TABLE.seal(_services_of(acceptance))


def unlike(acceptance: Acceptance) -> Iterator[str]:
    return TABLE.unlike(_services_of(acceptance))


def apply(before: Acceptance, after: Acceptance, removed: Batch, added: Batch) -> int:
    return tables.commit(TABLE.changing(_services_of(before), _services_of(after), {}, {}))


def load(after: Acceptance, batch: Batch) -> int:
    return tables.commit(TABLE.replacing(_services_of(after), {}))


def epoch() -> str:
    return transactions.generation()


def holds(acceptance: Acceptance, batch: Batch, since: str) -> bool:
    return True


def _services_of(acceptance: Acceptance) -> Acceptance:
    if acceptance == NOTHING:
        return NOTHING
    return _Translated(acceptance.services, frozenset(), (), acceptance.owner)
