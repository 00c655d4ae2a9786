"""Alerts of examples/monitoring, by promtool: each fires for what it is for, and not otherwise."""

import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.netns.prometheus import promtool
from tests.netns.test_metrics import MONITORING
from vipctl.operate.metrics import METRICS

RULES = MONITORING / "alerts.yml"
REAL = 'service="web", real="10.0.1.11"'
# By alert: minutes until it fires at the latest; values that fire, and values that do not, if only
# as they are not so for long enough. One a minute, as promtool writes them: 0+2x3 is 0 2 4 6.
Series = dict[str, str]
CASES: dict[str, tuple[int, Series, Series]] = {
    "VipctlNotMeasured": (5, {}, {"vipctl_build_info{}": "1x30"}),
    "VipctlPartNotMeasured": (
        5,
        {'vipctl_part_success{part="ipvs"}': "0x30"},
        {'vipctl_part_success{part="ipvs"}': "1x5 0x20"},
    ),
    "VipctlFileOld": (
        6,
        {'node_textfile_mtime_seconds{file="/x/vipctl.prom"}': "0x30"},
        {'node_textfile_mtime_seconds{file="/x/vipctl.prom"}': "0+60x30"},
    ),
    "VipctlDrift": (2, {"vipctl_drift{}": "1x30"}, {"vipctl_drift{}": "0x2 1x20"}),
    "VipctlServiceDrift": (
        2,
        {'vipctl_service_drift{service="web"}': "1x30"},
        {'vipctl_service_drift{service="web"}': "0x2 1x20"},
    ),
    "VipctlInterrupted": (
        10, {"vipctl_interrupted{}": "1x30"}, {"vipctl_interrupted{}": "0x10 1x20"},
    ),
    "VipctlWatchDown": (
        2, {"vipctl_watch_up{}": "0x30"}, {"vipctl_watch_up{}": "1x2 0x20"},
    ),
    "VipctlHealsOften": (
        15,
        {"vipctl_watch_heals_total{}": "0+1x30"},
        {"vipctl_watch_heals_total{}": "7 7 7 8 8 8 8 9x30"},
    ),
    "VipctlUnfit": (
        1,
        {'vipctl_watch_fit{device="vipctl0"}': "0x30"},
        {'vipctl_watch_fit{device="vipctl0"}': "1x1 0x20"},
    ),
    "VipctlPassive": (60, {"vipctl_active{}": "0x90"}, {"vipctl_active{}": "1x60 0x30"}),
    "VipctlNobodyServes": (
        1,
        {f'vipctl_real_state{{{REAL}, state="up"}}': "0x30"},
        {
            f'vipctl_real_state{{{REAL}, state="up"}}': "0x30",
            f'vipctl_real_state{{{REAL}, state="unjudged"}}': "1x30",
        },
    ),
    "VipctlRealDown": (
        1,
        {f'vipctl_real_state{{{REAL}, state="down"}}': "1x30"},
        {f'vipctl_real_state{{{REAL}, state="down"}}': "0x1 1x20"},
    ),
    "VipctlFallback": (
        1,
        {'vipctl_service_fallback{service="web"}': "1x30"},
        {'vipctl_service_fallback{service="web"}': "0x1 1x20"},
    ),
    "VipctlSyncDown": (
        2,
        {'vipctl_sync_running{daemon="backup"}': "0x30"},
        {'vipctl_sync_running{daemon="backup"}': "1x2 0x20"},
    ),
    "VipctlSourcePortsUsedUp": (
        1,
        {
            f"vipctl_real_source_ports_used{{{REAL}}}": "60000x30",
            f"vipctl_real_source_ports{{{REAL}}}": "64512x30",
        },
        {
            f"vipctl_real_source_ports_used{{{REAL}}}": "50000x30",
            f"vipctl_real_source_ports{{{REAL}}}": "64512x30",
        },
    ),
    "VipctlVersionsDiffer": (
        24 * 60,
        {
            'vipctl_build_info{version="1", instance="a"}': "1x2000",
            'vipctl_build_info{version="2", instance="b"}': "1x2000",
        },
        {
            'vipctl_build_info{version="1", instance="a"}': "1x2000",
            'vipctl_build_info{version="1", instance="b"}': "1x2000",
        },
    ),
}  # fmt: skip


def rules() -> dict[str, dict[str, object]]:
    (group,) = YAML(typ="safe").load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def test_each_has_a_case_and_says_what_to_do() -> None:
    found = rules()
    assert found.keys() == CASES.keys()
    for rule in found.values():
        assert set(re.findall(r"vipctl_\w+", str(rule["expr"]))) <= METRICS.keys()
        assert rule["annotations"].keys() == {"summary", "action"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fires", [True, False], ids=["fires", "rests"])
def test_it_fires_for_what_it_is_for(tmp_path: Path, name: str, fires: bool) -> None:
    minutes, wrong, right = CASES[name]
    series = [{"series": key, "values": text} for key, text in (wrong if fires else right).items()]
    # ALERTS has what fires: its labels are not compared as those of `alert_rule_test` would be.
    query = f'count(ALERTS{{alertname="{name}", alertstate="firing"}}) or vector(0)'
    asked = {
        "expr": query,
        "eval_time": f"{minutes + 1}m",
        "exp_samples": [{"labels": "{}", "value": int(fires)}],
    }
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": [test]}))
    assert "SUCCESS" in promtool("test", "rules", str(file))
