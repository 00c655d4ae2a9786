"""`fwmark-iptables`: other people's rules, sets and counters; failures half-way; the lock."""

import fcntl
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.netns import snapshot
from tests.netns.addresses import RANGES
from tests.netns.iptables import ByIptables, ours, saved
from tests.netns.test_untouched import COMMANDS, FILE
from vipctl.errors import KernelError
from vipctl.linux.iptables import ipset, legacy
from vipctl.methods import fwmark_iptables
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Shape
from vipctl.services.seal import ABSENT
from vipctl.services.service import Service

# Nearly our names, rules before and after ours, policies, and counters that are not 0.
FOREIGN_RULES = """
*mangle
:PREROUTING ACCEPT [11:1100]
:INPUT ACCEPT [0:0]
:FORWARD DROP [7:700]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:VIPCTL2 - [0:0]
:vipctl - [0:0]
[5:500] -A PREROUTING -j VIPCTL2
[6:600] -A PREROUTING -i eth9 -m conntrack --ctstate INVALID -j DROP
[8:800] -A VIPCTL2 -s 192.0.2.7/32 -m comment --comment "one's own" -j MARK --set-xmark 0x63/0x63
[9:900] -A vipctl -m u32 --u32 "0x0=0x1" -j RETURN
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
[3:300] -A POSTROUTING -o eth9 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [21:2100]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:VIPCTLX - [0:0]
[1:100] -A INPUT -p tcp -m tcp --dport 2222 -m limit --limit 3/min -j VIPCTLX
[2:200] -A INPUT -m set --match-set theirs src -g VIPCTLX
[4:400] -A VIPCTLX -m hashlimit --hashlimit-upto 5/sec --hashlimit-name h -j ACCEPT
COMMIT
"""
FOREIGN_SETS = """
create theirs hash:net
add theirs 192.0.2.0/24
create vipctl hash:ip
create vipctl4x hash:net family inet skbinfo
create vipctl4_p hash:net family inet
"""
YAML = """
services:
  fwmark-21:
    method: fwmark-iptables
    ranges: [203.0.113.0/24, 2001:db8:1::/64]
    ping: true
  dns:
    method: fwmark-iptables
    ranges: [198.51.100.0/24]
    ports: [udp/53]
"""


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Vipctl:
    """vipctl on the director."""
    return ByIptables(net.director, tmp_path / "state")


@pytest.fixture
def _foreign(net: Lab) -> None:
    net.director.run(["ipset", "restore"], input=FOREIGN_SETS)
    net.director.run(["iptables-legacy-restore", "-w", "-c"], input=FOREIGN_RULES)
    six = FOREIGN_RULES.replace("192.0.2.7/32", "2001:db8::7/128").replace("theirs", "theirs6")
    net.director.run(["ipset", "create", "theirs6", "hash:net", "family", "inet6"])
    net.director.run(["ip6tables-legacy-restore", "-w", "-c"], input=six)
    net.director.ip("link set eth0 down", "link set eth1 down")  # nothing is to be counted


def _theirs(host: Namespace) -> list[str]:
    """Return their rules with counters, and their sets, in order."""
    lines = [
        line
        for tool in ("iptables-legacy-save", "ip6tables-legacy-save")
        for line in host.run([tool, "-c"]).stdout.splitlines()
    ]
    lines += host.run(["ipset", "save"]).stdout.splitlines()
    mine = re.compile(r"VIPCTL(-[A-Z]+|-OF-[0-9a-f]+)?( |$)|^(create|add) vipctl[46](_p\d+)? ")
    return [line for line in lines if line[:1] != "#" and not mine.search(line)]


