"""What health checks say of real servers, as `status` and `list-checks` show it."""

import time

from vipctl.errors import Refused
from vipctl.files import Where
from vipctl.health.saying import FAST
from vipctl.health.verdicts import Finding, State, Told, Verdict, Verdicts, effective
from vipctl.operate import asked
from vipctl.operate.outcome import Report
from vipctl.services.naming import naturally
from vipctl.services.service import Service
from vipctl.state.store import Store

PASSED = {True: "passes", False: "fails", None: "unknown"}
UNASKED = Finding(doubt="nobody has asked yet (vipctl watch does)")


def checks(state_dir: Where, name: str | None) -> Report:
    """Of one service, or of all: what each check has found of each real server."""
    with Store.read(state_dir) as store:
        services = store.services()
        names = sorted(services, key=naturally) if name is None else [name]
        chosen = [asked.known(services, name) for name in names]
        if name is not None and not services[name].watched:
            raise Refused(f"service {name!r} has no checks", hint="vipctl set-service --check …")
        said = store.verdicts()
    return {"checks": [row for service in chosen for row in _rows(service, said)]}


def _rows(service: Service, said: Verdicts) -> list[Report]:
    found = known(service, said)
    return [
        {"service": service.name, "real": endpoint, "check": text}
        | _finding(finding, _said(service, verdict, text))
        for endpoint, verdict in found.items()
        for text, finding in _findings(service, verdict).items()
    ]


def _findings(service: Service, verdict: Verdict) -> dict[str, Finding]:
    """Of the checks that it has now, whatever was asked before."""
    agent = [service.agent.name] if service.agent else []
    return dict(verdict.checks) or dict.fromkeys([*map(str, service.checks), *agent], UNASKED)


def _finding(finding: Finding, said: str) -> Report:
    return {
        "state": said or PASSED[finding.passed],
        "since": _date(finding.since) if finding.passed is not None else None,
        "why": finding.why,
        "doubt": finding.doubt,
    }


def of_service(service: Service, said: Verdicts) -> dict[str, Report]:
    """By endpoint: how it stands, why, since when, and the weight that it was given and has."""
    if not service.watched:
        return {}
    left = {real.endpoint: real.weight for real in effective(service, said).reals}
    configured = {real.endpoint: real.weight for real in service.reals}
    return {
        endpoint: {
            "state": str(verdict.state),
            "since": _date(verdict.since) if verdict.since else None,
            "why": verdict.why or (FAST if verdict.caught else _words(verdict.told)),
            "configured": configured[endpoint],
            "effective": left.get(endpoint),
            "agent": _agent(verdict.told),
            "feedback": _feedback(service, verdict),
        }
        for endpoint, verdict in known(service, said).items()
    }


def _said(service: Service, verdict: Verdict, check: str) -> str:
    """What an agent has said, in its words; "" of checks, and of one that said nothing yet."""
    told = verdict.told
    if not (service.agent and told and told.since and check == service.agent.name):
        return ""
    return told.word


def _words(told: Told | None) -> str:
    """What is to be said of it where nothing fails."""
    if told is None or told.word == Told().word:
        return ""
    return f"its agent says {told.word}{f': {told.why}' if told.why else ''}"


def _agent(told: Told | None) -> Report | None:
    if told is None:
        return None
    return told._asdict() | {"since": _date(told.since) if told.since else None}


def _feedback(service: Service, verdict: Verdict) -> Report | None:
    found = {"factor": verdict.factor, "fails_fast": verdict.caught}
    return found if service.feeds_back else None


def troubles(service: Service, said: Verdicts) -> list[str]:
    found = said.of(service)
    return [f"{service.name}: {words}" for words in found.troubles] if found else []


def known(service: Service, said: Verdicts) -> dict[str, Verdict]:
    """By endpoint; of a service that nobody checks, none."""
    found = said.of(service)
    unjudged = Verdict(State.UNJUDGED)
    endpoints = [real.endpoint for real in service.reals] if service.watched else []
    return {e: found.reals.get(e, unjudged) if found else unjudged for e in endpoints}


def _date(since: float) -> str:
    """The moment of the monotonic clock, as the clock on the wall has it now."""
    moment = time.localtime(time.time() - time.monotonic() + since)
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", moment)
