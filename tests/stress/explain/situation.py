"""A random situation: a director, what is broken, and what a client asks; the same for a seed."""

import random
from ipaddress import ip_network
from typing import NamedTuple

from tests.netns.addresses import OTHER_RANGES, RANGES
from tests.netns.ailments import TPROXY
from tests.stress.explain.breakages import KINDS, METHODS, REMOTE, Breakage
from tests.stress.explain.clients import BESIDE, CLIENTS, ITSELF, Client

HOW_MANY = {0: 2, 1: 5, 2: 3, 3: 1}  # breakages, and how often
PORTS = ((), (), ("tcp/80",), ("tcp/80", "tcp/443"), ("tcp/70-90", "udp/53"))
ASKED = ("tcp/80", "tcp/80", "tcp/443", "udp/53")
SCHEDULERS = ("wlc", "rr", "wrr", "sh", "sh,fallback", "mh", "lblc")  # the first treat all alike
WHOLE = ("sh", "mh")  # vipctl refuses a weight of 0 with these
WEIGHTS = ((1, 1), (1, 1), (1, 1), (1, 1), (0, 1), (0, 0))
NEVER = ({4: "198.18.5.5", 6: "2001:db8:5::5"}, {4: "203.0.114.0", 6: "2001:db8:1:1::"})


class Situation(NamedTuple):
    """`other` is the method of another service, "" if there is none; `far` are real servers that
    the director needs a route of its own for. These alone know how they answer a client beside."""

    seed: int
    version: int
    method: str
    other: str
    ports: tuple[str, ...]
    forward: str
    scheduler: str
    weights: tuple[int, int]
    far: bool
    options: tuple[str, ...]
    vip: str
    port: str
    client: Client
    asking: int  # which of the client's addresses `explain` is told of
    probe: bool
    breakages: tuple[Breakage, ...]

    @property
    def proxied(self) -> bool:
        """Whether a proxy answers, and not IPVS."""
        return self.method == TPROXY

    def __str__(self) -> str:
        served = "a proxy" if self.proxied else f"{self.forward} {self.scheduler} {self.weights}"
        ports = ",".join(self.ports) or "all ports"
        more = " ".join([*self.options, *(["far"] if self.far else [])])
        beside = f", beside it {self.other}" if self.other else ""
        probed = ", with --probe" if self.probe else ""
        broken = "; ".join(one.name for one in self.breakages) or "nothing"
        return (
            f"seed {self.seed}: {self.method} {ports} {served} {more}{beside}: {self.client.name} "
            f"asks {self.vip} {self.port}{probed}; broken: {broken}"
        )


def drawn(seed: int, *, ipvs: bool) -> Situation:
    """The situation of a seed; without IPVS only of what can be seen without."""
    dice = random.Random(seed)
    version = dice.choice((4, 6))
    method = dice.choice([m for m in METHODS if ipvs or m != "shim"])
    forward = dice.choice(("nat", "nat", "dr", "tun") if version == 4 else ("nat", "nat", "dr"))
    clients = [c for c in CLIENTS if ipvs or method == TPROXY or c is not ITSELF]
    client = dice.choice(clients)
    port = dice.choice(ASKED[:3] if method == TPROXY else ASKED)
    probe = ipvs and port.startswith("tcp") and method != TPROXY and dice.random() < 0.5
    scheduler = dice.choice(SCHEDULERS[:3] if client is ITSELF else SCHEDULERS)
    remote = (dice.choice(REMOTE[forward]),) if probe and dice.random() < 0.4 else ()
    return Situation(
        seed=seed,
        version=version,
        method=method,
        other=dice.choice(("", *(m for m in METHODS if ipvs or m != "shim"))),
        ports=dice.choice(PORTS),
        forward=forward,
        scheduler=scheduler,
        weights=dice.choice(WEIGHTS[:1] if scheduler in WHOLE else WEIGHTS),
        far=forward != "dr" and client is not BESIDE and dice.random() < 0.2,
        options=_options(dice, method, forward, ipvs=ipvs),
        vip=_vip(dice, version),
        port=port,
        client=client,
        asking=dice.randrange(len(client.sources[version])),
        probe=probe,
        breakages=(*_breakages(dice, method, version, ipvs=ipvs), *remote),
    )


def _breakages(
    dice: random.Random, method: str, version: int, *, ipvs: bool
) -> tuple[Breakage, ...]:
    (number,) = dice.choices(list(HOW_MANY), list(HOW_MANY.values()))
    kinds = [
        [o for o in kind if method in o.methods and version in o.versions and (ipvs or not o.ipvs)]
        for kind in KINDS
    ]
    found = [dice.choice(dice.choice([kind for kind in kinds if kind])) for _ in range(number)]
    return tuple(sorted(dict.fromkeys(found), key=lambda one: not one.command))


def _options(dice: random.Random, method: str, forward: str, *, ipvs: bool) -> tuple[str, ...]:
    found = ["--set-sysctls"] if dice.random() < 0.5 else []
    found += ["--leftover=drop"] if dice.random() < 0.2 else []
    if forward == "nat" and dice.random() < 0.3 and ipvs:  # it needs connections to be tracked
        found = sorted({*found, "--set-sysctls", "--source-nat=auto"})
    return tuple(found) if method != TPROXY else ()


def _vip(dice: random.Random, version: int) -> str:
    """Inside the range four times out of five, else beside it, or anywhere."""
    at = (4, 6).index(version)
    inside, other = ip_network(RANGES[at]), ip_network(OTHER_RANGES[at])
    last = inside.num_addresses - 1
    number = dice.choice((0, 1, 77, last, dice.randrange(last)))
    if dice.random() < 0.8:
        return str(inside[number])
    return dice.choice((*(never[version] for never in NEVER), str(other[7])))
