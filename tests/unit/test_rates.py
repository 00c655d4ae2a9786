"""Rates are differences of samples; what begins anew, comes or goes has no wrong ones."""

from hypothesis import given
from hypothesis import strategies as st

from vipctl.operate import rates
from vipctl.operate.rates import KEPT, NONE, Numbers, Rates, Sample, between

WEB = {"web": ("10.0.1.11",)}


def sample(at: float, web: Numbers, real: Numbers = NONE) -> Sample:
    return Sample(at, WEB, {"web": web}, {("web", "10.0.1.11"): real})


def test_differences_are_by_second_and_what_is_now_stays() -> None:
    first = sample(10, {"connections": 5, "active": 1}, {"packets_in": 100})
    second = sample(12, {"connections": 25, "active": 7}, {"packets_in": 130})
    found = between(first, second)
    assert found.of("web") == {"connections": 10, "active": 7}
    assert found.of("web", "10.0.1.11") == {"packets_in": 15}
    assert (found.total("connections"), found.total("bytes_in")) == (10, 0)


def test_a_counter_that_begins_anew_is_not_negative() -> None:
    found = between(sample(0, {"accepted": 1000}), sample(2, {"accepted": 40}))
    assert found.of("web") == {"accepted": 20}


def test_what_is_new_has_no_rate_yet_and_what_went_has_none_any_more() -> None:
    other = Sample(1, {"new": ()}, {"new": {"accepted": 9, "active": 2}}, {})
    found = between(sample(0, {"accepted": 1}), other)
    assert (found.of("new"), found.of("web")) == ({"active": 2}, {})
    assert list(found.endpoints) == ["new"]


def test_the_first_sample_has_no_rates() -> None:
    only = sample(3, {"accepted": 7})
    assert between(only, only).of("web") == {}


@given(
    st.lists(st.tuples(st.integers(0, 1 << 64), st.integers(0, 1 << 64)), min_size=1),
    st.floats(0.001, 1000),
)
def test_no_rate_is_negative(counts: list[tuple[int, int]], seconds: float) -> None:
    before, after = ({str(n): one[at] for n, one in enumerate(counts)} for at in (0, 1))
    found = between(sample(0, before), sample(seconds, after)).of("web")
    assert found.keys() == before.keys()
    assert all(value >= 0 for value in found.values())


def test_history_is_of_the_first_field_that_is_counted_and_ends_with_the_service() -> None:
    history: rates.History = {"gone": (1.0,)}
    for number in range(KEPT + 5):
        found = Rates(services={"web": {"accepted": number}, "idle": {}})
        history = rates.remembered(history, found, ("packets_in", "accepted"))
    assert history.keys() == {"web", "idle"}
    assert history["web"] == tuple(range(5, KEPT + 5))
    assert set(history["idle"]) == {0.0}
