"""Which services hold an address, by which range, and whether the kernel has that prefix."""

from collections.abc import Iterable, Iterator

from vipctl import methods
from vipctl.addresses.prefixes import IPAddress, IPNetwork, network
from vipctl.addresses.spans import Spans
from vipctl.errors import VipctlError
from vipctl.files import Where
from vipctl.operate.changing import refuse_foreign_state
from vipctl.operate.outcome import Report
from vipctl.reconcile.acceptance import acceptances
from vipctl.services import batch
from vipctl.services.change import Entry
from vipctl.services.service import Service, plain
from vipctl.state.store import Store

SHOWN = ("method", "fwmark", "ports", "reals")  # of a service, as far as it has them


def lookup(state_dir: Where, addresses: Iterable[IPAddress]) -> Report:
    with Store.read(state_dir) as store:
        refuse_foreign_state(store, adopt=False)
        found = [{"address": str(vip), "holders": list(_holders(store, vip))} for vip in addresses]
        return {"addresses": found, "pending": store.intent() is not None}


def _holders(store: Store, vip: IPAddress) -> Iterator[Report]:
    for service, entry in held(store, vip):
        form = plain(service)
        yield {
            "service": service.name,
            "range": str(prefix_of(entry)),
            **{field: form[field] for field in SHOWN if field in form},
            "kernel": _kernel(store, service, entry),
        }


def held(store: Store, vip: IPAddress) -> Iterator[tuple[Service, Entry]]:
    """The services that have an address, each with the prefix that holds it."""
    point = Spans.from_pairs(vip.version, [(int(vip), int(vip))])
    for place, near in sorted(store.touching(point).items()):
        service = store.services()[place.service]
        found = batch.of({place: near.overlapping(point)}, {service.name: service.fwmark})
        yield from ((service, e) for e in batch.entries(found) if vip in prefix_of(e))


def prefix_of(entry: Entry) -> IPNetwork:
    return network(entry.shape.version, entry.start, entry.shape.length)


def _kernel(store: Store, service: Service, entry: Entry) -> str:
    try:
        there = in_kernel(store, service, entry)
    except VipctlError as e:
        return f"unknown: {e.message}"
    return "as stored" if there else "differs"


def in_kernel(store: Store, service: Service, entry: Entry) -> bool:
    """Whether the kernel has the prefix. Where the kernel can, only this one is looked up."""
    shapes = acceptances(store)[service.method].shapes
    (wanted,) = batch.entries(batch.sized(batch.of_entries([entry]), shapes))
    return methods.get(service.method).has(wanted, known_epoch(store, service.method))


def known_epoch(store: Store, method: str) -> str:
    """The epoch in which the kernel had all prefixes as they are stored; "" if there is none."""
    return store.epochs().get(method, "") if store.intent() is None else ""
