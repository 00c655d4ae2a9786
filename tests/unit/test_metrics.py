"""The definitions of metrics, and the weights among them; tests/netns/test_metrics.py measures."""

import subprocess
import sys

import pytest

from tests.harness.guest import REPOSITORY
from vipctl.health.verdicts import OfService, State, Verdict, Verdicts, left
from vipctl.operate.metrics import METRICS, VALUES
from vipctl.services.checks import parse_checks
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.services.values import Scheduler

ONE, TWO = "10.0.1.11", "10.0.1.12"
WEB = Service("web", 17, reals=parse_reals([f"{ONE},weight=4", TWO]), checks=parse_checks(["tcp"]))


def test_the_page_is_of_now() -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "write-metrics"), "--print"]
    page = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "docs" / "metrics.md").read_text() == page


@pytest.mark.parametrize("name", METRICS)
def test_names_are_as_prometheus_has_them(name: str) -> None:
    """Counters alone end in _total; nothing counts milliseconds, kilobytes or percent."""
    assert name.endswith("_total") is METRICS[name].counter
    assert not {"ms", "milliseconds", "kb", "percent"} & set(name.split("_"))
    free = set(METRICS[name].labels) - VALUES.keys()
    assert free <= {
        *("service", "real", "check", "device"),
        *("version", "kernel", "module", "local_mark", "method", "scheduler", "forward"),
    }


@pytest.mark.parametrize(
    ("scheduler", "share", "expected"),
    [("wrr", 100, 4), ("wrr", 50, 2), ("wrr", 1, 0.04), ("wrr", 0, 0), ("rr", 50, 4), ("rr", 0, 0)],
)
def test_what_is_left_of_a_weight_is_in_its_unit(
    scheduler: str, share: int, expected: float
) -> None:
    service = WEB._replace(scheduler=Scheduler(scheduler))
    said = Verdicts({"web": OfService(17, {ONE: Verdict(State.UP, share=share)})})
    assert left(service, said) == {ONE: expected, TWO: 1}


def test_one_that_is_not_in_ipvs_has_none_left() -> None:
    said = Verdicts({"web": OfService(17, {ONE: Verdict(State.DOWN, share=0, present=False)})})
    assert left(WEB, said) == {ONE: 0, TWO: 1}
    assert left(WEB, Verdicts()) == {ONE: 4, TWO: 1}
