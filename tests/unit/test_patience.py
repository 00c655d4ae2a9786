"""What is changed again and again is put back less and less often, and at once after a rest."""

from vipctl.watch.patience import FIRST, LIMIT, LONGEST, PERIOD, Patience

THING = "method fwmark"


def fight(patience: Patience, now: float, times: int = LIMIT) -> float:
    """It is changed as soon as it is put back; returns when it is left alone."""
    for _ in range(times):
        now += patience.next(now) or 0.1
        patience.healed([THING], now)
    return now


def test_a_few_times_are_put_back_at_once() -> None:
    patience = Patience()
    now = fight(patience, 0.0, LIMIT - 1)
    assert patience.spared(now) == frozenset()
    assert patience.next(now) is None


def test_one_more_is_left_alone_for_a_while() -> None:
    patience = Patience()
    now = fight(patience, 0.0)
    assert patience.spared(now) == {THING}
    assert patience.next(now) == FIRST
    assert patience.spared(now + FIRST) == frozenset()


def test_the_rest_grows_to_a_limit() -> None:
    patience = Patience()
    now = fight(patience, 0.0)
    waits = []
    for _ in range(8):
        waits.append(patience.next(now) or 0.0)
        now = fight(patience, now, 1)
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, LONGEST, LONGEST, LONGEST]


def test_others_are_put_back_meanwhile() -> None:
    patience = Patience()
    now = fight(patience, 0.0)
    assert patience.healed(["a sysctl"], now) == frozenset()
    assert patience.spared(now) == {THING}


def test_after_a_long_rest_all_begins_anew() -> None:
    patience = Patience()
    now = fight(patience, 0.0) + 100 * PERIOD
    assert patience.healed([THING], now) == frozenset()
    assert patience.spared(now) == frozenset()


def test_slow_changes_are_no_fight() -> None:
    patience = Patience()
    assert not any(patience.healed([THING], n * PERIOD / (LIMIT - 2)) for n in range(50))
