"""Asks real servers whether they work: one question, one answer, always within its timeout.

How each kind of check asks belongs here; who is asked when, and what follows from answers, does
not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cache
from importlib import import_module

from vipctl.health.judging import Errand
from vipctl.probing import agents, doubts, tcp
from vipctl.probing.asking import Asking, Failed, Unasked
from vipctl.probing.limits import Late, limit, never
from vipctl.services.agents import Agent, Heard, parse_words
from vipctl.services.checks import Answer, Check, Target, span

__all__ = ["TOGETHER", "Answer", "Target", "consult", "probe", "probe_all"]

ROOMS = {
    "tcp": "tcp", "http": "web", "https": "web", "udp": "datagrams", "dns": "names",
    "exec": "programs",
}  # fmt: skip
TOGETHER = "tcp"  # the kind of check that many targets can be asked at once


async def probe(target: Target, check: Check, late: Late = never) -> Answer:
    """Asks once, in the network namespace of the calling thread. Raises CancelledError alone."""
    asking = Asking(target, check)
    try:
        async with limit(check.timeout, late):
            return Answer(True, await _ask_by(check.kind)(asking))
    except Exception as e:
        return _failed(asking, e)


async def probe_all(errands: Sequence[Errand], tell: Callable[[Errand, Answer], None]) -> None:
    """The same of many, all of the kind TOGETHER and of one timeout; tells each as it comes."""
    asked = {
        Asking(errand.target, errand.check): errand
        for errand in errands
        if isinstance(errand.check, Check)
    }

    def answered(asking: Asking, error: Exception | None) -> None:
        answer = Answer(True, tcp.PASSES) if error is None else _failed(asking, error)
        tell(asked.pop(asking), answer)

    try:
        await tcp.ask_all(list(asked), errands[0].check.timeout, answered)
    except Exception as e:  # it could not even begin
        for asking in list(asked):
            answered(asking, e)


async def consult(target: Target, agent: Agent) -> Heard:
    """Asks an agent once. Raises CancelledError alone."""
    asking = Asking(target, Check("tcp", every=agent.every, timeout=agent.timeout))
    try:
        async with asyncio.timeout(agent.timeout):
            return Heard(parse_words(await agents.line(asking, agent.send.encode())))
    except Exception as e:
        return Heard(None, _failed(asking, e).why)


def _failed(asking: Asking, error: Exception) -> Answer:
    """What follows from it: often that the target fails, at times that nobody knows."""
    match error:
        case TimeoutError():
            why = f"{asking.stage} within {span(asking.check.timeout)}"
        case Failed():
            why = str(error)
        case Unasked():
            return Answer(None, str(error))
        case OSError() if doubts.is_ours(asking.target, error):
            said = error.strerror or error
            return Answer(None, f"{asking.endpoint} was not asked: {said}")
        case OSError():
            why = doubts.words(asking, error)
        case _:
            return Answer(None, f"asking {asking.endpoint} failed by itself: {error!r}")
    doubt = doubts.of_way(asking.target)
    return Answer(None, f"{why}, but {doubt}") if doubt else Answer(False, why)


@cache
def _ask_by(kind: str) -> Callable[[Asking], Awaitable[str]]:
    """The function of that kind: returns why the target passes, or raises why it does not."""
    found: Callable[[Asking], Awaitable[str]] = import_module(f"{__name__}.{ROOMS[kind]}").ask
    return found
