"""What `make explain-fuzz` does, for a few situations."""

import pytest

from tests.netns.ailments import AILMENTS, FWMARK
from tests.stress.explain.breakages import of
from tests.stress.explain.fuzz import AGREED, DISAGREED, outcome, run
from tests.stress.explain.situation import Situation, drawn
from vipctl.diagnosis import explain

SEEDS = range(1, 13)
RULE_GONE = next(a for a in AILMENTS if a.cause == "rule-gone")


def test_explain_and_the_client_agree() -> None:
    said: list[str] = []
    counts = run(SEEDS[0], len(SEEDS), ipvs=False, say=said.append)
    assert counts[DISAGREED] == 0, "\n".join(said)
    assert 0 < counts["answered"] < len(SEEDS)


def test_a_seed_is_a_situation() -> None:
    known = [drawn(seed, ipvs=True) for seed in range(500)]
    assert known == [drawn(seed, ipvs=True) for seed in range(500)]
    assert {len(one.breakages) for one in known} == {0, 1, 2, 3, 4}
    assert len({str(one) for one in known}) == len(known)


@pytest.fixture
def broken() -> Situation:
    """A client that nobody answers, as vipctl's rule is gone."""
    whole = next(one for one in map(_drawn, range(1000)) if _is_whole(one))
    return whole._replace(breakages=(of(RULE_GONE),))


def _drawn(seed: int) -> Situation:
    return drawn(seed, ipvs=False)


def _is_whole(one: Situation) -> bool:
    """Whether its client would get an answer if nothing were broken."""
    plain = one.method == FWMARK and not one.ports and one.vip.startswith("203.0.113.")
    return plain and one.client.device == "eth0"


def test_what_explain_does_not_see_is_a_disagreement(
    broken: Situation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcome(broken, ipvs=False).agreement == AGREED
    monkeypatch.delitem(explain.LEGS, "acceptance")
    assert outcome(broken, ipvs=False).agreement == DISAGREED
