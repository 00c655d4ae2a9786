"""`kill -9` of `vipctl watch` at random moments of its healing and checks, under traffic."""

import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path
from typing import Self

from tests.harness.command import Vipctl
from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab, family, lab
from tests.harness.netns import Namespace
from tests.harness.servers import TcpServer
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.addresses import OTHER_RANGES, OTHERS, RANGES, VIPS
from tests.netns.arrivals import accepted, settle
from tests.netns.route import BeforeIpvs
from tests.netns.test_watch import watching
from tests.unit.committing import commit
from vipctl import methods
from vipctl.addresses.prefixes import from_spans
from vipctl.health.verdicts import State
from vipctl.methods import fwmark
from vipctl.reconcile import looking
from vipctl.services import planner
from vipctl.services.checks import parse_checks
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.state import verdicts
from vipctl.state.store import Store

# Of the service of mark 17; nothing of them is the other's, whose packets go by `route`.
DAMAGES = (
    "nft delete table inet vipctl",
    "nft flush chain inet vipctl prerouting",
    "nft delete element inet vipctl v4_24_1024 { 203.0.113.0 }",
    f"ip rule del pref {fwmark.BLOCK.priorities[1]}",
    f"ip -6 rule del pref {fwmark.BLOCK.priorities[1]}",
    f"ip route flush table {fwmark.BLOCK.table}",
    f"nft delete table inet vipctl && ip rule del pref {fwmark.BLOCK.priorities[1]}",
)
MARKS = dict.fromkeys(VIPS, 17) | dict.fromkeys(OTHERS, 18)
REALS = ("10.0.1.11", "10.0.1.12")
CHECKS = parse_checks(["tcp:80,every=0.2s,timeout=0.2s,fall=1,rise=1"])
WEB = Service("web", 0x1000, reals=parse_reals(REALS), checks=CHECKS)
PATIENCE = 120.0  # seconds that a daemon may take to start, on a machine that does much else
PAUSE = 0.0005  # seconds between two datagrams


class Stream(threading.Thread):
    """Datagrams to VIPs in turn, until it is left; how many went to each."""

    def __init__(self, client: Namespace, vips: Iterable[str]) -> None:
        super().__init__()
        with client:
            self.sockets = {vip: socket.socket(family(vip), socket.SOCK_DGRAM) for vip in vips}
        self.sent: Counter[str] = Counter()
        self.going = True

    def run(self) -> None:
        """Send until told to stop."""
        while self.going:
            for vip, out in self.sockets.items():
                out.sendto(b"x", (vip, 9))
                self.sent[vip] += 1
            time.sleep(PAUSE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.going = False
        self.join()
        for out in self.sockets.values():
            out.close()


def at_random_moments(directory: Path, number: int, seed: str) -> Counter[str]:
    """So many kills, each followed by a daemon that nobody kills; returns what they came to."""
    dice, came_to = random.Random(seed), Counter[str]()
    with lab() as net, ExitStack() as serving:
        snapshot.settle(net.director)
        vipctl = Vipctl(net.director, directory / "state")
        serving.callback(Path(verdicts.path(vipctl.state_dir)).unlink, missing_ok=True)
        keep(vipctl, WEB, {"192.0.2.1"})
        vipctl("add-range", *RANGES, "--fwmark", "17")
        vipctl("add-range", *OTHER_RANGES, "--fwmark", "18", "--method", "route")
        reals = {real: _Real(host) for real, host in zip(REALS, net.reals, strict=True)}
        longest = 0.6  # delay in seconds; soon such that half of the daemons have healed before
        with BeforeIpvs(net.director) as counter:
            for trial in range(number):
                damage, delay = dice.choice(DAMAGES), dice.uniform(0, longest)
                why = f"seed {seed}, trial {trial}: {damage}, killed after {delay:.3f} s"
                dice.choice([*reals.values()]).turn()
                reported = _kill(net, vipctl, counter, directory, (damage, delay, why))
                longest *= 0.9 if reported else 1.1
                came_to["had said that it healed" if reported else "had not"] += 1
                came_to["left something to repair"] += vipctl("status")["pending"]
                works = {real: one.state() for real, one in reals.items()}
                came_to["had not said what checks find"] += states(vipctl) != works
                _recover(net, vipctl, counter, directory, works, why)
    return came_to


class _Real:
    """A real server, and whether anybody listens there."""

    def __init__(self, host: Namespace) -> None:
        self.host = host
        self.server: TcpServer | None = None

    def state(self) -> State:
        """What checks find."""
        return State.UP if self.server else State.DOWN

    def turn(self) -> None:
        """Fail, or come back."""
        if self.server:
            self.server.close()
            self.server = None
        else:
            self.server = TcpServer(self.host, "0.0.0.0", 80, "real")


def keep(vipctl: Vipctl, service: Service, vips: set[str]) -> None:
    """Store a new service as a command would on a kernel with IPVS."""
    found = map(ip_address, vips)
    wanted = from_spans([(one.version, (int(one), int(one))) for one in found])
    with vipctl.host, Store.open(vipctl.state_dir) as store:
        commit(store, planner.take(store, None, service, wanted))


def is_whole(vipctl: Vipctl) -> bool:
    """Whether the kernel has every prefix, and all else but IPVS's, as it is stored."""
    with vipctl.host, Store.read(vipctl.state_dir) as store:
        found = looking.look(store, whole=methods.PARTS)
        return not found.differs() and store.intent() is None


def states(vipctl: Vipctl, name: str = "web") -> dict[str, State]:
    """Return what checks have found of a service's real servers."""
    with vipctl.host:
        found = verdicts.read(vipctl.state_dir).services.get(name)
    return {endpoint: one.state for endpoint, one in found.reals.items()} if found else {}


def _kill(
    net: Lab, vipctl: Vipctl, counter: LocalInCounter, directory: Path, how: tuple[str, float, str]
) -> bool:
    """Returns whether the daemon had said that it put something back."""
    damage, delay, why = how
    counter.reset()
    with ExitStack() as ends:
        daemon = ends.enter_context(watching(vipctl, directory / "log", limit=PATIENCE))
        stream = ends.enter_context(Stream(net.client, MARKS))
        net.director.run(["sh", "-c", damage])
        time.sleep(delay)
        daemon.stop(signal.SIGKILL)
    settle(net.client, counter)
    seen = counter.counts()
    for vip in OTHERS:
        assert seen.get((18, vip), 0) == stream.sent[vip] > 0, f"lost, of the other: {why}"
    wrong = {key for key in seen if key[1] in MARKS and key[0] != MARKS[key[1]]}
    assert not wrong, why
    reported = any("put back" in line for line in daemon.said())
    if reported:
        assert is_whole(vipctl), f"said, but not so: {why}"
    return reported


def _recover(
    net: Lab,
    vipctl: Vipctl,
    counter: LocalInCounter,
    directory: Path,
    works: dict[str, State],
    why: str,
) -> None:
    """The next daemon finds what is to be done before it says that it watches."""
    with watching(vipctl, directory / "log", limit=PATIENCE) as daemon:
        assert is_whole(vipctl), why
        assert accepted(net, counter, MARKS) == MARKS, why
        wait_until(lambda: states(vipctl) == works, f"checks find {works}: {why}", PATIENCE)
        assert daemon.stop() == 0
