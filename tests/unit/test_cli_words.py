"""Any words at all get an answer of the agreed form; and quickly, where no library is needed."""

import json
import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vipctl
from tests.harness.netns import Namespace
from tests.unit.checked import Vipctl
from tests.unit.committing import commit
from vipctl.addresses.prefixes import from_spans, parse_range
from vipctl.cli.base import group
from vipctl.services import planner
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Port
from vipctl.state.store import Store

SOURCE = Path(vipctl.__file__).parents[1]
HEAVY = ("pyroute2", "pydantic", "ruamel", "nftables")

CONTEXT = click.Context(group)
COMMANDS = {  # but for the one that runs until it is stopped
    name: group.get_command(CONTEXT, name)
    for name in group.list_commands(CONTEXT)
    if name != "watch"
}
WORDS = st.sampled_from(
    [
        *COMMANDS,
        *(
            word
            for command in COMMANDS.values()
            if command
            for p in command.params
            for word in p.opts
        ),
        *("web", "dns", "fwmark-17", "203.0.113.0/24", "2001:db8::/64", "10.0.1.11,weight=2"),
        *("192.0.2.7", "203.0.113.1-203.0.113.9", "10.0.1.11", "fd00:1::11", "sh", "sh,fallback"),
        *("17", "0", "tcp/80", "wrr", "dr", "nat", "@/dev/null", "@/etc/hostname", "-", "--", ""),
    ]
)
JUNK = st.binary(max_size=12).map(lambda b: os.fsdecode(b.replace(b"\0", b"")))
SOME = st.lists(WORDS | JUNK, max_size=6)
LIKELY = st.tuples(st.sampled_from(sorted(COMMANDS)), SOME).map(lambda t: [t[0], *t[1]])
FINDING = {"diff", "doctor", "explain", "status"}  # exit with 3 if there is something
NO_ANSWER = {"-h", "--help", "--version", "-v", "--verbose"}  # these print more than an answer


@pytest.fixture
def state(host: Namespace, tmp_path: Path) -> None:
    """Two services that share VIPs, one of both families, one of acceptance only."""
    real = RealServer(ip_address("10.0.1.11"))
    shared = parse_range("203.0.113.0/24")
    with host, Store.open(tmp_path / "state") as store:
        for service, ranges in [
            (Service("web", 0x1000, ports=(Port("tcp", 80),), reals=(real,)), [shared]),
            (
                Service("dns", 0x1001, ports=(Port("udp", 53),)),
                [shared, parse_range("2001:db8::1")],
            ),
            (Service("fwmark-17", 17), [parse_range("192.0.2.0/24")]),
        ]:
            commit(store, planner.take(store, None, service, from_spans(ranges)))


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(words=SOME | LIKELY, as_json=st.booleans())
@pytest.mark.usefixtures("state")
def test_any_words_get_an_answer(vipctl_check: Vipctl, words: list[str], as_json: bool) -> None:
    words = [word for word in words if word not in NO_ANSWER]
    done = vipctl_check(*(["--json"] if as_json else []), *words)
    assert done.code in (0, 2, 3, 5)  # `restore` misses IPVS
    assert "Traceback" not in done.stdout + done.stderr
    failed = "error" in json.loads(done.stdout) if as_json else done.stderr.startswith("error: ")
    found = done.code == 3 and not FINDING.isdisjoint(words)
    assert failed == (done.code != 0) or found


def python(*words: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own with vipctl."""
    argv = [sys.executable, *words]
    return subprocess.run(argv, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=60)


def test_a_process_answers_like_a_call(tmp_path: Path) -> None:
    done = python("-m", "vipctl", "--json", "--state-dir", str(tmp_path / "s"), "add-range", "x")
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["error"]["kind"] == "usage"


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_what_needs_no_library_loads_none(word: str) -> None:
    done = python("-X", "importtime", "-m", "vipctl", word)
    assert done.returncode == 0
    modules = (line.rpartition("|")[2].strip() for line in done.stderr.splitlines())
    loaded = {module.partition(".")[0] for module in modules}
    assert "click" in loaded
    assert loaded.isdisjoint(HEAVY)
