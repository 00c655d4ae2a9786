"""Health checks through a VIP: a real server that does not have the VIP is found."""

import asyncio
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.harness import module
from tests.harness.cgroups import starved
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import execute
from tests.harness.waiting import wait_until
from tests.vm.conftest import OWNED, served_lab, traceless
from tests.vm.observe import ipvs
from tests.vm.test_health import PATIENCE, watching
from vipctl.health.judging import Question
from vipctl.health.verdicts import State
from vipctl.operate import checking
from vipctl.probing import probe
from vipctl.services.checks import Answer, Target, parse_check
from vipctl.services.marks import CHECK_VALUE
from vipctl.state import verdicts
from vipctl.state.store import Store

CHECKS = [
    *("--check=tcp:80,every=5s,timeout=5s", "--check=http:/,port=80,every=5s,timeout=5s"),
    "--check=udp:53,send=00,every=5s,timeout=5s",
]
REALS = [f"--real={rip}" for rip in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]
BOTH = [f"--real={rip},family=both" for rip in ("10.0.1.11", "10.0.1.12")]
ENDPOINTS = [real.removeprefix("--real=") for real in REALS]
SECOND = ("10.0.1.12", "fd00:1::12")  # real2
OFTEN = "every=1s,timeout=1s,fall=2,rise=2"
STRICT, CURE = "net.ipv4.conf.all.rp_filter", "sysctl -w net/ipv4/conf/eth1/rp_filter=2"
WEB = ("add-range", *OWNED, "--service=web", "--scheduler=rr")
STATEFUL = """table ip wall { chain input { type filter hook input priority 0; policy drop
  ct state established,related accept
}
}
"""
Answers = dict[tuple[str, str, int], Answer]  # by real server, kind, IP version of the VIP


@pytest.fixture(scope="module")
def far() -> Iterator[Lab]:
    """Real servers that have the VIPs, and take packets out of tunnels."""
    execute(["modprobe", "--all", "ipip", "sit", "ip6_tunnel"])
    routes = "route add default via 10.0.0.2", "route add ::/0 via fd00::2"
    with module.loaded(), served_lab(lambda director: director.ip(*routes)) as built:
        for index, real in enumerate(built.reals):
            built.accept_vips(real, *OWNED)
            own4, own6 = built.real4(index), built.real6(index)
            real.ip(
                f"link add ipip1 type ipip local {own4}",
                f"link add sit1 type sit local {own4}",
                f"link add ip6tnl1 type ip6tnl mode any local {own6}",
                *(f"link set {device} up" for device in ("ipip1", "sit1", "ip6tnl1")),
            )
        yield built


