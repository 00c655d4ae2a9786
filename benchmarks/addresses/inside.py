"""In the guest: measure in turn, with what is compared, one line of JSON for each time.

python -m benchmarks.addresses.inside RECORD SENDER CHANGED CROWD ROUNDS
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from benchmarks.datapath import plan
from benchmarks.datapath.inside import SETTLING, harness, send
from benchmarks.datapath.site import REAL, Director, director
from benchmarks.loading.inside import have_etc_in_memory, spent
from tests.harness import module
from tests.harness.netns import Namespace
from vipctl import methods
from vipctl.linux import ipvs, shim
from vipctl.services import batch
from vipctl.services.marks import MARK_VALUE
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Forward

NET = int(IPv4Address("172.22.0.0"))  # a /16
BROADCAST = NET | 0xFFFF
# hash_32() of include/linux/hash.h has no key: a sender knows which addresses share a bucket.
GOLDEN, BUCKETS = 0x61C88647, 8
SOURCES = range(int(IPv4Address("10.0.8.1")), int(IPv4Address("10.0.15.255")))
CASE = plan.Case("shim", 4, 1)


def main() -> int:
    """Measure; what is measured is in the record at once."""
    record, sender, changed, crowd, rounds = sys.argv[1:]
    have_etc_in_memory()
    with Path(record).open("a") as out:

        def note(what: str, instructions: float, *, base: bool) -> None:
            line = {"what": what, "instructions": instructions, "base": base}
            print(line, flush=True)
            out.write(json.dumps(line) + "\n")
            out.flush()

        for _ in range(int(rounds)):
            _change(int(changed), note)
        _send(int(crowd), Path(sender), note)
    return 0


def _change(count: int, note: Callable[..., None]) -> None:
    """Add addresses of one subnet, one by one, and remove their device."""
    for base in (True, False):
        with _host(accepting=not base) as host:
            added = spent()
            host.ip("link add many type dummy", *_added(count, "many"))
            removed = spent()
            host.ip("link del many")
            note(f"{count:,} addresses are added", removed - added, base=base)
            note(f"{count:,} addresses are removed", spent() - removed, base=base)


@contextmanager
def _host(*, accepting: bool) -> Iterator[Namespace]:
    """A namespace, in which the module accepts if it is to."""
    if accepting:
        module.load()
    host = Namespace.create("director")
    try:
        host.ip("link set lo up")
        if accepting:
            with host, shim.changing() as commands:
                commands.set_service(1, shim.Settings(0, ()))
        yield host
    finally:
        host.close()
        if accepting:
            module.unload()


def _added(count: int, device: str) -> Iterator[str]:
    for number in range(1, count + 1):
        yield f"addr add {IPv4Address(NET + number)}/16 brd + dev {device}"


def _send(count: int, sender: Path, note: Callable[..., None]) -> None:
    """From where the hash of before had all broadcast addresses, and from where it had none."""
    crowded = _bucket(BROADCAST)
    chosen = next(source for source in SOURCES if _bucket(source) == crowded)
    other = next(source for source in SOURCES if _bucket(source) != crowded)
    for what, source in (("the worst source", chosen), ("another source", other)):
        for base in (True, False):
            with director() as site:
                _accept(site, 0 if base else count)
                time.sleep(SETTLING)
                gross, _ = send(site, sender, 4, plan.vips(CASE), source.to_bytes(4))
                note(
                    f"a packet from {what}, {count:,} addresses",
                    gross - harness(4, sender),
                    base=base,
                )


def _accept(site: Director, count: int) -> None:
    reals = (RealServer(ip_address(REAL[4])),)
    service = Service("bench", MARK_VALUE, "shim", forward=Forward.DR, reals=reals)
    if not Path("/sys/module", module.NAME).exists():
        module.load()
    site.host.ip("link add many type dummy", *_added(count, "many"))
    with site.host:
        ipvs.add(ipvs.desired([service]), {})
        wanted = batch.of_entries(plan.entries(CASE, MARK_VALUE))
        methods.get("shim").load(plan.acceptance(CASE, service), wanted)


def _bucket(address: int) -> int:
    """Where a hash without a key has an address."""
    word = int.from_bytes(address.to_bytes(4, "big"), "little")
    return (word * GOLDEN & 0xFFFFFFFF) >> (32 - BUCKETS)


if __name__ == "__main__":
    sys.exit(main())
