"""Steps of random things at the same time, and what must be so after each."""

import random
import signal
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from ipaddress import ip_network
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.netns import CommandError
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.arrivals import accepted, settle
from tests.netns.kills import Stream, is_whole, keep, states
from tests.netns.route import ROUTE, BeforeIpvs
from tests.netns.test_watch import Daemon, watching
from tests.stress.soak.checks import everything
from tests.stress.tended.model import BLOCKS, DAMAGES, REALS, Model, addresses, command, cores
from tests.stress.tended.reals import Real
from vipctl.health.verdicts import State
from vipctl.services.checks import parse_checks
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.state import verdicts

# The daemon leaves for up to 60 s what was changed five times within 60 s; and the machine is busy.
PATIENCE = 180.0
CHECK = "http:/,port=80,every=1s,timeout=1s,fall=2,rise=1"
WEB = Service("web", 0x1000, reals=parse_reals(REALS), checks=parse_checks([CHECK]))
ACTS = {"command": 6, "failure": 4, "damage": 3, "end of the daemon": 1}
BAD = ("Traceback", "is not followed", "do not go by")
REMEMBERED = 20
ALL = [address for name in BLOCKS for address in addresses(name)]
CORES = [core for name in BLOCKS for core in cores(name)]


def run(seed: str, seconds: float) -> list[str]:
    """Soak for so long; return what was wrong."""
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vipctl-tended-") as scratch, lab() as net:
        snapshot.settle(net.director)
        bare = Counter(everything(net))
        soak = Soak(net, Path(scratch), random.Random(seed))
        try:
            soak.begin()
            while time.monotonic() - began < seconds:
                soak.step()
            soak.end()
        except Exception as error:
            soak.complaints.append(f"{type(error).__name__}: {error}")
        finally:
            soak.close()
        left = Counter(everything(net)) - bare if not soak.complaints else Counter[str]()
        soak.complaints += [f"left behind: {line}" for line in left]
        print(f"{time.monotonic() - began:.0f} s: {soak.line()}", flush=True)
    if soak.complaints:
        print("the last:", *soak.last, "the daemon:", *soak.said, sep="\n  ")
        print("COMPLAINTS:", *soak.complaints, sep="\n  ", end=f"\nagain: VIPCTL_SEED={seed}\n")
    return soak.complaints


