"""Whether IPVS, or the local proxy, takes the packet, and has a real server to choose."""

from collections.abc import Iterable, Iterator

from vipctl.diagnosis.case import Case
from vipctl.diagnosis.causes import RESTORE
from vipctl.diagnosis.steps import Hint, Step, ill, unknown, well
from vipctl.linux import ipvs, listeners, timeouts
from vipctl.linux.ipvs import wording
from vipctl.linux.ipvs.messages import Key, Virtual
from vipctl.operate.unbalanced import OF_OTHERS
from vipctl.services.values import SCHEDULER_FLAGS, Scheduler

NAME, REALS, PROXY = "ipvs", "real-servers", "proxy"


def steps(case: Case) -> Iterator[Step]:
    if case.service.proxied:
        yield _proxy(case)
    elif case.service.balanced and case.version not in case.service.versions():
        yield _no_real(case)
    else:
        yield _service(case)
        yield from _reals(case)


def _proxy(case: Case) -> Step:
    port, protocol = int(case.service.value("to_port")), case.asked.port.protocol
    evidence = f"ss -{'t' if protocol == 'tcp' else 'u'}ln sport = :{port}"
    if listeners.on_port(case.version, port, protocol):
        says = f"something listens on {protocol}/{port}; whether transparently, cannot be told"
        return unknown(PROXY, says, evidence)
    if case.version == 4 and listeners.on_port(6, port, protocol):
        says = f"an IPv6 socket listens on {protocol}/{port}; whether for IPv4 too, cannot be told"
        return unknown(PROXY, says, evidence)
    says = f"no proxy listens on {protocol}/{port} (IPv{case.version})"
    return ill(PROXY, "proxy-not-listening", says, "start the proxy", evidence)


def _no_real(case: Case) -> Step:
    name = case.service.name
    says = f"service {name!r} has no real server for IPv{case.version}"
    return ill(REALS, "no-real-server", says, f"vipctl add-real {name} RIP", "vipctl status")


def _command(case: Case) -> str:
    six = " -6" if case.version == 6 else ""
    return f"ipvsadm -Ln -f {case.service.fwmark}{six}"


def _service(case: Case) -> Step:
    mark, own = f"{case.service.fwmark:#x}", case.service.balanced
    if not case.ipvs:
        lacks = timeouts.absent()
        return ill(NAME, "no-ipvs", lacks.message, lacks.hint or "", "cat /proc/net/ip_vs")
    if case.seen:
        says = f"IPVS has a service of fwmark {mark} ({case.seen.scheduler})"
        return well(NAME, says, _command(case))
    key, wanted = Key(case.service.fwmark, case.version), _wanted(case)
    if wanted and (missing := ipvs.foreseen({key: wanted}).get(key)):
        fix = f"{missing.hint}, then {RESTORE}"
        return ill(NAME, "scheduler-missing", missing.message, fix, _command(case))
    says = f"IPVS has no IPv{case.version} service of fwmark {mark}"
    fix = RESTORE if own else OF_OTHERS
    return ill(NAME, "ipvs-service-missing", says, fix, _command(case))


def _wanted(case: Case) -> Virtual | None:
    found = ipvs.desired([case.service], case.store.verdicts())
    return found.get(Key(case.service.fwmark, case.version))


def _reals(case: Case) -> Iterator[Step]:
    """Of those in IPVS; of the stored ones where it has none."""
    if case.seen is None and not case.service.balanced:
        return
    if absent := {real.endpoint for real in case.stored} - {real.endpoint for real in case.reals}:
        yield _absent(case, absent)
    if not case.reals and not case.service.balanced:
        yield ill(REALS, "no-real-server", "IPVS has none for it", OF_OTHERS, _command(case))
    elif not case.chosen:
        yield from [] if absent else [_none_chosen(case)]
    elif idle := [real.endpoint for real in case.reals if not real.weight]:
        yield _some_idle(case, idle)
    else:
        says = f"may be chosen: {' '.join(real.endpoint for real in case.chosen)}"
        yield well(REALS, says, _command(case))


def _absent(case: Case, absent: Iterable[str]) -> Step:
    """No cause where others are chosen in their place."""
    says = f"not in IPVS: {' '.join(sorted(absent))}"
    if case.chosen:
        return unknown(REALS, f"{says}; others serve", _command(case))._replace(fix=RESTORE)
    return ill(REALS, "ipvs-real-missing", says, RESTORE, _command(case))


def _none_chosen(case: Case) -> Step:
    service, says = case.service, "all real servers have weight 0"
    if not service.balanced:
        return ill(REALS, "all-drained", says, OF_OTHERS, _command(case))
    if any(real.weight for real in case.stored):
        says += " in IPVS, which is not stored"
        return ill(REALS, "weights-altered", says, RESTORE, _command(case))
    if any(real.weight for real in service.reals if case.version in real.versions):
        says += ": health checks or agents leave them none"
        fix = f"vipctl list-checks --service {service.name} says why"
        return ill(REALS, "all-failed", says, fix, f"vipctl status {service.name}")
    fix = f"vipctl undrain-real {service.name} {case.reals[0].endpoint}"
    return ill(REALS, "all-drained", says, fix, _command(case))


def _some_idle(case: Case, idle: list[str]) -> Step:
    scheduler = _scheduler(case)
    names = " ".join(idle)
    if scheduler.drains():
        says = f"may be chosen: {' '.join(real.endpoint for real in case.chosen)}; not {names}"
        return well(REALS, says, _command(case))
    other = f"{scheduler.name},fallback" if scheduler.name in SCHEDULER_FLAGS else "sh,fallback"
    fix = f"vipctl set-service {case.service.name} --scheduler {other}"
    says = f"scheduler {scheduler} refuses the clients of {names}, which has weight 0"
    return ill(
        REALS,
        "scheduler-without-fallback",
        says,
        fix if case.service.balanced else OF_OTHERS,
        _command(case),
    )


def _scheduler(case: Case) -> Scheduler:
    """As IPVS has it; as it is stored where IPVS has none."""
    if case.seen is None:
        return case.service.scheduler
    name, bits = case.seen.scheduler, case.seen.flags
    known = SCHEDULER_FLAGS.get(name, {})
    return Scheduler(name, tuple(flag for flag, bit in known.items() if bits & bit))


def hints(case: Case) -> Iterator[Hint]:
    """What IPVS has otherwise than it is stored."""
    if case.seen and case.service.balanced:
        key = Key(case.service.fwmark, case.version)
        for text in wording.unlike(key, _wanted(case), case.seen):
            yield Hint("not-as-stored", text, RESTORE)
