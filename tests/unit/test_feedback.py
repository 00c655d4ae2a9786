"""Feedback: weights follow load with bounded steps, and who fails fast gets less."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.test_agents import Told
from tests.unit.test_health import NO, TCP, YES
from vipctl.errors import Refused
from vipctl.health import feedback, outliers
from vipctl.health.feedback import (
    DEADBAND,
    DOWN,
    EXPONENT,
    HOLD,
    LEAST,
    MOST,
    PERIOD,
    UP,
    Damped,
    step,
)
from vipctl.health.outliers import TIMES, Count, Suspect, watch
from vipctl.health.saying import FAST, Weight, changes
from vipctl.health.verdicts import Verdicts, from_plain, plain
from vipctl.operate import judged
from vipctl.services.agents import Agent
from vipctl.services.real import parse_reals
from vipctl.services.service import Service, made
from vipctl.services.values import SCHEDULERS, Feedback, Scheduler

NAMES = ("a", "b", "c", "d")
FACTORS = st.floats(LEAST, MOST)
LOADS = st.floats(1, 100)
DAMPED = st.builds(Damped, FACTORS, st.just(0.0) | LOADS, st.none())
ROUNDING = 1e-9


@st.composite
def states(draw: st.DrawFn) -> tuple[dict[str, Damped], dict[str, int], dict[str, float | None]]:
    """What is known, the weights, and what comes in; some of it is missing."""
    names = draw(st.sets(st.sampled_from(NAMES), min_size=1))
    known = {name: draw(DAMPED) for name in NAMES}
    weights = {name: draw(st.integers(1, 1000)) for name in NAMES}
    return known, weights, {name: draw(st.none() | LOADS) for name in sorted(names)}


def fresh(loads: Mapping[str, float | None]) -> set[str]:
    found = {name for name, load in loads.items() if load is not None}
    return found if 2 * len(found) >= len(loads) else set()


@given(states())
def test_a_step_is_bounded_and_so_is_a_weight(
    state: tuple[dict[str, Damped], dict[str, int], dict[str, float | None]],
) -> None:
    known, weights, loads = state
    after = step(known, weights, loads, 0.0)
    assert after.keys() == known.keys()
    for name, one in after.items():
        before = known[name].factor
        assert LEAST <= one.factor <= MOST
        assert before * (1 - DOWN) - ROUNDING <= one.factor <= before * (1 + UP) + ROUNDING
        if name not in fresh(loads):
            assert one.factor == before, "what is not known is left as it is"


@given(states())
def test_who_has_more_than_the_mean_gets_less_and_who_is_near_it_stays(
    state: tuple[dict[str, Damped], dict[str, int], dict[str, float | None]],
) -> None:
    known, weights, loads = state
    known = {name: one._replace(load=0.0) for name, one in known.items()}  # nothing is smoothed
    names = fresh(loads)
    assume(names)
    parts = {name: weights[name] * known[name].factor for name in names}
    mean = sum(parts[n] * (loads[n] or 0) for n in names) / sum(parts.values())
    after = step(known, weights, loads, 0.0)
    for name in names:
        wanted = (mean / (loads[name] or 1)) ** EXPONENT
        if abs(wanted - 1) < DEADBAND - ROUNDING:
            assert after[name].factor == known[name].factor
        elif wanted > 1:
            assert after[name].factor >= known[name].factor
        else:
            assert after[name].factor <= known[name].factor


@given(st.lists(FACTORS, min_size=4, max_size=4), st.sampled_from([0, 1]))
def test_with_fewer_than_half_known_all_stay_and_are_back_within_a_minute(
    factors: list[float], known: int
) -> None:
    damped = {name: Damped(factor) for name, factor in zip(NAMES, factors, strict=True)}
    loads = {name: 50.0 if n < known else None for n, name in enumerate(NAMES)}
    weights = dict.fromkeys(NAMES, 1)
    now = 0.0
    while now < 60:
        before, damped = damped, step(damped, weights, loads, now)
        for name in NAMES:
            if now < HOLD:
                assert damped[name].factor == before[name].factor
            change = damped[name].factor / before[name].factor
            assert 1 - UP - ROUNDING <= change <= 1 + UP + ROUNDING
        now += PERIOD
    assert {one.factor for one in damped.values()} == {1.0}


def settled(speeds: Mapping[str, float], rate: float, steps: int = 200) -> list[dict[str, float]]:
    """Factors by time, of servers whose queues are as long as random arrivals make them.

    Clients come in proportion to weights, as kept-alive connections make it in the long run.
    """
    damped = {name: Damped() for name in speeds}
    history = []
    for n in range(steps):
        total = sum(one.factor for one in damped.values())
        busy = {name: rate * damped[name].factor / total / speeds[name] for name in speeds}
        loads = {name: feedback.load_of(round(100 * (1 - min(b, 1)))) for name, b in busy.items()}
        damped = step(damped, dict.fromkeys(speeds, 1), loads, n * PERIOD)
        history.append({name: one.factor for name, one in damped.items()})
    return history


def test_a_slow_one_gets_less_and_nothing_swings() -> None:
    speeds = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.4}
    history = settled(speeds, rate=2.0)
    share = history[-1]["d"] / sum(history[-1].values())
    assert 2.0 * share < 0.4 * 0.9, "it is not too much for it any more"
    assert history[-1]["d"] > 2 * LEAST, "it still works"
    for name in speeds:
        late = [factors[name] for factors in history[100:]]
        assert max(late) <= min(late) * 1.15


def test_equal_ones_are_left_alone() -> None:
    assert {f for step in settled(dict.fromkeys(NAMES, 1.0), 2.4) for f in step.values()} == {1.0}


# who fails fast

WEIGHTS = {"a": 1, "b": 1, "c": 1, "d": 2}
USUAL = Count(30, 30 * 900)
FEW = Count(200, 200 * 90)  # bytes


def watched(counts: list[dict[str, Count]]) -> list[set[str]]:
    """Who is caught after each period."""
    known, found = {name: Suspect() for name in WEIGHTS}, []
    for count in counts:
        known = watch(known, WEIGHTS, count)
        found.append({name for name, one in known.items() if one.caught})
    return found


def period(**other: Count) -> dict[str, Count]:
    return {**dict.fromkeys(WEIGHTS, USUAL), "d": Count(60, 60 * 900), **other}


def test_who_takes_many_and_gives_little_three_times_in_a_row_is_caught() -> None:
    assert watched([period(a=FEW)] * TIMES) == [set()] * (TIMES - 1) + [{"a"}]
    broken = [period(a=FEW), period(a=FEW), period(), period(a=FEW), period(a=FEW)]
    assert watched(broken) == [set()] * 5


@pytest.mark.parametrize(
    "count",
    [Count(200, 200 * 900), Count(30, 30 * 90), Count(0, 0), Count(9, 9), Count(89, 89 * 10)],
)
def test_who_only_takes_many_or_only_gives_little_is_not(count: Count) -> None:
    assert watched([period(a=count)] * 9) == [set()] * 9


def test_one_of_two_can_be_caught_and_one_alone_cannot() -> None:
    two = {"a": FEW, "b": USUAL}
    assert watched([two] * TIMES)[-1] == {"a"}
    assert watched([{"a": FEW}] * 9)[-1] == set()


def test_it_is_let_go_when_its_connections_are_as_those_of_others() -> None:
    well, none = period(a=Count(3, 3 * 700)), period(a=Count(0, 0))
    caught = [period(a=FEW)] * TIMES
    assert watched([*caught, *[none] * 9])[-1] == {"a"}
    assert watched([*caught, *[period(a=Count(1, 90))] * 9])[-1] == {"a"}
    assert watched([*caught, well, well, well])[-1] == set()


def test_counters_that_begin_anew_say_nothing() -> None:
    assert Count(5, 500).since(None) is None
    assert Count(5, 500).since(Count(6, 400)) is None
    assert Count(5, 500).since(Count(2, 100)) == Count(3, 400)
    assert outliers.Count(3, 600).each == 200


# what follows for services

ONE, TWO, THREE = "10.0.1.1", "10.0.1.2", "10.0.1.3"
FED = Service(
    "web", 0x1000, agent=Agent(8675), feedback=Feedback.LOAD, checks=(TCP,),
    reals=parse_reals([ONE, f"{TWO},weight=2", THREE]),
)  # fmt: skip


class Fed(Told):
    """Services whose agents tell their load, step by step."""

    totals: Mapping[tuple[str, str], Count] = {}

    def steps(self, number: int, **said: str | None) -> None:
        for _ in range(number):
            for key, line in said.items():
                self.say({"one": ONE, "two": TWO, "three": THREE}[key], line)
            self.health.step(self.totals, self.now)
            self.now += PERIOD


def test_a_percentage_is_a_load_and_not_a_part_of_the_weight() -> None:
    fed = Fed(FED)
    fed.steps(1, one="90%", two="90%", three="90%")
    assert fed.weights() == {ONE: 100, TWO: 200, THREE: 100}
    fed.steps(1, one="0%", two="90%", three="90%")
    assert fed.weights() == {ONE: 50, TWO: 220, THREE: 110}
    fed.steps(60, one="0%", two="90%", three="90%")
    left = fed.weights()
    assert (left[ONE], left[TWO] / left[THREE]) == (10, 2)


def test_the_agents_words_checks_and_a_drain_are_as_ever() -> None:
    fed = Fed(FED)
    fed.steps(3, one="5%", two="90%", three="90%")
    fed.say(TWO, "drain")
    assert fed.weights()[TWO] == 0
    fed.answer(THREE, NO, NO, NO)
    assert fed.weights()[THREE] == 0
    fed.say(TWO, "ready")
    fed.answer(THREE, YES, YES)
    assert min(fed.weights().values()) > 0
    drained = FED._replace(reals=parse_reals([f"{ONE},weight=0", TWO, THREE]))
    fed.change(drained)
    fed.steps(9, two="5%", three="90%")
    assert fed.weights()[ONE] == 0


def test_old_answers_are_none() -> None:
    fed = Fed(FED)
    fed.steps(5, one="5%", two="90%", three="90%")
    left = fed.weights()
    assert left[ONE] < 50
    fed.now += 20
    fed.steps(1)
    assert fed.weights() == left
    fed.steps(29)
    assert fed.weights() == {ONE: 100, TWO: 200, THREE: 100}


def test_the_next_daemon_goes_on_and_without_feedback_all_is_as_stored() -> None:
    fed = Fed(FED)
    fed.steps(9, one="5%", two="90%", three="90%")
    left = fed.weights()
    written = from_plain(json.loads(json.dumps(plain(fed.verdicts))))
    again = Fed(FED, before=written)
    assert again.weights() == left
    fed.change(FED._replace(feedback=Feedback.NO, agent=None))
    assert fed.weights() == {ONE: 1, TWO: 2, THREE: 1}


def failing_fast(fed: Fed, number: int) -> None:
    for _ in range(number):
        old = fed.totals or {("web", e): Count(0, 0) for e in (ONE, TWO, THREE)}
        more = {ONE: Count(500, 20_000), TWO: Count(60, 60_000), THREE: Count(30, 30_000)}
        fed.totals = {
            ("web", e): Count(*map(sum, zip(old["web", e], more[e], strict=True))) for e in more
        }
        fed.steps(1)


def test_who_fails_fast_gets_a_tenth_and_that_is_said() -> None:
    fed = Fed(FED._replace(agent=None))
    failing_fast(fed, TIMES)
    before = fed.verdicts
    assert fed.weights() == {ONE: 100, TWO: 200, THREE: 100}
    failing_fast(fed, 1)
    assert fed.weights() == {ONE: 10, TWO: 200, THREE: 100}
    (said,) = changes(before, fed.verdicts)
    assert (said.text, said.weight) == (f"web: real server {ONE} {FAST}", Weight.DOUBT)
    shown = judged.of_service(fed.services[0], fed.verdicts)
    assert shown[ONE]["why"] == FAST
    assert shown[ONE]["feedback"] == {"factor": 1.0, "fails_fast": True}
    written: Verdicts = from_plain(json.loads(json.dumps(plain(fed.verdicts))))
    assert Fed(FED, before=written).weights()[ONE] == 10


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_it_is_for_schedulers_that_look_at_connections_and_weights(scheduler: str) -> None:
    given = {"fwmark": 1, "scheduler": Scheduler(scheduler), "feedback": Feedback.LOAD}
    if scheduler in ("wlc", "sed", "nq", "twos"):
        assert made("web", given).watched
        return
    with pytest.raises(Refused, match=f"--feedback load is not for --scheduler {scheduler}, which"):
        made("web", given)