class Soak:
    """The director, its daemon and real servers, and the model of what is stored."""

    def __init__(self, net: Lab, scratch: Path, dice: random.Random) -> None:
        self.net, self.scratch, self.dice = net, scratch, dice
        self.vipctl, self.model = Vipctl(net.director, scratch / "state"), Model()
        self.reals = [Real(host, scratch) for host in net.reals]
        self.counter = BeforeIpvs(net.director)
        self.did, self.sent, self.steps = Counter[str](), 0, 0
        self.last, self.said = deque[str](maxlen=REMEMBERED), deque[str](maxlen=REMEMBERED)
        self.complaints: list[str] = []
        self.lossless = True
        self._daemon: Daemon | None = None
        self._running = ExitStack()
        self._acts: dict[str, Callable[[], str]] = {
            "command": self._command,
            "failure": self._fail,
            "damage": self._damage,
            "end of the daemon": self._end_daemon,
        }

    def begin(self) -> None:
        """The least state; real servers work, and the daemon runs."""
        keep(self.vipctl, WEB, {*cores("web")})
        self.vipctl("add-range", *cores("fwmark-17"), "--fwmark", "17")
        self.vipctl("add-range", *cores("fwmark-18"), "--fwmark", "18", *ROUTE)
        for real in self.reals:
            real.start()
        self._start_daemon()
        self._converge()

    def step(self) -> None:
        """A few things, then all is soon as the model has it."""
        self.steps, self.lossless = self.steps + 1, True
        self.counter.reset()
        kinds = self.dice.choices(list(ACTS), list(ACTS.values()), k=self.dice.randint(1, 3))
        with Stream(self.net.client, CORES) as stream:
            for kind in kinds:
                self.last.append(f"{self.steps}: {kind}: {self._acts[kind]()}")
                self.did[kind] += 1
                time.sleep(self.dice.choice((0, 0, self.dice.random())))
            if self.lossless:
                time.sleep(self.dice.random())
        self.sent += stream.sent.total()
        if self.lossless:
            self._assert_nothing_lost(stream)
        if not self._daemon:
            self._start_daemon()
        self._converge()

    def end(self) -> None:
        """Nothing is left of it."""
        for name in BLOCKS:
            self.vipctl("remove-service", name)
        file = Path(verdicts.path(self.vipctl.state_dir))
        wait_until(lambda: not file.exists(), "there are no verdicts", PATIENCE)
        assert self._daemon
        assert self._daemon.stop() == 0, "the daemon's exit status"

    def close(self) -> None:
        """Stop what runs."""
        self._stopped()
        for real in self.reals:
            real.kill()
        self.counter.close()
        Path(verdicts.path(self.vipctl.state_dir)).unlink(missing_ok=True)

    def line(self) -> str:
        """Return what it has come to."""
        did = ", ".join(f"{number:,} {kind}" for kind, number in self.did.most_common())
        return f"{self.steps:,} steps: {did}; {self.sent:,} datagrams"

    def _command(self) -> str:
        words, self.model = command(self.dice, self.model)
        self.vipctl(*words)
        return " ".join(words)

    def _fail(self) -> str:
        real = self.dice.choice(self.reals)
        act = self.dice.choice((real.start, real.start, real.hang, real.kill))
        act()
        return f"{real.host.name} {act.__name__}"

    def _damage(self) -> str:
        words = self.dice.choice(DAMAGES)
        self.lossless = False
        with suppress(CommandError):  # what it deletes may have been deleted
            self.net.director.run(["sh", "-c", words])
        if "ruleset" in words:
            self.counter = BeforeIpvs(self.net.director)
        return words

    def _end_daemon(self) -> str:
        number = self.dice.choice((signal.SIGKILL, signal.SIGTERM))
        if self._daemon:
            self._daemon.stop(number)
        self._stopped()
        return number.name

    def _start_daemon(self) -> None:
        daemon = watching(self.vipctl, self.scratch / "log", limit=PATIENCE)
        self._daemon = self._running.enter_context(daemon)

    def _stopped(self) -> None:
        if self._daemon:
            self.said.extend(self._daemon.said())
        self._daemon = None
        self._running.close()

    def _converge(self) -> None:
        self._assert_stored()
        wait_until(lambda: is_whole(self.vipctl), "the kernel is as stored", PATIENCE)
        got, wanted = accepted(self.net, self.counter, ALL), self.model.marks()
        assert got == wanted, f"accepted: {sorted(got.items() ^ wanted.items())}"
        found = [State.UP if real.works else State.DOWN for real in self.reals]
        working = dict(zip(REALS, found, strict=True))
        wait_until(lambda: states(self.vipctl) == working, f"checks find {working}", PATIENCE)
        self._assert_well()

    def _assert_stored(self) -> None:
        found: dict[str, set[str]] = {name: set() for name in BLOCKS}
        for row in self.vipctl("list-ranges")["ranges"]:
            found[row["service"]] |= set(map(str, ip_network(row["range"])))
        assert found == self.model.held, "what is stored"
        reals = parse_reals(self.vipctl("export")["services"]["web"]["reals"])
        assert {str(r.address): r.weight for r in reals} == self.model.weights, "stored weights"

    def _assert_nothing_lost(self, stream: Stream) -> None:
        settle(self.net.client, self.counter)
        marks, seen = self.model.marks(), self.counter.counts()
        lost = {vip: n - seen.get((marks[vip], vip), 0) for vip, n in stream.sent.items()}
        assert not any(lost.values()), f"lost: {lost}"

    def _assert_well(self) -> None:
        assert self._daemon
        said = self._daemon.said()
        assert self._daemon.process.poll() is None, f"the daemon has ended: {said}"
        assert not [line for line in said for bad in BAD if bad in line], said
