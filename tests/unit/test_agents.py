"""Agents: what they say is read as HAProxy reads it, and what follows for weights."""

import json
import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_health import NO, TCP, YES, Watched
from vipctl.errors import UsageError
from vipctl.health.hearing import SILENT
from vipctl.health.judging import Errand
from vipctl.health.saying import Weight, changes
from vipctl.health.verdicts import NONE, State, Verdicts, effective, from_plain, plain
from vipctl.operate import judged
from vipctl.services import reals as servers
from vipctl.services.agents import (
    MOST_PERCENT,
    Admin,
    Agent,
    Heard,
    Running,
    Words,
    parse_agent,
    parse_words,
)
from vipctl.services.checks import Target
from vipctl.services.real import RealServer, parse_reals
from vipctl.services.service import Service
from vipctl.services.values import AllDown, Scheduler

ONE, TWO = "10.0.1.1", "10.0.1.2"
AGENT = Agent(8675)
WEB = Service("web", 0x1000, agent=AGENT, reals=parse_reals([f"{ONE},weight=3", TWO]))
CHECKED = WEB._replace(checks=(TCP,))
PERCENTS = st.integers(0, 1000).map(lambda percent: f"{percent}%")
WORD = PERCENTS | st.sampled_from([*Admin, *Running, "failed", "maxconn:30"])


@st.composite
def spelled(draw: st.DrawFn) -> tuple[list[str], str]:
    """Words, and the line that an agent makes of them."""
    words = [str(word) for word in draw(st.lists(WORD, max_size=6))]
    separators = st.text(" \t,", min_size=1, max_size=3)
    line = draw(st.text(" \t,", max_size=2)) + "".join(
        draw(st.sampled_from([word, word.upper(), word.title()])) + draw(separators)
        for word in words
    )
    return words, line


def last(words: Sequence[str], kinds: dict[str, Any]) -> Any:
    return next((kinds[word] for word in reversed(words) if word in kinds), None)


@given(spelled(), st.sampled_from(["\n", "\r\n", "\r", "", "\ndown\n", "\n0%"]))
def test_words_are_read_in_any_order_and_the_last_of_a_kind_counts(
    found: tuple[list[str], str], end: str
) -> None:
    words, line = found
    read = parse_words(f"{line}{end}".encode())
    assert read.admin == last(words, {str(word): word for word in Admin})
    assert read.running == last(words, {**{str(w): w for w in Running}, "failed": Running.FAIL})
    percents = {w: min(int(w[:-1]), MOST_PERCENT) for w in words if w.endswith("%")}
    assert read.percent == last(words, percents)
    assert not read.unknown


@given(st.binary(max_size=300))
def test_whatever_is_said_is_read(said: bytes) -> None:
    read = parse_words(said)
    assert read.percent is None or 0 <= read.percent <= MOST_PERCENT
    for text in (read.why, read.unknown):
        assert len(text) <= 200
        assert text.isprintable()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"75%\n", Words(75)),
        (b"up 99%\n", Words(99, running=Running.UP)),
        (b"down#disk full\n", Words(running=Running.DOWN, why="disk full")),
        (b"stopped # by hand, now\r\n", Words(running=Running.STOPPED, why="by hand, now")),
        (b"drain#backup", Words(admin=Admin.DRAIN, why="backup")),
        (b"up#all is well\n", Words(running=Running.UP)),
        (b"75%,maxconn:30,maint,down\n", Words(75, Admin.MAINT, Running.DOWN)),
        (b"weight:5 50%\n", Words(50, unknown="weight:5")),
        (b"-5% 5 %\n", Words(unknown="-5%")),
        (b"\n", Words()),
        (b"HTTP/1.1 400 Bad Request\r\n", Words(unknown="http/1.1")),
    ],
)  # fmt: skip
def test_lines_that_agents_say(said: bytes, words: Words) -> None:
    assert parse_words(said) == words


SENT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20) | st.sampled_from(
    ["web/one\n", "\\", ",", "a\\,b\r\n\t"]
)
AGENTS = st.builds(
    Agent, st.integers(1, 65535), st.integers(100, 99999).map(lambda ms: ms / 1000), SENT
)


@given(AGENTS)
def test_an_agent_is_written_and_read(agent: Agent) -> None:
    assert parse_agent(str(agent)) == agent
    assert parse_agent("no") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "0", "65536", "80,", "80,every", "80,every=0", "80,send=", "80,inter=2s"),
        *("80,every=2s,every=3s", "80,send=a\\", "80,send=\\x", "80,send=é", "80,send=a\n"),
        f"80,send={'a' * 201}",
    ],
)
def test_what_is_no_agent_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_agent(text)


