"""Metrics: printed, in a file, and as `watch` answers Prometheus. Those of IPVS: tests/vm."""

import json
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.guest import REPOSITORY
from tests.harness.lab import Lab
from tests.harness.waiting import wait_until
from tests.netns import processes
from tests.netns.prometheus import GET, prometheus
from tests.netns.test_health import balanced, director, serving  # noqa: F401 - fixtures
from tests.netns.test_watch import watching
from vipctl.operate.metrics import METRICS, PARTS
from vipctl.state.store import Store

PORT = 9817
MONITORING = REPOSITORY / "examples" / "monitoring"

Metrics = dict[str, float]  # by name and labels, as they are printed


def parsed(text: str) -> Metrics:
    lines = text.strip().splitlines()
    found = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in found}


def measured(vipctl: Vipctl) -> Metrics:
    done = vipctl.text("metrics")
    assert (done.code, done.stderr) == (0, "")
    return parsed(done.stdout)


def scraped(vipctl: Vipctl, url: str = f"http://127.0.0.1:{PORT}/metrics") -> str:
    return vipctl.host.run(["python3", "-c", GET, url]).stdout


def test_what_is_stored_and_what_the_kernel_has(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "2001:db8::/64", "--fwmark", "17")
    vipctl("add-range", "192.0.2.7", "--fwmark", "18")
    found = measured(vipctl)
    one = '{service="fwmark-17"}'
    assert found[f"vipctl_service_prefixes{one}"] == 2
    assert found[f"vipctl_service_addresses{one}"] == float(2**64 + 256)
    assert {found[f'vipctl_part_success{{part="{part}"}}'] for part in PARTS} == {1}
    info = 'forward="",local_mark="00000011",method="fwmark",scheduler="",service="fwmark-17"'
    assert found[f"vipctl_service_info{{{info}}}"] == 1
    assert (found["vipctl_drift"], found[f"vipctl_service_drift{one}"]) == (0, 0)
    assert (found["vipctl_watch_up"], found["vipctl_interrupted"]) == (0, 0)
    net.director.run(["nft", "flush", "ruleset"])
    found = measured(vipctl)
    assert (found["vipctl_drift"], found[f"vipctl_service_drift{one}"]) == (1, 1)
    vipctl("restore")
    assert measured(vipctl)["vipctl_drift"] == 0


def test_the_role(vipctl: Vipctl) -> None:
    for mark in ("17", "18"):
        vipctl("add-range", f"192.0.2.{mark}", "--fwmark", mark)
    names = ("vipctl_active", *(f'vipctl_service_active{{service="fwmark-{m}"}}' for m in (17, 18)))

    def roles() -> list[float]:
        found = measured(vipctl)
        return [found[name] for name in names]

    assert roles() == [1, 1, 1]
    vipctl("deactivate", "--service", "fwmark-17")
    assert roles() == [1, 0, 1]
    vipctl("deactivate")
    assert roles() == [0, 0, 0]


