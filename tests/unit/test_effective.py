"""Which weights are left by what checks say, and the file by which commands know that."""

import json
import stat
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.judged import verdicts_on
from tests.unit.strategies import services
from vipctl.errors import Refused
from vipctl.health.verdicts import (
    NONE,
    WHOLE,
    OfService,
    State,
    Verdict,
    Verdicts,
    effective,
    from_plain,
    plain,
)
from vipctl.linux import ipvs
from vipctl.linux.ipvs.messages import Key
from vipctl.services.checks import Check
from vipctl.services.real import RealServer, parse_reals
from vipctl.services.service import Service
from vipctl.services.values import Feedback, Scheduler
from vipctl.state import runtime
from vipctl.state import verdicts as file


@st.composite
def checked(draw: st.DrawFn) -> Service:
    """A service with a check, and as often as not with drained real servers."""
    service = draw(services(st.just("web"), 0x1000))
    weights = [real.weight * draw(st.integers(0, 1)) for real in service.reals]
    reals = (real._replace(weight=w) for real, w in zip(service.reals, weights, strict=True))
    return service._replace(checks=(Check("tcp", port=80),), reals=tuple(reals))


JUDGED = checked().flatmap(lambda service: st.tuples(st.just(service), verdicts_on(service)))
TCP = Check("tcp", port=80)
WEB = Service(
    "web", 0x1000, checks=(TCP,), reals=parse_reals(["10.0.1.1,weight=3", "10.0.1.2,weight=1"])
)
SORRY = RealServer(ip_address("10.0.1.99"))


def down(share: int = 0, *, present: bool = True) -> Verdict:
    return Verdict(State.DOWN, 1.0, "nobody answers", share, present)


def said(service: Service, *, fallback: bool = False, **_: object) -> Verdicts:
    return Verdicts({"web": OfService(service.fwmark, {"10.0.1.1": down()}, fallback)})


def weights(service: Service) -> dict[str, int]:
    return {real.endpoint: real.weight for real in service.reals}


@given(JUDGED)
def test_what_has_weight_0_keeps_that_and_nobody_comes(
    judged: tuple[Service, Verdicts],
) -> None:
    service, verdicts = judged
    stored, left = weights(service), weights(effective(service, verdicts))
    assert left.keys() <= stored.keys()
    assert all(left[endpoint] == 0 for endpoint in left if stored[endpoint] == 0)


@given(JUDGED)
def test_who_is_not_named_keeps_the_part_that_it_had(judged: tuple[Service, Verdicts]) -> None:
    service, verdicts = judged
    named = verdicts.services["web"].reals
    left = weights(effective(service, verdicts))
    whole = {e: w for e, w in weights(service).items() if e not in named}
    assert {e: left[e] for e in whole} in (whole, {e: w * WHOLE for e, w in whole.items()})


@given(JUDGED)
def test_without_verdicts_or_checks_nothing_changes(judged: tuple[Service, Verdicts]) -> None:
    service, verdicts = judged
    assert effective(service, NONE) == service
    unchecked = service._replace(checks=(), agent=None, feedback=Feedback.NO)
    assert effective(unchecked, verdicts) == unchecked
    other = service._replace(name="other", fwmark=2)
    assert effective(other, verdicts) == other


@given(JUDGED)
def test_a_service_in_ipvs_stays_however_few_work(judged: tuple[Service, Verdicts]) -> None:
    service, verdicts = judged
    stored, left = ipvs.desired([service]), ipvs.desired([service], verdicts)
    assert left.keys() == stored.keys()
    assert all(ipvs.settings(left[key]) == ipvs.settings(stored[key]) for key in left)


def test_a_failed_one_gets_nobody_and_a_removed_one_is_not_there() -> None:
    judged = {"10.0.1.1": down(), "10.0.1.2": down(present=False)}
    verdicts = Verdicts({"web": OfService(0x1000, judged)})
    assert weights(effective(WEB, verdicts)) == {"10.0.1.1": 0}
    assert not ipvs.desired([WEB._replace(reals=WEB.reals[1:])], verdicts)[Key(0x1000, 4)].dests


def test_a_part_of_a_weight() -> None:
    verdicts = Verdicts({"web": OfService(0x1000, {"10.0.1.2": Verdict(State.UP, share=5)})})
    assert weights(effective(WEB, verdicts)) == {"10.0.1.1": 300, "10.0.1.2": 5}
    by_number = WEB._replace(scheduler=Scheduler("ovf"))  # weights are numbers of connections
    assert effective(by_number, verdicts) == by_number


def test_the_fallback_serves_or_waits() -> None:
    service = WEB._replace(fallback=SORRY)
    assert effective(service, NONE) == service
    assert weights(effective(service, said(service)))["10.0.1.99"] == 0
    assert weights(effective(service, said(service, fallback=True)))["10.0.1.99"] == 1
    hashed = service._replace(scheduler=Scheduler("sh"))
    assert "10.0.1.99" not in weights(effective(hashed, said(hashed)))


def test_a_new_name_is_no_news() -> None:
    renamed, other = WEB._replace(name="shop"), WEB._replace(name="shop", fwmark=2)
    assert weights(effective(renamed, said(WEB))) == {"10.0.1.1": 0, "10.0.1.2": 1}
    assert effective(other, said(WEB)) == other


# the file


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of the one below /run."""
    monkeypatch.setattr(runtime, "DIRECTORY", f"{tmp_path}/run")
    return tmp_path / "run"


@given(JUDGED.map(lambda judged: judged[1]))
def test_what_is_written_is_read(verdicts: Verdicts) -> None:
    assert from_plain(json.loads(json.dumps(plain(verdicts)))) == verdicts


def test_the_file_is_private_and_replaced(run: Path) -> None:
    file.write("/a", said(WEB))
    file.write("/b", Verdicts({"web": OfService(1, {})}))
    assert file.read("/a") == said(WEB)
    (one, _) = sorted(run.iterdir())
    assert stat.S_IMODE(one.stat().st_mode) == 0o600
    assert stat.S_IMODE(run.stat().st_mode) == 0o700
    one.with_name(f"{one.name}.new").write_text("of one that was killed")
    file.write("/a", NONE)
    file.write("/b", NONE)
    assert (file.read("/a"), file.read("/b")) == (NONE, NONE)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"of": "another boot", "services": {}}', '{"services": 1, "of": 2}'],
)
def test_what_is_no_file_of_ours_says_nothing(run: Path, text: str) -> None:
    file.write("/a", said(WEB))
    Path(file.path("/a")).write_text(text)
    assert file.read("/a") == NONE


@pytest.mark.parametrize("share", [-1, 401, "5", None])
def test_a_share_that_is_none_says_nothing(run: Path, share: object) -> None:
    file.write("/a", said(WEB))
    where = Path(file.path("/a"))
    form = json.loads(where.read_text())
    form["services"]["web"]["reals"]["10.0.1.1"]["share"] = share
    where.write_text(json.dumps(form))
    assert file.read("/a") == NONE


def test_another_boot_has_no_verdicts(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write("/a", said(WEB))
    monkeypatch.setattr(file, "identity", lambda: "another")
    assert file.read("/a") == NONE


def test_nobody_else_may_write_there(run: Path) -> None:
    file.write("/a", said(WEB))
    Path(file.path("/a")).chmod(0o622)
    assert file.read("/a") == NONE
    run.chmod(0o777)
    with pytest.raises(Refused, match="can be written by others"):
        file.write("/a", said(WEB))
