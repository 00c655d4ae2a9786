"""How many ports source NAT has in use, of those that there are.

A source address has a port for each connection to a port of a real server. IPVS counts the
connections of each real server, and where it forgets one, it has the kernel's connection tracking
forget it: nobody has to go through that table. Connections to several ports are counted together.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from vipctl.operate.outcome import Report
from vipctl.services.service import Service
from vipctl.services.values import AUTO

PORTS = 65536 - 1024  # the kernel's choice for a port above 1023: net/netfilter/nf_nat_core.c
FULL = 0.8


def used(services: Iterable[Service], counted: Mapping[int, Report]) -> dict[str, Report]:
    """Of each service with source NAT, toward each real server; services may share these."""
    translated = [s for s in services if s.balanced and s.source_nat]
    totals = Counter[str]()
    for service in translated:
        totals.update(_connections(counted.get(service.fwmark, {})))
    return {
        s.name: {
            real.endpoint: {
                "used": totals[real.endpoint],
                "ports": PORTS * _addresses(s, real.address.version),
            }
            for real in s.servers
            if _addresses(s, real.address.version)
        }
        for s in translated
    }


def warnings(found: Mapping[str, Report]) -> Iterator[str]:
    for name, reals in found.items():
        full = {e: n for e, n in reals.items() if n["used"] > FULL * n["ports"]}
        for endpoint, numbers in full.items():
            yield (
                f"service {name!r}: source NAT has {numbers['used']:,} of {numbers['ports']:,} "
                f"ports in use toward real server {endpoint}, and without one a connection fails: "
                f"add addresses (--source-nat ADDRESS, repeated), or real servers"
            )


def _connections(family: Report) -> dict[str, int]:
    """By real server."""
    return {
        endpoint: counters["active"] + counters["inactive"]
        for version in family.values()
        for endpoint, counters in version["reals"].items()
    }


def _addresses(service: Service, version: int) -> int:
    """Of an IP version of which none is named nothing is translated."""
    if service.source_nat == (AUTO,):
        return 1
    named = [a for a in service.source_nat if not isinstance(a, str) and a.version == version]
    return len(named)
