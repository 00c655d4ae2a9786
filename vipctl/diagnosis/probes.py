"""What comes back when the director itself asks the real servers: `--probe`.

Each is asked at its own address. With nat it is asked once more from the director's address on the
clients' side: its answer comes as those to clients should. With dr and tun it is asked at the VIP,
by an IPVS service with it alone, as health checks do; that is gone afterwards, and what a killed
command has left, the next one removes. Two echo requests tell whether there is room for a full
packet. Clients are asked nothing.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from vipctl.diagnosis import firewalls
from vipctl.diagnosis.case import Case
from vipctl.diagnosis.sending import MOST
from vipctl.diagnosis.steps import Found, Hint, State, Step, ill, unknown, well
from vipctl.errors import VipctlError
from vipctl.linux import answers, devices
from vipctl.linux.ipvs import paths
from vipctl.linux.routing import ways
from vipctl.probing import doubts, echoes, probe
from vipctl.services.checks import Answer, Check, Target
from vipctl.services.real import RealServer
from vipctl.services.values import Forward
from vipctl.state import runtime

PATIENCE = 1.0  # seconds, for all that is asked together
COMMAND = "explain --probe"
Marks = Mapping[paths.Path, int | VipctlError]


class Heard(NamedTuple):
    """What came of one real server: at its own address; at the VIP (dr, tun); from afar (nat).

    None is what it was not asked. `small` and `full` are echo requests.
    """

    real: RealServer
    direct: Answer | None
    through: Answer | None
    back: Answer | None
    small: bool | None
    full: bool | None


def asked(case: Case, steps: Iterable[Step]) -> Found:
    """With the steps of the way, of those of which nothing was known what is known now.

    Whom a step has named already is not asked. Raises VipctlError.
    """
    known = list(steps)
    ailing = {step.name for step in known if step.cause}
    reals = [real for real in case.chosen[:MOST] if _may_answer(case, real, ailing)]
    with _ways(case, reals) as marks:
        heard = asyncio.run(_ask(case, reals, marks))
    told = {one.real.endpoint: _told(case, one) for one in heard}
    return Found([*_left(case, known, heard, told), *told.values()], list(_hints(heard)))


def _may_answer(case: Case, real: RealServer, ailing: set[str]) -> bool:
    return not case.is_own(real.address) and f"real-server {real.endpoint}" not in ailing


@contextmanager
def _ways(case: Case, reals: Iterable[RealServer]) -> Iterator[Marks]:
    needed = [_path(case, real) for real in reals if real.forward != Forward.NAT]
    if not needed:
        yield {}
        return
    used = [service.fwmark for service in case.store.services().values()]
    with runtime.alone(COMMAND.replace(" --", "-")):
        try:
            yield paths.sync(needed, COMMAND, used)
        finally:
            paths.prune((), COMMAND)


def _path(case: Case, real: RealServer) -> paths.Path:
    return paths.path(case.service, real, case.version)


async def _ask(case: Case, reals: Iterable[RealServer], marks: Marks) -> list[Heard]:
    return await asyncio.gather(*(_ask_one(case, real, marks) for real in reals))


async def _ask_one(case: Case, real: RealServer, marks: Marks) -> Heard:
    """All at once."""
    device = ways.device_to(real.address)
    room = devices.mtu(ways.name_of(device)) if device else None
    direct, through, back, small, full = await asyncio.gather(
        _put(case, Target(real.address, _port(case, real))),
        _put(case, _through(case, real, marks.get(_path(case, real)))),
        _put(case, _from_afar(case, real)),
        echoes.answers(real.address, echoes.SMALL, PATIENCE),
        echoes.answers(real.address, room or echoes.SMALL, PATIENCE),
    )
    return Heard(real, direct, through, back, small, full)


async def _put(case: Case, target: Target | Answer | None) -> Answer | None:
    """By TCP; a datagram is answered by nobody knows whom, unless a check says what to send."""
    if not isinstance(target, Target):
        return target
    found = [Check("tcp")] if case.asked.port.protocol == "tcp" else _of_datagrams(case)
    return await probe(target, found[0]._replace(timeout=PATIENCE)) if found else None


def _of_datagrams(case: Case) -> list[Check]:
    return [c for c in case.service.checks if c.protocol == case.asked.port.protocol]


def _port(case: Case, real: RealServer) -> int:
    return real.port or case.asked.port.number


def _through(
    case: Case, real: RealServer, mark: int | VipctlError | None
) -> Target | Answer | None:
    if isinstance(mark, VipctlError):
        return Answer(None, f"IPVS has no way to it for questions: {mark.message}")
    return Target(case.asked.vip, case.asked.port.number, mark, real.address) if mark else None


def _from_afar(case: Case, real: RealServer) -> Target | None:
    """From an address that the real server has to send back by the director."""
    device = ways.device_to(real.address)
    if real.forward != Forward.NAT or case.service.source_nat or not (device and case.asked.device):
        return None
    try:
        near, far = (answers.own_toward(where) for where in (real.address, case.asked.client))
    except OSError:
        return None
    target = Target(real.address, _port(case, real), source=far, device=ways.name_of(device))
    return None if near == far else target


def _told(case: Case, one: Heard) -> Step:
    """What the real server answers decides; where the director may drop answers, nothing does."""
    name, first = f"probe {one.real.endpoint}", one.through or one.direct
    if first is None:
        return unknown(name, f"what {one.real.endpoint} answers datagrams with, a check would say")
    if first.passed is None:
        return unknown(name, first.why)
    failed = first if not first.passed else one.back
    if failed is None or failed.passed:
        return well(name, _works(case, one), _command(case, one.real))
    if doubt := failed.why if failed.passed is None else firewalls.deaf(case, one.real):
        return unknown(name, f"{failed.why}, but {doubt}" if failed.passed is False else doubt)
    return _fault(case, one, name)


def _works(case: Case, one: Heard) -> str:
    client = case.asked.client
    if one.through:
        return f"{one.real.address} answers for {case.asked.vip}; its way to {client} is its own"
    back = ", also to where clients are: by the director" if one.back else ""
    return f"{one.real.endpoint} answers{back}"


def _fault(case: Case, one: Heard, name: str) -> Step:
    real, evidence = one.real, _command(case, one.real)
    at_home = one.direct is not None and one.direct.passed
    if one.through and at_home and not doubts.refuses(one.through):
        says = f"{real.address} answers at its own address, and not for {case.asked.vip}"
        fix = f"on {real.address}: ip address add {case.asked.vip} dev lo, or its tunnel"
        return ill(name, "real-lacks-vip", says, fix, evidence)
    if at_home and not one.through:
        says = f"{real.address} answers the director's nearest address, and none that is beyond it"
        fix = f"on {real.address}: a route by {answers.own_toward(real.address)}"
        return ill(name, "no-way-back", says, fix, evidence)
    why = (one.through or one.direct or Answer(None, "")).why
    echo = "it answers echo requests" if one.small else "nor does it answer echo requests"
    fix = f"start what listens there, or vipctl drain-real {case.service.name} {real.endpoint}"
    return ill(name, "real-not-answering", f"{why}; {echo}", fix, evidence)


def _command(case: Case, real: RealServer) -> str:
    return f"nc -zvw1 {real.address} {_port(case, real)}"


def _left(
    case: Case, steps: Iterable[Step], heard: Iterable[Heard], told: Mapping[str, Step]
) -> list[Step]:
    """The steps whose ? nobody has answered."""
    sure = {f"real-server {name}" for name, one in told.items() if one.state is not State.UNKNOWN}
    if len(sure) == len(case.chosen) and all(one.through or one.back for one in heard):
        sure.add("answer")
    return [step for step in steps if step.state is not State.UNKNOWN or step.name not in sure]


def _hints(heard: Iterable[Heard]) -> Iterator[Hint]:
    for one in heard:
        if one.small and one.full is False:
            says = f"{one.real.address} answers echo requests, but none that fills a packet"
            yield Hint("path-mtu", says, "a smaller MTU on the way there, or one that is told of")
            return
