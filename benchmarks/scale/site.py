"""A client and a director, commands on it that are timed, and whether it accepts an address."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale.plan import LIMIT
from benchmarks.scale.record import Spent
from tests.harness.counter import LocalInCounter
from tests.harness.guest import REPOSITORY
from tests.harness.netns import CommandError, Namespace
from tests.harness.traffic import udp_send
from tests.harness.waiting import wait_until

TIMED = Path(__file__).with_name("timed.py")
OWN = "10.0.0.1"
PORT = 9
REORDERED = 0.05  # seconds: what was sent before and overtaken


class Failed(Exception):
    """A contestant that did not do what it is measured at; says what it printed."""


ACCIDENTS = (Failed, CommandError, TimeoutError, subprocess.TimeoutExpired)


class Stopped(Exception):
    """A command that had no more time."""


@dataclass(frozen=True, slots=True)
class Site:
    """A director, its client, and a place for files."""

    host: Namespace
    client: Namespace
    seen: LocalInCounter
    scratch: Path

    def timed(self, argv: Sequence[str], limit: float = LIMIT) -> Spent:
        """Run a command on the director."""
        words = [sys.executable, "-I", str(TIMED), str(limit), str(self.printed), *argv]
        timer = self.host.run(words, timeout=None, cwd=REPOSITORY)
        found = json.loads(timer.stdout)
        status = found.pop("status")
        if status is None:
            raise Stopped("stopped")
        if status:
            said = self.printed.read_text(errors="replace")[-300:].strip()
            raise Failed(f"{' '.join(argv)[:100]}: exit status {status}: {said}")
        return Spent(**found)

    @property
    def printed(self) -> Path:
        """What the last command printed."""
        return self.scratch / "printed"

    def accepted(self, addresses: Sequence[str]) -> set[str]:
        """Return which of these get to the director's own door."""
        self.seen.reset()
        udp_send(self.client, [*addresses, OWN], PORT)
        wait_until(lambda: OWN in self._arrived(), "a packet for the director arrives")
        time.sleep(REORDERED)
        return self._arrived() & set(addresses)

    def _arrived(self) -> set[str]:
        return {address for _, address in self.seen.counts()}

    def check(self, members: Sequence[str], others: Sequence[str]) -> None:
        """Complain if not exactly the members are accepted."""
        found = self.accepted([*members, *others])
        if found != set(members):
            wrong = sorted(found ^ set(members))
            raise Failed(f"accepted are {len(found)} of {len(members)}; wrong: {wrong[:3]}")


@contextmanager
def site() -> Iterator[Site]:
    """Build them; both are new, and gone afterwards."""
    host, client = Namespace.create("director"), Namespace.create("client")
    try:
        with tempfile.TemporaryDirectory(prefix="vipctl-bench-") as scratch:
            _connect(host, client)
            built = Site(host, client, LocalInCounter(host), Path(scratch))
            built.accepted([])  # neighbours are known from then on
            yield built
    finally:
        client.close()
        host.close()


def _connect(host: Namespace, client: Namespace) -> None:
    host.sysctl("net.ipv4.ip_forward", 1)
    host.sysctl("net.ipv6.conf.all.forwarding", 1)
    client.ip(
        f"link add eth0 type veth peer name eth0 netns {host.name}",
        "link set eth0 up",
        "addr add 10.0.0.2/24 dev eth0",
        "addr add fd00::2/64 dev eth0 nodad",
        f"route add default via {OWN}",
        "route add ::/0 via fd00::1",
    )
    host.ip(
        "link set eth0 up",
        f"addr add {OWN}/24 dev eth0",
        "addr add fd00::1/64 dev eth0 nodad",
    )
