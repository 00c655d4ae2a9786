"""What is said of changes: one sentence for each, and nothing where nothing changes."""

import pytest
from hypothesis import given

from tests.unit.test_effective import JUDGED
from vipctl.health.saying import Said, Weight, changes
from vipctl.health.verdicts import Finding, OfService, State, Verdict, Verdicts
from vipctl.services.service import Service
from vipctl.watch import checker
from vipctl.watch.journal import Level

TEXT = "tcp:80"
UP = Verdict(State.UP, checks={TEXT: Finding(True, 1, "accepts")})
DOWN = Verdict(
    State.DOWN, 5, f"{TEXT}: no answer", 0, checks={TEXT: Finding(False, 5, "no answer")}
)
KEPT, GONE = DOWN._replace(share=100), DOWN._replace(present=False)
NEW = Verdict(State.NEW, share=0)
DOUBTED = UP._replace(checks={TEXT: Finding(True, 1, "accepts", "busy")})


def of(verdict: Verdict | None, *troubles: str) -> Verdicts:
    reals = {} if verdict is None else {"10.0.1.11": verdict}
    return Verdicts({"web": OfService(1, reals, False, troubles)})


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (UP, DOWN, f"is down, and gets no new clients: {TEXT}: no answer"),
        (UP, KEPT, f"is down, and keeps its clients, as no other works: {TEXT}: no answer"),
        (UP, GONE, f"is down, and is removed from IPVS: {TEXT}: no answer"),
        (DOWN, GONE, f"is still down, and is removed from IPVS: {TEXT}: no answer"),
        (GONE, UP, "is up again"),
        (DOWN, UP._replace(share=5), "is up again, and gets 5 % of its weight"),
        (NEW, UP, "passes, and gets clients"),
        (NEW, NEW._replace(why="no answer"), "is new, and does not pass: no answer"),
        (None, UP, ""),  # those that pass before the daemon first says anything
        (None, NEW, ""),
        (None, NEW._replace(state=State.UNJUDGED), ""),
        (UP._replace(state=State.UNJUDGED), UP, ""),
        (UP._replace(share=5), UP._replace(share=10), ""),
    ],
)
def test_a_real_server(before: Verdict | None, after: Verdict, words: str) -> None:
    said = list(changes(of(before), of(after)))
    failing = (TEXT,) if after.state is State.DOWN else ()
    sentence = f"web: real server 10.0.1.11 {words}"
    assert said == ([Said(sentence, "web", "10.0.1.11", failing)] if words else [])


def test_a_doubt_and_a_trouble() -> None:
    doubt, *_ = changes(of(UP), of(DOUBTED))
    assert doubt.text.endswith(f"check {TEXT} tells nothing: busy")
    assert doubt.weight is Weight.DOUBT
    (again,) = changes(of(DOUBTED), of(UP))
    assert again.text.endswith(f"check {TEXT} tells again")
    (trouble,) = changes(of(UP), of(UP, "nobody works"))
    assert trouble == Said("web: nobody works", "web", weight=Weight.TROUBLE)
    (over,) = changes(of(UP, "nobody works"), of(UP))
    assert over.text == "web: no longer: nobody works"


@given(JUDGED)
def test_nothing_is_said_twice(judged: tuple[Service, Verdicts]) -> None:
    assert list(changes(judged[1], judged[1])) == []


def test_the_journal_gets_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[Level, dict[str, object]]] = []
    monkeypatch.setattr(checker, "say", lambda level, _, **fields: heard.append((level, fields)))
    for said in (*changes(of(UP), of(DOWN)), *changes(of(UP), of(UP, "nobody works"))):
        checker.tell(said)
    assert heard == [
        (Level.NOTICE, {"SERVICE": "web", "REAL": "10.0.1.11", "CHECK": TEXT}),
        (Level.ERROR, {"SERVICE": "web"}),
    ]