# what follows


class Told(Watched):
    """Services whose agents say something now and then."""

    def say(self, endpoint: str, *lines: str | None) -> None:
        for line in lines:
            heard = Heard(None, "nobody") if line is None else Heard(parse_words(line.encode()))
            agent = self.services[0].agent or AGENT
            errand = Errand(Target(ip_address(endpoint), agent.port), agent)
            self.health.heard(errand, heard, self.now)

    def said(self, before: Verdicts) -> list[str]:
        return [one.text for one in changes(before, self.verdicts)]


def test_a_percentage_is_of_the_weight_that_is_stored() -> None:
    told = Told(WEB)
    assert told.weights() == {ONE: 300, TWO: 100}
    told.say(ONE, "50%\n")
    told.say(TWO, "250%\n")
    assert told.weights() == {ONE: 150, TWO: 250}
    told.say(ONE, "0%")
    assert told.weights()[ONE] == 0
    told.change(servers.drain(WEB, ip_address(TWO), None))
    assert told.weights() == {ONE: 0, TWO: 0}


@pytest.mark.parametrize("bad", ["drain", "maint", "0%", "down", "fail", "stopped#disk full"])
def test_only_the_agent_takes_back_what_it_said(bad: str) -> None:
    good = {"0%": "1%", "drain": "ready", "maint": "ready"}.get(bad, "up")
    others = {"up", "ready", "100%"} - ({"100%"} if good == "1%" else {good})
    told = Told(CHECKED)
    told.answer(ONE, YES)
    told.say(ONE, bad)
    for _ in range(9):
        told.answer(ONE, YES, YES)
        told.say(ONE, None, "", *sorted(others))
        assert told.weights() == {ONE: 0, TWO: 100}
    written = from_plain(json.loads(json.dumps(plain(told.verdicts))))
    told = Told(CHECKED, before=written)  # a new daemon knows it too
    told.answer(ONE, YES, YES)
    told.say(ONE, None)
    assert told.weights() == {ONE: 0, TWO: 100}
    told.say(ONE, good)
    assert told.weights()[ONE] in (300, 3)


def test_checks_win_over_what_the_agent_says() -> None:
    told = Told(CHECKED)
    told.answer(ONE, NO, NO, NO)
    told.say(ONE, "up ready 100%")
    assert told.weights() == {ONE: 0, TWO: 100}
    told.answer(ONE, YES, YES)
    told.say(ONE, "down")
    assert told.weights() == {ONE: 0, TWO: 100}


def test_an_agent_that_cannot_be_reached_changes_nothing() -> None:
    told = Told(CHECKED)
    told.say(ONE, *[None] * 20)
    assert told.weights() == {ONE: 300, TWO: 100}
    told.say(ONE, "50%", *[None] * 20)
    assert told.weights() == {ONE: 150, TWO: 100}
    added = CHECKED._replace(reals=(*CHECKED.reals, RealServer(ip_address("10.0.1.3"))))
    told.change(added)
    assert told.weights()["10.0.1.3"] == 0
    told.answer("10.0.1.3", YES)
    assert told.weights()["10.0.1.3"] == 100


def test_who_has_no_checks_works_until_its_agent_says_otherwise() -> None:
    told = Told(WEB)
    before = told.verdicts
    assert told.states() == {ONE: State.UNJUDGED, TWO: State.UNJUDGED}
    told.change(WEB._replace(reals=parse_reals([ONE, TWO, "10.0.1.3"])))
    assert told.weights()["10.0.1.3"] == 100
    told.say(ONE, "down#disk full")
    assert told.said(before)[0] == (
        "web: real server 10.0.1.1 is down, and gets no new clients: "
        "agent 8675: says down: disk full"
    )
    before = told.verdicts
    told.say(ONE, "up")
    assert told.said(before) == ["web: real server 10.0.1.1 is up again"]
    told.say(ONE, "down")
    told.change(WEB._replace(agent=Agent(8676)))  # another agent has said nothing
    assert told.states()[ONE] is State.UNJUDGED
    told.change(WEB._replace(agent=None))
    assert told.verdicts == NONE