@pytest.mark.usefixtures("_foreign")
def test_every_command_leaves_other_peoples_things_alone(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    file = tmp_path / "state.yaml"
    file.write_text(YAML)
    theirs, settings = _theirs(net.director), snapshot.sysctls(net.director)
    assert len(theirs) > 50
    everything = snapshot.kernel(net.director)
    for command in COMMANDS:
        done = vipctl.text(*command.replace(FILE, str(file)).split())
        assert done.code == (5 if "add-real" in command else 0), done
        assert _theirs(net.director) == theirs, command
    assert snapshot.kernel(net.director) == everything
    assert snapshot.sysctls(net.director) == settings


@pytest.mark.usefixtures("_foreign")
def test_ours_comes_after_theirs_in_mangle_and_first_in_input(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--ping")
    for tool in ("iptables-legacy", "ip6tables-legacy"):
        marking = net.director.run(
            [tool, "-w", "-t", "mangle", "-S", "PREROUTING"]
        ).stdout.splitlines()
        refusing = net.director.run([tool, "-w", "-S", "INPUT"]).stdout.splitlines()
        assert marking[-1] == "-A PREROUTING -j VIPCTL"
        assert refusing[1] == "-A INPUT -j VIPCTL"


@pytest.mark.usefixtures("_foreign")
def test_changes_of_others_during_ours_are_kept(net: Lab, vipctl: Vipctl) -> None:
    """They hold the lock, as we do: 100 rules of theirs meanwhile."""

    def add() -> None:
        for number in range(100):
            rule = f"-w 20 -t mangle -A FORWARD -s 10.9.0.{number} -j ACCEPT"
            net.director.run(["iptables-legacy", "-w", *rule.split()])

    other = threading.Thread(target=add)
    other.start()
    while other.is_alive():
        vipctl("add-range", RANGES[0], "--fwmark", "17", "--port", "tcp/80")
        vipctl("remove-service", "fwmark-17")
    other.join()
    assert saved(net.director).count("-A FORWARD -s 10.9.0.") == 100


@pytest.fixture
def _held() -> Iterator[None]:
    """Somebody else has the lock."""
    with legacy.LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.usefixtures("_held")
def test_who_holds_the_lock_for_long_is_looked_for(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sets and rules that are there by then go again."""
    monkeypatch.setattr(legacy, "PATIENCE", 0.2)
    before = snapshot.kernel(net.director)
    code, error = vipctl.error("add-range", *RANGES, "--fwmark", "17")
    assert (code, error["kind"]) == (4, "kernel")
    assert "xtables.lock" in error["message"]
    assert "fuser" in error["hint"]
    assert ours(net.director) == []
    assert snapshot.kernel(net.director) == before


def test_the_lock_is_waited_for(net: Lab, vipctl: Vipctl) -> None:
    with legacy.LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        began = time.monotonic()
        threading.Timer(1, lock.close).start()
        assert vipctl("add-range", *RANGES, "--fwmark", "17")["changed"] is True
        assert time.monotonic() - began > 0.9
    iptables = ["iptables-legacy", "-w", "1", "-t", "mangle", "-S"]
    assert "VIPCTL" in net.director.run(iptables).stdout, "it is free again"


FULL = 8
NINE = [f"192.0.2.{2 * number}" for number in range(FULL + 1)]


@pytest.mark.parametrize("held", [[], ["203.0.113.7"]])
def test_a_set_that_is_full_half_way_leaves_all_as_it_was(
    net: Lab, vipctl: Vipctl, monkeypatch: pytest.MonkeyPatch, held: list[str]
) -> None:
    monkeypatch.setattr(ipset, "MAX_ELEMENTS", FULL)
    if held:
        vipctl("add-range", *held, "--fwmark", "17")
    before = _sets_and_rules(net), snapshot.kernel(net.director), vipctl("export")
    code, error = vipctl.error("add-range", *NINE, "--fwmark", "18", "--port", "udp/9")
    assert (code, error["kind"]) == (4, "kernel")
    assert "Hash is full" in error["message"]
    assert (_sets_and_rules(net), snapshot.kernel(net.director), vipctl("export")) == before
    assert vipctl("status")["kernel"] == "as stored"


def _sets_and_rules(net: Lab) -> list[str]:
    lines = (line.partition(" initval")[0] for line in saved(net.director).splitlines())
    return sorted(line for line in lines if not line.startswith(("#", ":", "*", "COMMIT")))


@pytest.mark.parametrize("count", [3, FULL + 1])
def test_loading_fails_whole(net: Lab, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The old set goes on, and no half-filled one is left."""
    monkeypatch.setattr(ipset, "MAX_ELEMENTS", FULL)
    shape = Shape(4, 0, 32)
    acceptance = Acceptance((Service("fwmark-17", 17),), frozenset({shape}))
    old: Batch = {(shape, 17): bytes([0, 0, 0, 7])}
    new: Batch = {(shape, 17): b"".join(bytes([192, 0, 0, 2 * n]) for n in range(count))}
    with net.director:
        fwmark_iptables.load(acceptance, old)
        if count > FULL:
            with pytest.raises(KernelError, match="Hash is full"):
                fwmark_iptables.load(acceptance, new)
            new = old
        else:
            fwmark_iptables.load(acceptance, new)
        assert fwmark_iptables.holds(acceptance, new, "")
        assert ipset.names() == ["vipctl4"]
        fwmark_iptables.load(Acceptance((), frozenset()), {})
        assert fwmark_iptables.seal(Acceptance((), frozenset())) == ABSENT
    assert ours(net.director) == []


def test_somebody_elses_rule_into_our_set_is_named(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", RANGES[0], "--fwmark", "17")
    rule = "-A FORWARD -m set --match-set vipctl4 dst -j ACCEPT"
    net.director.run(["iptables-legacy", "-w", *rule.split()])
    code, error = vipctl.error("remove-service", "fwmark-17")
    assert (code, error["kind"]) == (4, "kernel")
    assert "in use" in error["message"]
    assert vipctl("status")["kernel"] == "as stored"


def test_rules_of_iptables_nft_are_told_of(net: Lab, vipctl: Vipctl) -> None:
    def warnings() -> str:
        return json.dumps(vipctl("add-range", RANGES[0], "--fwmark", "17")["warnings"])

    net.director.run(["iptables-nft", "-A", "INPUT", "-s", "192.0.2.9", "-j", "DROP"])
    assert "neither tool shows the other's" in warnings()
    vipctl("remove-service", "fwmark-17")
    net.director.run(["nft", "flush", "ruleset"])
    with net.director:
        assert not any("neither" in note for note in fwmark_iptables.probe())


def test_probing_changes_nothing(net: Lab) -> None:
    before = snapshot.kernel(net.director), saved(net.director).count("\n*")
    with net.director:
        fwmark_iptables.probe()
    assert (snapshot.kernel(net.director), saved(net.director).count("\n*")) == before


def test_looking_at_nothing_needs_no_python_iptables(net: Lab) -> None:
    """It is slow to import; and a director that accepts otherwise may not have it."""
    script = (
        "import sys; from vipctl.methods import fwmark_iptables as m;"
        "from vipctl.services.change import Acceptance; nothing = Acceptance((), frozenset());"
        "m.probe(); m.load(nothing, ()); assert not m.seal(nothing).digest;"
        "assert 'iptc' not in sys.modules"
    )

    done = subprocess.run(
        ["ip", "netns", "exec", net.director.name, sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