@pytest.fixture
def vipctl(far: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    with traceless(far.director, tmp_path) as command:
        yield command


def asked(vipctl: Vipctl) -> Answers:
    """What comes of all checks, each asked once, at the same time."""

    async def ask(found: list[Question]) -> list[Answer]:
        return await asyncio.gather(*(probe(q.target, q.check) for q in found if q.target))

    with vipctl.host, Store.read(vipctl.state_dir) as store:
        questions = checking.asked(store)
        found = asyncio.run(ask(questions))
    return {
        (str(q.real.address), q.check.kind, q.target.address.version): answer
        for q, answer in zip(questions, found, strict=True)
        if q.target
    }


def targets(vipctl: Vipctl) -> list[Target]:
    with vipctl.host, Store.read(vipctl.state_dir) as store:
        return [question.target for question in checking.asked(store) if question.target]


def answers(vipctl: Vipctl, asked: list[Target], timeout: str = "5s") -> list[Answer]:
    """What each accepts, all asked at the same time."""
    check = parse_check(f"tcp,every={timeout},timeout={timeout}")

    async def ask() -> list[Answer]:
        return await asyncio.gather(*(probe(target, check) for target in asked))

    with vipctl.host:
        return asyncio.run(ask())


def failing(found: Answers) -> set[tuple[str, int]]:
    """The real servers of which all checks fail, others' having passed; by version of the VIP."""
    failed = {(rip, version) for (rip, _, version), answer in found.items() if not answer.passed}
    for (rip, kind, version), answer in found.items():
        assert answer.passed is ((rip, version) not in failed), (rip, kind, version, answer)
    return failed


def lose_vips(net: Lab, verb: str = "del") -> None:
    net.reals[1].ip(*(f"route {verb} local {prefix} dev lo" for prefix in OWNED))


@pytest.mark.parametrize(
    ("method", "forward", "reals"),
    [("fwmark", "dr", REALS), ("fwmark", "tun", REALS), ("shim", "tun", BOTH)],
)
def test_a_real_server_that_lost_its_vip(
    far: Lab, vipctl: Vipctl, method: str, forward: str, reals: list[str]
) -> None:
    vipctl(*WEB, f"--forward={forward}", f"--method={method}", *reals, *CHECKS)
    before = ipvs(far.director)
    second = {("10.0.1.12", 4), ("10.0.1.12" if reals == BOTH else "fd00:1::12", 6)}
    assert failing(asked(vipctl)) == set()
    lose_vips(far)
    found = asked(vipctl)
    lose_vips(far, "add")
    assert failing(found) == second
    assert found["10.0.1.12", "tcp", 4].why == "no connection to 203.0.113.0:80 within 5s"
    assert failing(asked(vipctl)) == set()
    assert len(ipvs(far.director) - before) == 2 * 4  # a service and its real server
    vipctl("set-service", "web", "--check-via=rip")
    assert ipvs(far.director) == before


def test_nat_needs_no_vip(far: Lab, vipctl: Vipctl) -> None:
    vipctl(*WEB, *REALS, *CHECKS[:2], "--check-via=vip")
    lose_vips(far)
    found = asked(vipctl)
    lose_vips(far, "add")
    assert failing(found) == set()


def test_vips_that_are_the_directors(far: Lab, vipctl: Vipctl) -> None:
    """IPv4 is refused with dr and tun; nothing validates sources of IPv6."""
    words = [*WEB, "--method=route", "--forward=dr", *CHECKS]
    code, error = vipctl.error(*words, *REALS)
    assert code == 3
    assert "checks through a VIP would always fail" in error["message"]
    vipctl(*words, *REALS[2:])
    assert failing(asked(vipctl)) == set()
    lose_vips(far)
    found = asked(vipctl)
    lose_vips(far, "add")
    assert failing(found) == {("fd00:1::12", 6)}
    vipctl("remove-service", "web")
    vipctl(*WEB, "--method=route", *REALS, *CHECKS[:2], "--check-via=vip")
    assert failing(asked(vipctl)) == set()


def test_strict_source_validation_is_no_failure(far: Lab, vipctl: Vipctl) -> None:
    far.director.sysctl(STRICT, 1)
    try:
        warned = vipctl(*WEB, "--forward=dr", *REALS, *CHECKS)["warnings"]
        found = asked(vipctl)
        seen = vipctl("status")["findings"]
        via_rip = vipctl("set-service", "web", "--check-via=rip")["warnings"]
    finally:
        far.director.sysctl(STRICT, 0)
    assert len([words for words in warned if CURE in words]) == 1
    assert len([words for words in seen if CURE in words]) == 1
    assert not [words for words in via_rip if CURE in words]
    for (_, kind, version), answer in found.items():
        assert answer.passed is (None if version == 4 else True), (kind, answer)
        assert version == 6 or CURE in answer.why


def test_a_firewall_that_lets_in_what_it_knows(far: Lab, vipctl: Vipctl) -> None:
    """IPVS's connections are not tracked with dr, so the ports of the checks must be let in."""
    vipctl(*WEB, "--method=fwmark", "--forward=dr", *REALS[:2], *CHECKS[:2])
    far.director.run(["nft", "-f", "-"], input=STATEFUL)
    try:
        walled = asked(vipctl)
        rule = ["ip", "wall", "input", "tcp", "sport", "80", "tcp", "dport", "61000-65095"]
        far.director.run(["nft", "add", "rule", *rule, "accept"])
        found = asked(vipctl)
    finally:
        far.director.run(["nft", "delete", "table", "ip", "wall"])
    assert {answer.passed for answer in walled.values()} == {False}
    assert failing(found) == set()


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_what_the_daemon_makes_of_it(
    far: Lab, vipctl: Vipctl, tmp_path: Path, forward: str
) -> None:
    """Who lost the VIPs goes and comes back; doubts and a busy processor take nobody away."""
    vipctl(*WEB, f"--forward={forward}", *REALS, f"--check=http:/,port=80,{OFTEN}")
    log = tmp_path / "log"
    with watching(vipctl, log) as process:
        wait_for_states(vipctl, {})
        lose_vips(far)
        wait_for_states(vipctl, dict.fromkeys(SECOND, State.DOWN))
        lose_vips(far, "add")
        wait_for_states(vipctl, {})
        with starved(process.pid, 5):
            time.sleep(10)
        assert not changed(vipctl)
        if forward == "dr":
            far.director.sysctl(STRICT, 1)
            wait_until(lambda: log.read_text().count(CURE) == 2, "it says why", PATIENCE)
            time.sleep(5)
            assert not changed(vipctl)
            far.director.sysctl(STRICT, 0)
            wait_until(lambda: "tells again" in log.read_text(), "it tells again", PATIENCE)
    said = log.read_text()
    for rip in SECOND:
        assert said.count(f"real server {rip} is down") == 1
    assert said.count(" is down") == len(SECOND)


def changed(vipctl: Vipctl) -> dict[str, State]:
    """The real servers that are not up."""
    with vipctl.host:
        found = verdicts.read(vipctl.state_dir).services.get("web")
    reals = found.reals if found else {}
    states = {rip: reals[rip].state if rip in reals else State.NEW for rip in ENDPOINTS}
    return {rip: state for rip, state in states.items() if state is not State.UP}


def wait_for_states(vipctl: Vipctl, wanted: dict[str, State]) -> None:
    """Until all are up, but for these."""
    wait_until(lambda: changed(vipctl) == wanted, f"others than up: {wanted}", PATIENCE)


def test_what_ipvs_has_for_checks(far: Lab, vipctl: Vipctl) -> None:
    """It is found again by whoever comes next, others' stays, and it goes with the checks."""
    director = far.director
    theirs = f"-A -f {CHECK_VALUE + 1} -s rr\n-a -f {CHECK_VALUE + 1} -r 192.0.2.1:0 -g -w 1\n"
    director.run(["ipvsadm", "-R"], input=theirs)
    foreign = ipvs(director)
    try:
        vipctl(*WEB, "--forward=dr", *REALS, *CHECKS[:1])
        without = ipvs(director)
        marks = [target.mark for target in targets(vipctl)]
        assert marks == [CHECK_VALUE + n for n in (0, 2, 3, 4)]
        made = ipvs(director)
        assert [target.mark for target in targets(vipctl)] == marks
        assert ipvs(director) == made
        assert not vipctl("restore")["changed"]
        assert ipvs(director) == made
        director.run(["ipvsadm", "-D", "-f", str(marks[0])])
        first = Target(ip_address("203.0.113.0"), 80, marks[0], ip_address("10.0.1.11"))
        (lost,) = answers(vipctl, [first])
        assert lost.passed is None
        assert f"IPVS has no service of fwmark {marks[0]:#x}" in lost.why
        assert failing(asked(vipctl)) == set()
        assert ipvs(director) == made
        vipctl("remove-real", "web", "10.0.1.12")
        assert len(ipvs(director)) == len(made) - 3
        vipctl("add-service", "own", f"--fwmark={marks[0]}", "--real=10.0.1.11")
        assert marks[0] not in {target.mark for target in targets(vipctl)}
        assert failing(asked(vipctl)) == set()
        vipctl("remove-service", "own")
        vipctl("set-service", "web", "--check=no")
        assert ipvs(director) == without - {w for w in without if "10.0.1.12" in w}
        vipctl("remove-service", "web")
        assert ipvs(director) == foreign
    finally:
        director.run(["ipvsadm", "-D", "-f", str(CHECK_VALUE + 1)])


def test_ports_of_a_dead_real_server_are_not_those_of_others(far: Lab, vipctl: Vipctl) -> None:
    """IPVS goes on to send what comes from such a port to it; and there are four at a time."""
    vipctl(*WEB, "--forward=dr", *REALS[:2], *CHECKS[:1])
    living, dead = targets(vipctl)
    lose_vips(far)
    silent = [answers(vipctl, [dead] * 5, timeout="2s") for _ in range(2)]
    heard = [answers(vipctl, [living] * 4) for _ in range(3)]
    lose_vips(far, "add")
    for found in silent:
        assert sorted([str(one.passed) for one in found]) == ["False"] * 4 + ["None"]
        assert "203.0.113.0:80 was not asked: no port is free" in {one.why for one in found}
    assert [one.why for found in heard for one in found if not one.passed] == []
