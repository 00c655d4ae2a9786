"""Clients that ask at random, and know from the history what they must be told."""

import random
import socket
from collections.abc import Callable
from functools import partial

from tests.harness.lab import family
from tests.harness.netns import Namespace
from tests.harness.traffic import Outcome, Reply, tcp_get, udp_ask
from tests.stress.shim.history import History
from tests.stress.shim.tally import Tally
from tests.stress.shim.universe import PING, SLOTS, Ask, Slot

PATIENCE = 60.0  # seconds for an answer that must come
SHORT = 0.5  # until silence is taken for silence
ASKS = [Ask(protocol, port) for protocol in ("tcp", "udp") for port in (80, 81)]
ECHO = {4: b"\x08\0\0\0\0\0\0\0", 6: b"\x80\0\0\0\0\0\0\0"}
REALS = ("real1", "real2", "ping")


def client(host: Namespace, history: History, tally: Tally, seed: str) -> None:
    """Ask until told to stop; complain of answers that the history does not explain."""
    dice = random.Random(seed)
    while not tally.stopping.is_set():
        slot = Slot(dice.choice((4, 6)), dice.randrange(SLOTS))
        if dice.random() < 0.5:
            slot = dice.choice([*history.state.held, slot])
        ask = PING if dice.random() < 0.1 else dice.choice(ASKS)
        _try(host, history, tally, slot, ask, slot.address(dice.randrange(64)))


def _try(
    host: Namespace, history: History, tally: Tally, slot: Slot, ask: Ask, address: str
) -> None:
    then = history.now()
    hoped = any(state.answers(slot, ask) for state in history.since(then))
    reply = _send(host, address, ask, PATIENCE if hoped else SHORT)
    expected = {state.answers(slot, ask) for state in history.since(then)}
    if reply.answered and reply.server not in REALS:
        tally.complain(f"{ask} to {address} was answered by {reply.server}")
    if len(expected) != 1:
        tally.count("requests while it changed")
    elif expected != {reply.answered}:
        holder = history.state.held.get(slot)
        words = f"{ask} to {address}: {reply}, expected an answer: {expected}"
        tally.complain(f"{words}; state {then}, slot {slot} of {holder}")
    else:
        tally.count("requests answered" if reply.answered else "requests refused")


def _send(host: Namespace, address: str, ask: Ask, patience: float) -> Reply:
    ways: dict[str, Callable[[], Reply]] = {
        "tcp": partial(tcp_get, host, address, ask.port, timeout=patience),
        "udp": partial(udp_ask, host, address, ask.port, timeout=patience),
        "icmp": partial(_ping, host, address, patience),
    }
    return ways[ask.protocol]()


def _ping(host: Namespace, address: str, patience: float) -> Reply:
    version = 6 if family(address) == socket.AF_INET6 else 4
    kind = socket.IPPROTO_ICMPV6 if version == 6 else socket.IPPROTO_ICMP
    with host:
        pinging = socket.socket(family(address), socket.SOCK_DGRAM, kind)
    with pinging:
        pinging.settimeout(patience)
        try:
            pinging.connect((address, 0))
            pinging.send(ECHO[version])
            pinging.recv(1500)
        except TimeoutError:
            return Reply(Outcome.TIMEOUT)
        except OSError:
            return Reply(Outcome.UNREACHABLE)
    return Reply(Outcome.ANSWERED, "ping")
