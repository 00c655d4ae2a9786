"""When a director is fit: not at each moment in which nothing speaks against it."""

import pytest

from vipctl.health.fitness import (
    CALM,
    FILLING,
    KEEP,
    LONGEST,
    STEADY,
    Fitness,
    Reason,
    of_services,
    works,
)
from vipctl.health.verdicts import NONE, OfService, State, Verdict, Verdicts
from vipctl.services.checks import parse_checks
from vipctl.services.real import parse_reals
from vipctl.services.service import Service

DOWN = Reason("interface eth0 is down")
DRIFT = Reason("what others change stays so", "method fwmark", 5.0)
NOT_YET = Reason("the kernel is not known", "no", KEEP)
ONE, TWO = "10.0.1.11", "10.0.1.12"
WEB = Service("web", 1, reals=parse_reals([ONE, f"{TWO},weight=0"]), checks=parse_checks(["tcp"]))
MAIL = WEB._replace(name="mail", fwmark=2, reals=parse_reals([ONE, TWO]))


def fit_at(now: float) -> Fitness:
    found = Fitness()
    found.judge([], CALM, now - CALM)
    found.judge([], CALM, now)
    assert found.fit
    return found


def test_it_is_fit_after_a_calm_time() -> None:
    found = Fitness()
    assert found.judge([NOT_YET], CALM, 10) == (NOT_YET,)
    assert found.judge([], CALM, 10 + CALM - 0.1) == ()
    assert not found.fit
    found.judge([], CALM, 10 + CALM)
    assert found.fit


def test_it_waits_until_connections_of_others_have_come() -> None:
    found = Fitness()
    found.judge([], FILLING, 100)
    found.judge([], FILLING, 100 + FILLING - 0.1)
    assert not found.fit
    found.judge([], FILLING, 100 + FILLING)
    assert found.fit


def test_some_reasons_are_borne_for_a_while() -> None:
    found = fit_at(100)
    assert found.judge([DRIFT], CALM, 101) == ()
    assert found.judge([], CALM, 103) == ()  # healed
    assert found.judge([DRIFT], CALM, 104) == ()
    other = DRIFT._replace(details="method route")  # the same goes on, with other words
    assert found.judge([other], CALM, 108.9) == ()
    assert found.fit
    assert found.judge([other, DOWN], CALM, 109) == (other, DOWN)
    assert not found.fit


def test_some_reasons_keep_it_as_it_is() -> None:
    found = fit_at(100)
    assert found.judge([NOT_YET], CALM, 10_000) == ()
    assert found.fit
    assert found.judge([DOWN, NOT_YET], CALM, 10_001) == (DOWN,)
    assert found.judge([NOT_YET], CALM, 20_000) == (NOT_YET,)
    assert not found.fit


def test_who_is_fit_for_short_times_waits_longer_and_longer() -> None:
    found, now, waits = fit_at(0), 0.0, []
    for _ in range(12):
        now += 10
        found.judge([DOWN], CALM, now)
        waits.append(found.wait(CALM))
        found.judge([], CALM, now + waits[-1] - 0.1)
        assert not found.fit
        now += waits[-1]
        found.judge([], CALM, now)
        assert found.fit
    assert waits[:3] == [2 * CALM, 4 * CALM, 8 * CALM]
    assert waits[-1] == LONGEST
    found.judge([DOWN], CALM, now + STEADY)
    assert found.wait(CALM) == CALM, "what was steady is as new"


def said(**states: tuple[State, State]) -> Verdicts:
    marks = {"web": 1, "mail": 2}
    services = {
        name: OfService(marks[name], {ONE: Verdict(first), TWO: Verdict(second)})
        for name, (first, second) in states.items()
    }
    return Verdicts(services)


UP, GONE, NEW, UNJUDGED = State.UP, State.DOWN, State.NEW, State.UNJUDGED


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (UP, GONE, True),
        (GONE, UP, False),  # which is to get nobody
        (GONE, GONE, False),
        (NEW, UP, False),
        (UNJUDGED, GONE, None),
    ],
)
def test_what_works_is_what_clients_get(first: State, second: State, expected: bool | None) -> None:
    assert works(WEB, said(web=(first, second))) is expected
    assert works(WEB, NONE) is None


def test_a_service_that_fails_everywhere_does_not_end_the_others() -> None:
    both = (WEB, MAIL)
    dead = said(web=(GONE, GONE), mail=(GONE, UP))
    assert list(of_services(both, (), dead, first=False)) == []
    (needed,) = of_services(both, ("web",), dead, first=False)
    assert str(needed) == "service web has no real server left"
    assert needed.patience == 0
    (none,) = of_services(both, (), said(web=(GONE, GONE), mail=(GONE, NEW)), first=False)
    assert str(none) == "no service has a real server left"
    unchecked = MAIL._replace(checks=())
    assert list(of_services((unchecked,), (), dead, first=True)) == []


def test_what_is_not_known_keeps_it_as_it_is() -> None:
    (found,) = of_services((WEB, MAIL), (), NONE, first=True)
    assert (str(found), found.patience) == ("health checks have not answered yet", KEEP)
    assert list(of_services((WEB, MAIL), (), NONE, first=False)) == []
    (found,) = of_services((WEB,), ("wbe",), said(web=(UP, UP)), first=True)
    assert "no service wbe" in str(found)
    assert found.patience == KEEP