def test_a_state_of_another_boot_is_drift(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    there = Vipctl(net.client, vipctl.state_dir)
    found = measured(there)
    assert found["vipctl_drift"] == found['vipctl_service_drift{service="fwmark-17"}'] == 1


@pytest.mark.parametrize("harm", ["of others", "of another version"])
def test_what_cannot_be_read_is_said(net: Lab, vipctl: Vipctl, harm: str) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    if harm == "of another version":
        with net.director, Store.open(vipctl.state_dir) as store:
            store._db.execute("""UPDATE service SET spec = '{"fwmark": 17, "method": "magic"}'""")
    else:
        vipctl.state_dir.chmod(0o777)
    found = measured(vipctl)
    read = {part for part in PARTS if found[f'vipctl_part_success{{part="{part}"}}']}
    assert read == {"watch"}
    assert "vipctl_drift" not in found


def test_an_interrupted_command_shows(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    with net.director, Store.open(vipctl.state_dir) as store:
        store._set_meta("intent", "[17]")
    found = measured(vipctl)
    assert (found["vipctl_interrupted"], found["vipctl_drift"]) == (1, 1)


def test_the_file_is_replaced_at_once(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    file = tmp_path / "vipctl.prom"
    file.write_text("old")
    with file.open() as before:
        done = vipctl.text("metrics", "--textfile", str(file))
        assert (done.code, done.stdout) == (0, "")
        assert before.read() == "old"
    assert parsed(file.read_text())["vipctl_drift"] == 0
    assert [one.name for one in tmp_path.iterdir() if "prom" in one.name] == ["vipctl.prom"]
    code, error = vipctl.error("metrics", "--textfile", str(tmp_path / "none" / "vipctl.prom"))
    assert (code, error["kind"]) == (5, "missing")


def test_promtool_finds_no_fault(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    text = vipctl.text("metrics").stdout
    lint = ["promtool", "check", "metrics"]
    done = subprocess.run(lint, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def checked(balanced: Lab, director: Vipctl, tmp_path: Path) -> Iterator[Vipctl]:  # noqa: F811
    """Two services whose real servers are asked: one answers, one does not; this has no IPVS."""
    metrics = ("--metrics", f":{PORT}", "--alive", "vipctl0")
    with serving(balanced, 1), watching(director, tmp_path / "log", command=metrics):
        down = 'vipctl_real_state{real="10.0.1.11",service="web",state="down"}'
        wait_until(lambda: parsed(scraped(director)).get(down) == 1, "it is down")
        yield director


def test_what_checks_say(checked: Vipctl) -> None:
    found = parsed(scraped(checked))
    down, up = (f'{{real="10.0.1.{n}",service="web"}}' for n in (11, 12))
    check = 'check="tcp:80,every=0.2s,fall=2"'
    assert found[f"vipctl_real_effective_weight{down}"] == 0
    assert found[f"vipctl_real_effective_weight{up}"] == 1
    assert found[f"vipctl_real_weight{down}"] == found[f"vipctl_real_weight{up}"] == 1
    assert found[f"vipctl_check_passed{{{check},{down[1:]}"] == 0
    assert found[f"vipctl_check_passed{{{check},{up[1:]}"] == 1
    since = found[f"vipctl_check_timestamp_seconds{{{check},{down[1:]}"]
    assert time.time() - 60 < since <= time.time() + 1
    states = [v for k, v in found.items() if k.startswith("vipctl_real_state{") and down[1:-1] in k]
    assert sorted(states) == [0, 0, 0, 1]
    assert found["vipctl_watch_up"] == 1
    assert found['vipctl_watch_fit{device="vipctl0"}'] == 0
    assert found['vipctl_part_success{part="ipvs"}'] == 0, "this kernel has none"


def test_there_are_no_more_series_than_the_page_says(checked: Vipctl) -> None:
    """Each has two real servers with one check."""
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    numbers = re.search(r"At most (\d+) of the .*, (\d+) of each .*, (\d+) of .*, (\d+) of", page)
    assert numbers
    director, service, real, check = map(int, numbers.groups())  # noqa: F811
    found = parsed(scraped(checked))
    assert len(found) <= director + 2 * (service + 2 * (real + check))
    assert {name.partition("{")[0] for name in found} <= METRICS.keys()


def test_heals_are_counted(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    with watching(vipctl, tmp_path / "log", command=("--metrics", f":{PORT}")) as daemon:
        found = parsed(scraped(vipctl))
        assert found["vipctl_watch_heals_total"] == 0
        assert "vipctl_watch_last_heal_timestamp_seconds" not in found
        net.director.run(["nft", "flush", "ruleset"])
        daemon.wait_for("put back")
        found = parsed(scraped(vipctl))
        assert found["vipctl_watch_heals_total"] == 1
        assert time.time() - 60 < found["vipctl_watch_last_heal_timestamp_seconds"] <= time.time()
        assert found["vipctl_watch_start_time_seconds"] <= time.time()
        assert daemon.stop() == 0
        assert [line for line in daemon.said() if "GET" in line] == []


def reaches(net: Lab, address: str) -> bool:
    argv = ["python3", "-c", GET, f"http://{address}:{PORT}/"]
    return net.client.run(argv, check=False).returncode == 0


@pytest.mark.parametrize(
    ("listener", "reached"), [(None, False), (f":{PORT}", False), (f"10.0.0.1:{PORT}", True)]
)
def test_it_answers_where_it_is_told_to(
    net: Lab, vipctl: Vipctl, tmp_path: Path, listener: str | None, reached: bool
) -> None:
    words = ("--metrics", listener) if listener else ()
    with watching(vipctl, tmp_path / "log", command=words):
        assert reaches(net, "10.0.0.1") is reached
        ours = [line for line in net.director.run(["ss", "-lntH"]).stdout.splitlines() if line]
        assert len(ours) == (listener is not None)


def test_ipv6(vipctl: Vipctl, tmp_path: Path) -> None:
    with watching(vipctl, tmp_path / "log", command=("--metrics", f"[::1]:{PORT}")):
        assert "vipctl_drift 0.0" in scraped(vipctl, f"http://[::1]:{PORT}/metrics")


@pytest.mark.parametrize(
    ("listener", "code", "said"),
    [
        ("9817", 2, "[ADDR]:PORT"),
        ("::1:9817", 2, "[ADDR]:PORT"),
        (":0", 2, "port"),
        ("192.0.2.1:9817", 5, "cannot answer Prometheus at 192.0.2.1:9817"),
    ],
)
def test_where_it_cannot(vipctl: Vipctl, listener: str, code: int, said: str) -> None:
    done, printed = processes.run(vipctl, "watch", "--metrics", listener)
    assert (done, said in printed["error"]["message"] + printed["error"]["hint"]) == (code, True)


def test_scrapes_do_not_hold_the_daemon_up(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """Not those that ask for much at once, nor those that never ask."""
    for n in range(60):
        vipctl("add-range", f"192.0.2.{n}", "--fwmark", str(n + 1))
    url = f"http://127.0.0.1:{PORT}/"
    with watching(vipctl, tmp_path / "log", command=("--metrics", f":{PORT}")) as daemon:
        with net.director:
            idle = [socket.create_connection(("127.0.0.1", PORT)) for _ in range(20)]
        with ThreadPoolExecutor(5) as pool:
            busy = [pool.submit(scraped, vipctl, url) for _ in range(20)]
            delays = [answering(vipctl) for _ in range(20)]
            net.director.run(["nft", "flush", "ruleset"])
            daemon.wait_for("put back")
            assert all("vipctl_drift" in one.result() for one in busy)
        for one in idle:
            one.close()
    assert statistics.median(delays) < 0.5


def answering(vipctl: Vipctl) -> float:
    """Seconds that the daemon's loop takes to answer."""
    from vipctl.state import runtime

    begun = time.monotonic()
    with vipctl.host:
        assert runtime.ask(runtime.WATCH)
    return time.monotonic() - begun


def test_vips_cost_nothing(net: Lab, tmp_path: Path) -> None:
    """Counted in bytes that are read, from the kernel and the database."""
    costs = []
    for number in (1, 50_000):
        vipctl = Vipctl(net.director, tmp_path / str(number))
        lines = (f"10.{n >> 15 & 255}.{n >> 7 & 255}.{n * 2 & 255}\n" for n in range(number))
        (tmp_path / f"{number}.txt").write_text("".join(lines))
        vipctl("add-range", f"@{tmp_path / f'{number}.txt'}", "--fwmark", "17")
        file = tmp_path / f"{number}.trace"
        trace = ["strace", "-f", "-qq", "-o", str(file), "-e", "trace=recvfrom,recvmsg,pread64"]
        argv = [*vipctl.argv, "metrics"]
        printed = net.director.run([*trace, *argv]).stdout
        assert parsed(printed)['vipctl_service_prefixes{service="fwmark-17"}'] == number
        calls = file.read_text().splitlines()
        results = (line.rpartition("= ")[2].split()[0] for line in calls if "= " in line)
        costs.append(sum(map(int, results)))
        vipctl("remove-service", "fwmark-17")
    few, many = costs
    assert many < few + 100_000, costs


def test_prometheus_reads_them_and_the_dashboard_shows_them(
    checked: Vipctl, tmp_path: Path
) -> None:
    """A query without an answer is of what this kernel does not count."""
    there = {name.partition("{")[0] for name in parsed(scraped(checked))}
    with prometheus(checked.host, f"127.0.0.1:{PORT}", tmp_path / "prometheus") as ask:
        (drift,) = ask("vipctl_drift")
        assert drift["metric"]["instance"] == f"127.0.0.1:{PORT}"
        kinds = {name for name in METRICS if ask(f"count({name})")}
        assert kinds == there
        shown = set[str]()
        for query in queries():
            named = set(re.findall(r"vipctl_\w+", query))
            assert named <= METRICS.keys()
            assert bool(ask(query)) or not named <= there, query
            shown |= named
    unshown = {"vipctl_build_info", "vipctl_interrupted", "vipctl_drift"}
    assert {"vipctl_real_effective_weight", "vipctl_check_passed"} <= shown & there
    assert unshown - shown == {"vipctl_build_info", "vipctl_interrupted"}


def queries() -> list[str]:
    """Those of the dashboard, as Grafana sends them."""
    dashboard: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {one["name"] for one in dashboard["templating"]["list"]}
    for name, value in (("instance", ".*"), ("service", ".*"), ("__rate_interval", "1m")):
        assert name in {*names, "__rate_interval"}
        found = [query.replace(f"${name}", value) for query in found]
    assert not [query for query in found if "$" in query]
    return found


def test_the_command_imports_the_library_alone(vipctl: Vipctl) -> None:
    """Others do without it, and so does `watch` without --metrics."""
    script = "import sys, vipctl.cli, vipctl.watch.daemon; print(*sys.modules)"
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "prometheus_client" not in done.stdout.split()