def test_what_is_down_by_its_agent_is_down_as_by_checks() -> None:
    service = CHECKED._replace(dead_after=30, slow_start=20, all_down=AllDown.KEEP)
    told = Told(service)
    told.say(ONE, "fail")
    told.now += 31
    assert told.weights() == {TWO: 100}
    told.answer(TWO, NO, NO, NO)
    assert told.troubles() == (f"no real server of IPv4 works: clients still get {TWO}",)
    told.answer(ONE, YES)
    told.say(ONE, "up 50%")
    assert told.weights() == {ONE: 3 * 2, TWO: 0}  # a twentieth
    told.say(ONE, "drain")
    assert told.weights()[ONE] == 0
    told.say(ONE, "ready")
    told.now += 20
    assert told.weights() == {ONE: 150, TWO: 0}


@pytest.mark.parametrize("fallback", [None, RealServer(ip_address("10.0.1.99"))])
def test_where_agents_want_no_clients_nobody_gets_them_but_a_fallback(
    fallback: RealServer | None,
) -> None:
    told = Told(WEB._replace(fallback=fallback))
    told.say(ONE, "drain")
    told.say(TWO, "0%")
    left = told.weights()
    assert (left.pop("10.0.1.99", 0), left) == (int(fallback is not None), {ONE: 0, TWO: 0})
    follows = "clients are refused" if fallback is None else f"clients get {fallback}"
    assert told.troubles() == (
        f"agents take all real servers of IPv4 that could work away from clients: {follows}",
    )


def test_a_scheduler_that_does_not_weigh_knows_all_or_nothing() -> None:
    told = Told(WEB._replace(scheduler=Scheduler("rr")))
    told.say(ONE, "50%")
    assert told.weights() == {ONE: 3, TWO: 1}
    told.say(ONE, "0%")
    assert told.weights() == {ONE: 0, TWO: 1}


def test_one_agent_of_two_services_is_asked_once() -> None:
    shop = WEB._replace(name="shop", fwmark=2)
    told = Told(WEB)
    assert len(told.health.learn([WEB, shop], (), told.now)) == 2
    told.say(ONE, "50%")
    found = told.verdicts
    assert [effective(one, found).reals[0].weight for one in (WEB, shop)] == [150, 150]


# what is said of it


def test_what_an_agent_has_done_is_said_once() -> None:
    told = Told(CHECKED)
    told.answer(ONE, YES)
    said = list[str]()
    for line in ("ready 70%", "drain#backup", "drain#backup", "60%", "maint", "ready", "80%"):
        before = told.verdicts
        told.say(ONE, line)
        said += told.said(before)
    subject = f"web: real server {ONE}"
    assert said == [
        f"{subject} gets no new clients, as its agent says drain: backup",
        f"{subject} gets no new clients, as its agent says maint",
        f"{subject} gets clients again, as its agent says",
    ]


def test_an_agent_that_is_silent_is_a_doubt_said_once() -> None:
    told = Told(CHECKED)
    before = told.verdicts
    told.say(ONE, *[None] * (SILENT - 1))
    assert told.said(before) == []
    told.say(ONE, None, None)
    (said,) = changes(before, told.verdicts)
    assert said.weight is Weight.DOUBT
    assert said.text == f"web: real server {ONE}: check agent 8675 tells nothing: nobody"
    told.say(ONE, "50%")
    before = told.verdicts
    told.say(ONE, "50% hello")
    (said,) = changes(before, told.verdicts)
    assert "says 'hello', which is no word" in said.text


def test_list_checks_and_status_show_it() -> None:
    told = Told(CHECKED)
    told.say(ONE, "75%")
    told.say(TWO, "maint#new disk")
    rows = {(r["real"], r["check"]): r for r in judged._rows(CHECKED, told.verdicts)}
    assert rows[ONE, "agent 8675"]["state"] == "75 %"
    assert rows[TWO, "agent 8675"]["state"] == "maint"
    assert rows[TWO, "agent 8675"]["why"] == "says maint: new disk"
    assert rows[TWO, "agent 8675"]["since"]
    assert rows[ONE, str(TCP)]["state"] == "unknown"
    shown = judged.of_service(CHECKED, told.verdicts)
    assert shown[ONE]["agent"]["percent"] == 75
    assert (shown[ONE]["configured"], shown[ONE]["effective"]) == (3, 225)
    assert shown[TWO]["why"] == "its agent says maint: new disk"
    assert re.match(r"\d{4}-", shown[TWO]["agent"]["since"])
    assert json.dumps(shown)
    (first, *_) = judged._rows(WEB, NONE)
    assert (first["check"], first["state"]) == ("agent 8675", "unknown")
