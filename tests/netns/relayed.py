"""Three directors on one link, each with a relay, and sockets in the places of sync daemons.

This kernel has no IPVS: what it would say is written to the device as it would write it.
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import trustme

from tests.harness import synced
from tests.harness.netns import Namespace
from tests.harness.relays import Director
from tests.unit.committing import commit
from vipctl.addresses.prefixes import from_spans, parse_range
from vipctl.relay import messages
from vipctl.services import planner
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.state.store import Store

OTHER_END = "169.254.88.49"
VIP, RIP, MARK = "203.0.113.7", "10.0.1.11", 0x1000
WEB = Service("web", MARK, reals=parse_reals([RIP]))
QUIET = 0.5  # seconds in which nothing more comes


def records(number: int, first: int = 0, parameters: bytes = b"") -> list[bytes]:
    """Of so many clients, from the one with this number on."""
    clients = (str(ip_address("10.64.0.0") + n) for n in range(first, first + number))
    return [synced.record(client, VIP, RIP, MARK, parameters=parameters) for client in clients]


def heard(ear: socket.socket, number: int) -> list[bytes]:
    """So many messages, and none more for a while."""
    found = [ear.recv(2000) for _ in range(number)]
    time.sleep(QUIET)
    ear.setblocking(False)
    with suppress(BlockingIOError):
        found.append(ear.recv(2000))
    ear.settimeout(20)
    assert len(found) == number
    return found


def contents(found: list[bytes]) -> list[bytes]:
    return sorted(record.data for message in found for record in messages.read(message))


@dataclass
class Site:
    """The directors, and who certifies them."""

    authority: trustme.CA
    directors: list[Director]

    def start(self, *words: str, security: Sequence[str] | None = None) -> None:
        """All of them; each has met the others."""
        for director in self.directors:
            director.start(*words, security=security)
        for director in self.directors:
            for peer in director.peers:
                director.wait_for(f"{peer} gets records")
                director.wait_for(f"{peer} sends records")


@contextmanager
def site(directory: Path, number: int = 3) -> Iterator[Site]:
    """With so many directors."""
    authority, file = trustme.CA(), directory / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with ExitStack() as stack:
        lan = Namespace.create("lan")
        stack.callback(lan.close)
        lan.ip("link add lan type bridge", "link set lan up")
        directors = []
        for n in range(1, number + 1):
            host = Namespace.create(f"director{n}")
            stack.callback(host.close)
            lan.ip(
                f"link add port{n} type veth peer name eth0 netns {host.name}",
                f"link set port{n} master lan up",
            )
            address = f"10.0.9.{n}"
            host.ip("link set eth0 up", f"address add {address}/24 dev eth0")
            place = directory / str(n)
            place.mkdir()
            director = Director(host, address, place, file)
            director.certify(authority)
            _fill(director)
            directors.append(director)
        for director in directors:
            director.peers = [one.address for one in directors if one is not director]
        yield Site(authority, directors)


def _fill(director: Director) -> None:
    """Has a service stored, of which no kernel knows here."""
    state = director.vipctl.state_dir
    with director.host, Store.open(state) as store:
        ranges = from_spans([parse_range("203.0.113.0/24")])
        commit(store, planner.take(store, None, WEB, ranges))
