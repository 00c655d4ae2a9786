"""All services: what is to be asked, and the verdicts that follow from answers."""

from collections.abc import Iterable, Mapping

from vipctl.health import sharing
from vipctl.health.balancing import Balance, Part, Totals
from vipctl.health.hearing import Agents
from vipctl.health.judging import Errand, Judgement, Question, judge
from vipctl.health.standing import Standing, restored, stand
from vipctl.health.verdicts import WHOLE, Finding, OfService, State, Verdict, Verdicts
from vipctl.services.agents import Admin, Agent, Heard
from vipctl.services.checks import Answer
from vipctl.services.service import Service

Real = tuple[str, str]  # service, endpoint


class Health:
    """It begins with what another daemon has said last, and goes on from there."""

    def __init__(self, before: Verdicts) -> None:
        self._before: Verdicts | None = before
        self._services: dict[str, Service] = {}
        self._questions: dict[Real, list[Question]] = {}
        self._known: dict[Errand, Judgement] = {}
        self._standings: dict[Real, Standing] = {}
        self._agents, self.balance = Agents(), Balance()

    def learn(
        self, services: Iterable[Service], questions: Iterable[Question], now: float
    ) -> set[Errand]:
        """Returns what is to be asked from now on. Who comes later than the first is new."""
        checked = [service for service in services if service.watched]
        renamed = {service.fwmark: name for name, service in self._services.items()}
        self._services = {service.name: service for service in checked}
        self._questions = {(s.name, real.endpoint): [] for s in checked for real in s.reals}
        for question in questions:
            self._questions[question.service, question.real.endpoint].append(question)
        known, self._known = self._known, {}
        standings, self._standings = self._standings, {}
        for name, endpoint in self._questions:
            verdict = self._said_before((name, endpoint))
            self._remember(self._questions[name, endpoint], verdict, known)
            old = name, renamed.get(self._services[name].fwmark, name)
            found = [standings[one, endpoint] for one in old if (one, endpoint) in standings]
            begun = found[0] if found else self._begun(self._services[name], verdict, now)
            self._standings[name, endpoint] = begun
        agents = self._agents.learn(checked, self._said_before)
        self.balance.learn(checked, self._said_before)
        self._before = None
        return set(self._known) | agents

    def _remember(
        self,
        questions: Iterable[Question],
        verdict: Verdict | None,
        known: Mapping[Errand, Judgement],
    ) -> None:
        """Keeps what is known, or begins with what was said before, or with nothing."""
        for question in questions:
            if (errand := question.errand) and errand not in self._known:
                found = verdict.checks.get(question.text, Finding()) if verdict else Finding()
                self._known[errand] = known.get(errand, Judgement(found))

    def _begun(self, service: Service, verdict: Verdict | None, now: float) -> Standing:
        if verdict:
            return restored(verdict)
        must_pass = self._before is None and service.checks
        return Standing(State.NEW if must_pass else State.UNJUDGED, now)

    def _said_before(self, whose: Real) -> Verdict | None:
        name, endpoint = whose
        found = self._before and self._before.of(self._services[name])
        return found.reals.get(endpoint) if found else None

    def answered(self, errand: Errand, answer: Answer, now: float) -> bool:
        """Whether anything is other than before."""
        known = self._known.get(errand)
        if known is None or isinstance(errand.check, Agent):
            return False
        judged = judge(known, answer, errand.check, now)
        if judged is known:
            return False
        self._known[errand] = judged
        return judged.finding != known.finding

    def heard(self, errand: Errand, heard: Heard, now: float) -> bool:
        """The same of what an agent says."""
        return self._agents.heard(errand, heard, now)

    def step(self, totals: Totals, now: float) -> bool:
        """One step of feedback; whether any weight is another now."""
        return self.balance.step(self._standings, self._agents, totals, now)

    def verdicts(self, now: float) -> Verdicts:
        for whose, one in self._standings.items():
            self._standings[whose] = self._stood(whose, one)
        return Verdicts({name: self._of(one, now) for name, one in self._services.items()})

    def _stood(self, whose: Real, one: Standing) -> Standing:
        service, hearing = self._services[whose[0]], self._agents.of(whose)
        findings = self._findings(whose)
        if hearing and service.agent and not hearing.counts:
            del findings[service.agent.name]
        if not findings and not service.checks:  # who said something does not say it any more
            one = Standing(State.UNJUDGED, one.since)
        percent = hearing.told.part if hearing else WHOLE
        if part := self.balance.of(whose):  # a percentage is a load, then
            percent = part.percent if not hearing or hearing.told.admin is Admin.READY else 0
        return stand(one, findings)._replace(percent=percent)

    def next_change(self, now: float) -> float | None:
        """When verdicts change with time alone, if they do."""
        times = (
            sharing.next_change(service, self._standings_of(service), now)
            for service in self._services.values()
        )
        return min((time for time in times if time is not None), default=None)

    def _findings(self, whose: Real) -> dict[str, Finding]:
        found = {
            question.text: self._known[errand].finding
            if (errand := question.errand)
            else Finding(doubt=question.why)
            for question in self._questions[whose]
        }
        agent, hearing = self._services[whose[0]].agent, self._agents.of(whose)
        return found | ({agent.name: hearing.finding} if agent and hearing else {})

    def _standings_of(self, service: Service) -> dict[str, Standing]:
        endpoints = (real.endpoint for real in service.reals)
        return {endpoint: self._standings[service.name, endpoint] for endpoint in endpoints}

    def _of(self, service: Service, now: float) -> OfService:
        standings = self._standings_of(service)
        shares = sharing.share(service, standings, now)
        parts = {e: self.balance.of((service.name, e)) or Part() for e in standings}
        reals = {
            endpoint: Verdict(
                one.state,
                one.since,
                one.why,
                shares.shares[endpoint],
                endpoint not in shares.absent,
                self._findings((service.name, endpoint)),
                hearing.told if (hearing := self._agents.of((service.name, endpoint))) else None,
                round(parts[endpoint].damped.factor, 4),
                parts[endpoint].suspect.caught,
            )
            for endpoint, one in standings.items()
        }
        return OfService(service.fwmark, reals, shares.fallback, shares.troubles)
