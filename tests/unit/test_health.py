"""What follows from answers: who is up, who is down, and which weights are left."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vipctl.health.judging import Errand, Judgement, Question, judge
from vipctl.health.machine import Health
from vipctl.health.schedule import JITTER, Schedule
from vipctl.health.verdicts import NONE, State, Verdicts, effective, from_plain, plain
from vipctl.services import reals as servers
from vipctl.services.checks import Answer, Check, Target, parse_check
from vipctl.services.real import RealServer, parse_reals
from vipctl.services.service import Service
from vipctl.services.values import AllDown, Scheduler

TCP = parse_check("tcp:80,every=2s,timeout=1s,fall=3,rise=2")
HTTP = parse_check("http:/,port=80,every=1s,timeout=1s,fall=1,rise=1")
ONE, TWO, THREE = "10.0.1.1", "10.0.1.2", "10.0.1.3"
WEB = Service("web", 0x1000, checks=(TCP,), reals=parse_reals([f"{ONE},weight=3", TWO, THREE]))
SORRY = RealServer(ip_address("10.0.1.99"))
NO, YES, UNKNOWN = (Answer(False, "no answer"), Answer(True, "answers"), Answer(None, "busy"))


def questions(services: Sequence[Service]) -> Iterator[Question]:
    for service in services:
        for real in service.reals:
            for check in service.checks:
                target = Target(real.address, check.port)
                yield Question(service.name, real, check, target)


class Watched:
    """Services that are watched, and a clock."""

    def __init__(self, *services: Service, before: Verdicts = NONE) -> None:
        self.now, self.health = 1000.0, Health(before)
        self.change(*services)

    def change(self, *services: Service) -> None:
        self.services = services
        self.health.learn(services, questions(services), self.now)

    def answer(self, endpoint: str, *answers: Answer, check: Check = TCP) -> None:
        for answer in answers:
            self.health.answered(
                Errand(Target(ip_address(endpoint), check.port), check), answer, self.now
            )

    @property
    def verdicts(self) -> Verdicts:
        return self.health.verdicts(self.now)

    def weights(self, service: int = 0) -> dict[str, int]:
        left = effective(self.services[service], self.verdicts)
        return {real.endpoint: real.weight for real in left.reals}

    def states(self) -> dict[str, State]:
        found = self.verdicts.services[self.services[0].name].reals
        return {endpoint: verdict.state for endpoint, verdict in found.items()}

    def troubles(self) -> tuple[str, ...]:
        return self.verdicts.services[self.services[0].name].troubles


# one check


def naive(answers: Sequence[bool | None], check: Check) -> bool | None:
    """By looking back from each answer at those that count."""
    known, counted = None, list[bool]()
    for answer in answers:
        if answer is None:
            continue
        counted.append(answer)
        enough = 1 if answer and known is None else check.rise if answer else check.fall
        if counted[-enough:] == [answer] * enough and known is not answer:
            known, counted = answer, []
    return known


@given(
    st.lists(st.sampled_from([True, False, None]), max_size=30),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_enough_in_a_row_change_what_is_known(
    answers: list[bool | None], fall: int, rise: int
) -> None:
    check, known = TCP._replace(fall=fall, rise=rise), Judgement()
    for now, answer in enumerate(answers):
        before = known.finding
        known = judge(known, Answer(answer, "said"), check, now)
        assert (known.finding.since == now) == (known.finding.passed is not before.passed) or not (
            known.finding.since
        )
    assert known.finding.passed == naive(answers, check)


@given(
    st.lists(st.sampled_from([True, False, None]), max_size=60),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_each_change_of_one_that_flaps_has_answers_of_its_own(
    answers: list[bool | None], fall: int, rise: int
) -> None:
    """So the weight of a server cannot change more often, whatever it answers."""
    check, known, changes = TCP._replace(fall=fall, rise=rise), Judgement(), Counter[bool | None]()
    for now, answer in enumerate(answers):
        before, known = known, judge(known, Answer(answer, "said"), check, now)
        changes[known.finding.passed] += known.finding.passed is not before.finding.passed
    first = changes[True] > 0  # which takes one
    assert changes[False] * fall + (changes[True] - first) * rise + first <= len(answers)


def test_what_is_not_known_is_told_and_changes_nothing() -> None:
    known = judge(Judgement(), YES, TCP, 1)
    for now in range(2, 9):
        known = judge(known, UNKNOWN, TCP, now)
        assert known.finding.passed
        assert known.finding.doubt == ("busy" if now >= 4 else "")
    assert judge(known, NO, TCP, 9).finding.doubt == ""


# one service


def test_a_failed_one_gets_nobody_until_it_comes_back() -> None:
    watched = Watched(WEB)
    assert watched.weights() == {ONE: 3, TWO: 1, THREE: 1}
    watched.answer(ONE, NO, NO, YES, NO, NO)
    assert watched.weights()[ONE] == 3
    watched.answer(ONE, NO)
    assert watched.weights() == {ONE: 0, TWO: 1, THREE: 1}
    watched.answer(ONE, YES, NO, YES)
    assert watched.weights()[ONE] == 0
    watched.answer(ONE, YES)
    assert watched.weights() == {ONE: 3, TWO: 1, THREE: 1}


def test_why_and_since_when() -> None:
    watched = Watched(WEB._replace(checks=(TCP, HTTP)))
    watched.now = 1010
    watched.answer(ONE, NO, check=HTTP)
    watched.now = 1020
    watched.answer(ONE, NO, NO, NO)
    verdict = watched.verdicts.services["web"].reals[ONE]
    assert (verdict.state, verdict.since) == (State.DOWN, 1010)
    assert verdict.why == f"{TCP}: no answer; {HTTP}: no answer"
    watched.now = 1030
    watched.answer(ONE, YES, check=HTTP)
    assert watched.states()[ONE] is State.DOWN, "all checks must pass"
    watched.answer(ONE, YES, YES)
    assert watched.verdicts.services["web"].reals[ONE].since == 1030


def test_who_comes_later_must_pass_once() -> None:
    watched = Watched(WEB._replace(reals=WEB.reals[:1]))
    watched.change(WEB)
    assert watched.weights() == {ONE: 3, TWO: 0, THREE: 0}
    watched.answer(TWO, YES)
    watched.answer(THREE, NO, NO, NO)
    assert watched.weights() == {ONE: 3, TWO: 1, THREE: 0}
    assert watched.states()[THREE] is State.NEW
    watched.answer(THREE, YES, YES)
    assert watched.states()[THREE] is State.UP


def test_a_new_service_begins_with_what_other_services_know() -> None:
    watched = Watched(WEB)
    for endpoint in (ONE, TWO):
        watched.answer(endpoint, YES)
    watched.change(WEB, WEB._replace(name="shop", fwmark=2))
    assert watched.weights(1) == {ONE: 3, TWO: 1, THREE: 0}


def test_a_new_service_of_which_nothing_is_known_serves() -> None:
    watched = Watched()
    watched.change(WEB._replace(all_down=AllDown.REFUSE))
    assert watched.weights() == {ONE: 3, TWO: 1, THREE: 1}
    watched.answer(ONE, NO, NO, NO)
    assert watched.weights() == {ONE: 0, TWO: 0, THREE: 0}
    watched.answer(TWO, YES)
    assert watched.weights() == {ONE: 0, TWO: 1, THREE: 0}


def test_without_a_way_to_ask_nothing_is_judged() -> None:
    watched = Watched()
    watched.services = (WEB,)
    watched.health.learn([WEB], [], watched.now)
    assert watched.states()[ONE] is State.NEW
    asked = [Question("web", WEB.reals[0], TCP, None, "IPVS has no way to it")]
    watched.health.learn([WEB], asked, watched.now)
    (finding,) = watched.verdicts.services["web"].reals[ONE].checks.values()
    assert (finding.passed, finding.doubt) == (None, "IPVS has no way to it")


def test_two_stages() -> None:
    watched = Watched(WEB._replace(dead_after=30))
    watched.answer(ONE, NO, NO, NO)
    assert watched.weights()[ONE] == 0
    assert watched.health.next_change(watched.now) == 1030
    watched.now = 1029.9
    assert watched.weights()[ONE] == 0
    watched.now = 1030
    assert ONE not in watched.weights()
    watched.answer(ONE, YES, YES)
    assert watched.weights()[ONE] == 3


@pytest.mark.parametrize("scheduler", ["sh", "mh", "dh", "sh,port"])
def test_where_weight_0_would_lose_clients_it_is_removed_at_once(scheduler: str) -> None:
    name, *flags = scheduler.split(",")
    watched = Watched(WEB._replace(scheduler=Scheduler(name, tuple(flags))))
    watched.answer(ONE, NO, NO, NO)
    assert watched.weights() == {TWO: 1, THREE: 1}
    falling_back = WEB._replace(scheduler=Scheduler("sh", ("fallback",)))
    watched.change(falling_back)
    assert watched.weights() == {ONE: 0, TWO: 1, THREE: 1}


def fail_all(watched: Watched) -> None:
    """ONE long before the others, which fail together."""
    watched.answer(ONE, NO, NO, NO)
    watched.now += 100
    watched.answer(TWO, NO, NO, NO)
    assert watched.troubles() == ()
    watched.now += TCP.every
    watched.answer(THREE, NO, NO, NO)


def test_all_down_keeps_the_last_that_worked() -> None:
    watched = Watched(WEB._replace(dead_after=5))
    fail_all(watched)
    assert watched.weights() == {TWO: 1, THREE: 1}
    watched.now += 1000
    assert watched.weights() == {TWO: 1, THREE: 1}
    assert watched.troubles() == (f"no real server of IPv4 works: clients still get {TWO} {THREE}",)
    watched.answer(ONE, YES, YES)
    assert watched.weights() == {ONE: 3}
    assert watched.troubles() == ()


def test_all_down_and_a_fallback() -> None:
    watched = Watched(WEB._replace(fallback=SORRY))
    assert watched.weights()["10.0.1.99"] == 0
    fail_all(watched)
    assert watched.weights() == {ONE: 0, TWO: 0, THREE: 0, "10.0.1.99": 1}
    assert watched.troubles() == ("no real server of IPv4 works: clients get 10.0.1.99",)
    watched.answer(TWO, YES, YES)
    assert watched.weights() == {ONE: 0, TWO: 1, THREE: 0, "10.0.1.99": 0}


def test_all_down_and_refused() -> None:
    watched = Watched(WEB._replace(all_down=AllDown.REFUSE))
    fail_all(watched)
    assert watched.weights() == {ONE: 0, TWO: 0, THREE: 0}
    assert watched.troubles() == ("no real server of IPv4 works: clients are refused",)


def test_each_ip_version_by_itself() -> None:
    """A fallback of the other version is none."""
    reals = parse_reals([ONE, "fd00:1::1"])
    watched = Watched(WEB._replace(reals=reals, fallback=RealServer(ip_address("fd00:1::99"))))
    watched.answer(ONE, NO, NO, NO)
    assert watched.weights() == {ONE: 1, "fd00:1::1": 1, "fd00:1::99": 0}
    assert watched.troubles() == (f"no real server of IPv4 works: clients still get {ONE}",)
    watched.answer("fd00:1::1", NO, NO, NO)
    assert watched.weights() == {ONE: 1, "fd00:1::1": 0, "fd00:1::99": 1}


def test_drained_ones_do_not_count() -> None:
    drained = servers.drain(WEB, ip_address(ONE), None)
    watched = Watched(drained._replace(fallback=SORRY))
    watched.answer(ONE, YES)
    watched.answer(TWO, NO, NO, NO)
    watched.answer(THREE, NO, NO, NO)
    assert watched.weights() == {ONE: 0, TWO: 0, THREE: 0, "10.0.1.99": 1}


def test_slow_start_is_for_those_that_come_back() -> None:
    watched = Watched(WEB._replace(slow_start=20))
    watched.answer(TWO, YES)
    assert watched.weights() == {ONE: 3, TWO: 1, THREE: 1}
    watched.answer(ONE, NO, NO, NO, YES, YES)
    assert watched.weights() == {ONE: 3, TWO: 1, THREE: 1}, "nobody had seen it down"
    watched.answer(ONE, NO, NO, NO)
    assert watched.weights() == {ONE: 0, TWO: 1, THREE: 1}
    watched.answer(ONE, YES, YES)
    assert watched.weights()[ONE] == 15
    seen = list[dict[str, int]]()
    while (then := watched.health.next_change(watched.now)) is not None:
        seen.append(watched.weights())
        watched.now = then
    assert seen[0] == {ONE: 15, TWO: 100, THREE: 100}
    assert [one[ONE] for one in seen] == [15 * n for n in range(1, 20)]
    watched.now = 1020.0
    assert watched.weights() == {ONE: 3, TWO: 1, THREE: 1}


def test_slow_start_goes_on_after_a_new_start_of_the_daemon() -> None:
    service = WEB._replace(slow_start=20)
    watched = Watched(service)
    watched.answer(ONE, NO, NO, NO)
    assert watched.weights()[ONE] == 0
    watched.answer(ONE, YES, YES)
    watched.now += 10
    again = Watched(service, before=watched.verdicts)
    again.now = watched.now
    assert again.weights() == watched.weights() == {ONE: 165, TWO: 100, THREE: 100}


# all of it, in any order


class Interleaved(RuleBasedStateMachine):
    """Answers, commands, restores and new starts of the daemon, against what they must leave."""

    endpoints = st.sampled_from([ONE, TWO, THREE])

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[bool | None]] = {e: [] for e in (ONE, TWO, THREE)}

    @initialize(dead_after=st.sampled_from([0, 10]), name=st.sampled_from(["wlc", "rr", "sh"]))
    def begin(self, dead_after: int, name: str) -> None:
        self.watched = Watched(WEB._replace(dead_after=dead_after, scheduler=Scheduler(name)))

    @property
    def service(self) -> Service:
        return self.watched.services[0]

    @rule(endpoint=endpoints, passed=st.sampled_from([True, False, False, None]))
    def answer(self, endpoint: str, passed: bool | None) -> None:
        if endpoint in {real.endpoint for real in self.service.reals}:
            self.history[endpoint].append(passed)
            self.watched.answer(endpoint, Answer(passed, "said"))

    @rule(seconds=st.sampled_from([0.5, 3.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.watched.now += seconds

    @rule(endpoint=endpoints)
    def drain(self, endpoint: str) -> None:
        self._edit(lambda service: servers.drain(service, ip_address(endpoint), None), endpoint)

    @rule(endpoint=endpoints, weight=st.integers(1, 9))
    def weigh(self, endpoint: str, weight: int) -> None:
        given = {"weight": weight}
        self._edit(
            lambda service: servers.change(service, ip_address(endpoint), None, given), endpoint
        )

    def _edit(self, edit: object, endpoint: str) -> None:
        """A command: what it leaves in IPVS is the same that the daemon would."""
        if endpoint not in {real.endpoint for real in self.service.reals}:
            return
        said = self.watched.verdicts
        after = edit(self.service)  # type: ignore[operator]
        by_command = effective(after, said)
        others = {r.endpoint: r.weight for r in effective(self.service, said).reals}
        assert all(
            others[r.endpoint] == r.weight
            for r in by_command.reals
            if r.endpoint not in (endpoint, *self._kept())
        )
        self.watched.change(after)

    @rule(name=st.sampled_from(["web", "shop"]))
    def rename(self, name: str) -> None:
        said, after = self.watched.verdicts, self.service._replace(name=name)
        assert effective(after, said).reals == effective(self.service, said).reals
        self.watched.change(after)

    @rule(endpoint=endpoints)
    @precondition(lambda self: len(self.service.reals) > 1)
    def remove(self, endpoint: str) -> None:
        after = servers.remove(self.service, ip_address(endpoint), None)
        self.watched.change(after)
        self.history[endpoint] = []

    @rule()
    def restart(self) -> None:
        """What a killed daemon has said last is where the next one begins."""
        before = self.watched.weights()
        written = from_plain(json.loads(json.dumps(plain(self.watched.verdicts))))
        now, service = self.watched.now, self.service
        self.watched = Watched(service, before=written)
        self.watched.now = now
        self.history = {e: [naive(h, TCP)] for e, h in self.history.items()}
        for known in self.history.values():
            known[:] = [k for k in known if k is not None] * max(TCP.fall, TCP.rise)
        assert self.watched.weights() == before

    def _kept(self) -> set[str]:
        """Who serves although it has failed, as none works."""
        found = self.watched.verdicts.services[self.service.name]
        return {e for e, v in found.reals.items() if found.troubles}

    @invariant()
    def weights_are_as_answers_say(self) -> None:
        if not hasattr(self, "watched"):
            return
        left = self.watched.weights()
        judged = {r.endpoint: naive(self.history[r.endpoint], TCP) for r in self.service.reals}
        working = any(judged[r.endpoint] is not False for r in self.service.reals if r.weight)
        for real in self.service.reals:
            weight = left.get(real.endpoint, 0)
            if not real.weight:
                assert weight == 0
            elif working:
                assert weight == (0 if judged[real.endpoint] is False else real.weight)
        if any(real.weight for real in self.service.reals):
            assert any(left.values()), "somebody gets the clients"


TestInterleaved = Interleaved.TestCase
TestInterleaved.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# when each is asked


def errands(count: int, *, every: float = 2.0) -> list[Errand]:
    check = TCP._replace(every=every)
    return [Errand(Target(ip_address(0x0A000000 + n), 80), check) for n in range(count)]


def test_all_are_asked_once_in_each_round_and_spread_over_it() -> None:
    schedule, asked = Schedule(Random(1)), list[tuple[float, Errand]]()
    schedule.learn(errands(1000), 5000.0)
    while (now := schedule.next() or 0) < 5100:
        asked += [(now, errand) for errand in schedule.due(now)]
    by_errand: dict[Errand, list[float]] = {}
    for time, errand in asked:
        by_errand.setdefault(errand, []).append(time)
    for times in by_errand.values():
        between = [after - before for before, after in pairwise(times)]
        assert len(times) in (49, 50, 51)
        assert all(abs(one - 2) <= 2 * JITTER * 2 + 1e-6 for one in between)
    busiest = max(sum(t <= time < t + 0.1 for time, _ in asked) for t in range(5010, 5020))
    assert busiest < 100  # 50 on average


def test_a_phase_does_not_depend_on_when_it_began() -> None:
    one, other = Schedule(Random(1)), Schedule(Random(2))
    one.learn(errands(1), 5000.0)
    other.learn(errands(1), 7001.3)
    assert (one.next() or 0) % 2 == pytest.approx((other.next() or 0) % 2)


def test_who_comes_later_is_asked_at_once_and_who_has_gone_never() -> None:
    schedule, (first, second) = Schedule(Random(1)), errands(2)
    schedule.learn([first], 5000.0)
    schedule.learn([first, second], 5000.0)
    assert schedule.due(5000.0) == [second]
    schedule.learn([], 5000.0)
    assert (schedule.due(6000.0), schedule.next()) == ([], None)


def test_one_that_is_late_is_not_asked_twice() -> None:
    schedule = Schedule(Random(1))
    schedule.learn(errands(1), 5000.0)
    assert len(schedule.due(5100.0)) == 1
    assert 5101 - 2 * JITTER <= (schedule.next() or 0) <= 5103 + 2 * JITTER
