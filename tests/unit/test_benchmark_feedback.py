"""The benchmark of feedback: the policy that learns, what is summed up, and the page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.feedback.inside import quantile, summary
from benchmarks.feedback.learned import Learned, Line, split
from benchmarks.feedback.page import BEGIN, KINDS, POLICIES, interval, written
from vipctl.health.feedback import DOWN, LEAST, MOST, UP
from vipctl.services.service import made
from vipctl.services.syntax import parse_scheduler
from vipctl.services.values import Feedback

WORDS = {"p50": 1, "p99": 2, "ill50": 3, "ill99": 4, "errors": 5}


@given(st.lists(st.floats(1, 100), min_size=1, max_size=8), st.floats(0.01, 0.95))
def test_a_split_adds_up_and_nobody_gets_more_than_it_can(
    capacities: list[float], load: float
) -> None:
    rate = load * sum(capacities)
    rates = split(capacities, rate)
    assert sum(rates) == pytest.approx(rate, rel=1e-3)
    assert all(0 <= x < c for x, c in zip(rates, capacities, strict=True))


def test_a_line_finds_the_capacity_of_a_queue() -> None:
    line = Line()
    for rate in (2.0, 4.0, 6.0, 8.0):
        line.learn(rate, 1 / (10.0 - rate))
    assert line.capacity(8.0, 1 / 2.0, 5) == pytest.approx(10.0)


@given(
    st.lists(
        st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 9)), min_size=3, max_size=3),
        min_size=1,
        max_size=9,
    )
)
def test_what_is_learned_moves_by_bounded_steps(periods: list[list[tuple[float, float]]]) -> None:
    learned, before = Learned(2), dict.fromkeys("abc", 1.0)
    for seen in periods:
        after = learned.step(dict(zip("abc", seen, strict=True)))
        for name, factor in after.items():
            assert LEAST <= factor <= MOST
            assert 1 - DOWN - 1e-9 <= factor / before[name] <= 1 + UP + 1e-9
        before = after


def test_what_counts_comes_after_the_beginning() -> None:
    found = [(1.0, 9.0), (20.0, 0.1), (60.0, 0.3), (61.0, None), (90.0, 0.2)]
    assert summary(found, 100.0) == {
        "p50": 200, "p99": 300, "ill50": 300, "ill99": 300, "requests": 4, "errors": 1,
    }  # fmt: skip
    assert quantile([], 0.5) == 0


def test_the_page_has_the_tables_once() -> None:
    lines = [
        {"policy": policy, "kind": kind, "seed": seed} | WORDS
        for policy in POLICIES
        for kind in KINDS
        for seed in range(5)
    ]
    page = written(written("# Feedback\n\nWords.\n", lines), lines)
    assert page.count(BEGIN) == 1
    assert page.startswith("# Feedback\n\nWords.\n\n")
    assert "| wlc+feedback " in page
    assert interval([1, 2, 3, 4, 5]) == "3 ± 2"
    assert interval([7.0]) == "7"


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_is_one_that_vipctl_has(policy: str) -> None:
    scheduler, feedback = POLICIES[policy]
    given = Feedback.LOAD if feedback == "load" else Feedback.NO
    assert made("web", {"fwmark": 1, "scheduler": parse_scheduler(scheduler), "feedback": given})
