"""`doctor` names what ails the director, and no other; on a healthy director it names nothing.

This kernel has no IPVS, which is named wherever it is needed.
"""

import json
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.guest import REPOSITORY
from tests.harness.lab import Lab, lab
from tests.harness.machine import Machine
from tests.harness.running import running
from tests.harness.waiting import wait_until
from tests.netns import snapshot
from tests.netns.ailments import Ailment
from tests.netns.complaints import COMPLAINTS, RESTORED, SYSCTLS, WEB, Complaint
from tests.netns.examining import examined, printed
from tests.netns.firewalls import Firewall
from tests.netns.stored import balance
from tests.unit.committing import commit
from vipctl.diagnosis.director.findings import FINDINGS
from vipctl.services.change import Change
from vipctl.services.sync import Sync
from vipctl.state import runtime
from vipctl.state.store import Store

RANGES = ["203.0.113.0/24", "2001:db8:1::/64"]
NO_IPVS = "no-ipvs"
BY_ITSELF = {"not-restored", "taken-over", "watch-of-another-state", "advertisements-ignored"}
BY_ITSELF |= {"library-missing", "library-outdated", "conntrack-strict", "watch-outdated"}
IN_GUESTS = {"ipvs-service-missing"}  # tests/vm/test_doctor.py


@pytest.fixture
def machine(net: Lab, tmp_path: Path) -> Machine:
    """A director's, with the unit that restores VIPs at boot."""
    made = Machine(net.director, tmp_path / "root")
    made.write(RESTORED)
    return made


@contextmanager
def director(complaint: Complaint, directory: Path) -> Iterator[tuple[Lab, Vipctl]]:
    """One with the services of the complaint, which nothing ails but what these are."""
    with lab(reals=0) as net:
        net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
        vipctl = Vipctl(net.director, directory / "state")
        for words in (WEB,) if complaint.reals else complaint.services:
            vipctl(*words.split())
        if complaint.reals:
            plain = Ailment("")
            balance(vipctl, complaint.method, plain.reals, complaint.forward, plain.scheduler)
        for words in complaint.more:
            vipctl(*words.split())
        snapshot.settle(net.director)
        yield net, vipctl


Directors = Callable[[Complaint], tuple[Lab, Vipctl]]


@pytest.fixture(scope="module")
def directors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Directors]:
    """Each with other services, for all tests that change nothing of it."""
    found: dict[str, tuple[Lab, Vipctl]] = {}
    with ExitStack() as stack:

        def standing(complaint: Complaint) -> tuple[Lab, Vipctl]:
            key = str(complaint._replace(name="", causes=[], files={}, programs=()))
            if key not in found:
                directory = tmp_path_factory.mktemp("director")
                found[key] = stack.enter_context(director(complaint, directory))
            return found[key]

        yield standing


def check(net: Lab, vipctl: Vipctl, machine: Machine, complaint: Complaint) -> None:
    machine.write(RESTORED)
    machine.write(complaint.files)
    before = snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)
    found = examined(machine, vipctl, *complaint.programs)
    assert set(found["causes"]) - {NO_IPVS} == set(complaint.causes), found
    assert (snapshot.kernel(net.director), snapshot.directory(vipctl.state_dir)) == before


SET = [one for one in COMPLAINTS if not one.make]
MADE = [one for one in COMPLAINTS if one.make]


@pytest.mark.parametrize("complaint", SET, ids=[one.name for one in SET])
def test_what_is_set_is_named_and_no_other(
    directors: Directors, tmp_path: Path, complaint: Complaint
) -> None:
    net, vipctl = directors(complaint)
    check(net, vipctl, Machine(net.director, tmp_path / "root"), complaint)


@pytest.mark.parametrize("complaint", MADE, ids=[one.name for one in MADE])
def test_what_is_made_is_named_and_no_other(tmp_path: Path, complaint: Complaint) -> None:
    with director(complaint, tmp_path) as (net, vipctl):
        for one in complaint.make:
            if isinstance(one, Firewall):
                one.load(net.director)
            else:
                net.director.run(["sh", "-ec", one])
        check(net, vipctl, Machine(net.director, tmp_path / "root"), complaint)


NETWORKD = "/usr/lib/systemd/systemd-networkd"


def test_a_daemon_of_another_namespace_does_no_harm(directors: Directors, tmp_path: Path) -> None:
    net, vipctl = directors(Complaint("", []))
    machine = Machine(net.director, tmp_path / "root")
    machine.write(RESTORED)

    def act() -> list[Any]:
        with running(["unshare", "--net", NETWORKD]) as process:
            exe = Path(f"/proc/{process.pid}/exe")
            wait_until(lambda: exe.readlink() == Path(NETWORKD), "it runs")
            return printed(vipctl, "--json", "doctor")

    _, text = machine.run(act)
    assert json.loads(text)["causes"] == [NO_IPVS]


def test_every_finding_is_made_somewhere() -> None:
    made = {cause for one in COMPLAINTS for cause in one.causes}
    assert made | BY_ITSELF | IN_GUESTS | {NO_IPVS} == set(FINDINGS)


def test_a_director_without_vips_lacks_nothing(machine: Machine, vipctl: Vipctl) -> None:
    machine.write({"/etc/systemd/system/vipctl-restore.service": None})
    assert examined(machine, vipctl)["causes"] == []


def test_another_namespace_than_the_machines_is_told(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    found = json.loads(vipctl.text("--json", "doctor").stdout)
    assert found["causes"] == [NO_IPVS]
    (step,) = [step for step in found["checks"] if step["name"] == "machine"]
    assert step["state"] == "unknown"


def test_people_get_a_numbered_list(net: Lab, vipctl: Vipctl, machine: Machine) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    machine.write({"/etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "-> x"})
    code, text = machine.run(lambda: printed(vipctl, "doctor"))
    assert code == 3
    assert "  1 ✓ vipctl-restore.service restores VIPs at boot\n  2 ✗ this kernel" in text
    assert text.splitlines()[-1] == f"found: {NO_IPVS}, networkd-foreign (docs/doctor.md)"


def run_as_nobody(vipctl: Vipctl) -> Callable[[], list[Any]]:
    import os

    def act() -> list[Any]:
        """As root first, which imports all of it: the clone may be where nobody else reads."""
        printed(vipctl, "--json", "doctor")
        os.setgid(65534)
        os.setuid(65534)
        return printed(vipctl, "--json", "doctor")

    return act


def test_without_root_it_says_what_it_has_not_seen(
    net: Lab, vipctl: Vipctl, machine: Machine
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    code, text = machine.run(run_as_nobody(vipctl), [["/usr/bin/sleep", "600"]])
    found = json.loads(text)
    assert (code, found["causes"]) == (0, [])
    unknown = {step["name"] for step in found["checks"] if step["state"] == "unknown"}
    assert {"machine", "state"} <= unknown


def test_a_boot_since_is_told(net: Lab, vipctl: Vipctl, machine: Machine) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    with Store.open(vipctl.state_dir) as store:
        store._set_meta("owner", "a-boot-before/1")
    net.director.run(["nft", "flush", "ruleset"])
    net.director.ip("rule del pref 4301", "rule del pref 4300")
    assert examined(machine, vipctl)["causes"] == [NO_IPVS, "not-restored"]


def test_another_state_in_the_kernel_is_told(
    net: Lab, vipctl: Vipctl, machine: Machine, tmp_path: Path
) -> None:
    other = Vipctl(net.director, tmp_path / "other")
    vipctl("add-range", *RANGES, "--fwmark", "17")
    shutil.copytree(vipctl.state_dir, other.state_dir)
    with Store.open(other.state_dir) as store:
        store._set_meta("token", "0123456789abcdef")
    assert examined(machine, other)["causes"] == [NO_IPVS, "taken-over"]


def test_a_daemon_for_another_state_is_told(
    net: Lab, vipctl: Vipctl, machine: Machine, tmp_path: Path
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    for state, more in ((tmp_path / "other", ["watch-of-another-state"]), (vipctl.state_dir, [])):
        argv = [*Vipctl(net.director, state).argv, "--check", "watch"]
        assert examined(machine, vipctl, argv, until=answers)["causes"] == [*more, NO_IPVS]


def answers() -> bool:
    return bool(runtime.ask())


def test_a_daemon_that_is_older_is_told(directors: Directors, tmp_path: Path) -> None:
    """Files of this package are changed behind its back, where nobody else sees them."""
    net, vipctl = directors(Complaint("", []))
    machine = Machine(net.director, tmp_path / "root")
    machine.write(RESTORED)
    (machine.root / "run/vipctl").mkdir(mode=0o700)
    package = REPOSITORY / "vipctl"

    def act() -> list[Any]:
        wait_until(answers, "the daemon is ready")
        time.sleep(3)  # seconds, more than the margin
        machine.overlay(package)
        (package / "log.py").chmod((package / "log.py").stat().st_mode)
        return printed(vipctl, "--json", "doctor")

    argv = [*vipctl.argv, "--check", "watch"]
    _, text = machine.run(act, [argv])
    assert json.loads(text)["causes"] == ["watch-outdated", NO_IPVS]


def test_a_router_that_is_not_heard_is_told(machine: Machine, net: Lab, vipctl: Vipctl) -> None:
    """The kernel takes an address that is not permanent for one that an advertisement gave."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    net.director.ip("addr add fd00::77/64 dev eth0 valid_lft 1000 preferred_lft 500")
    assert examined(machine, vipctl)["causes"] == [NO_IPVS, "advertisements-ignored"]
    net.director.ip("route add ::/0 via fd00::2")
    assert examined(machine, vipctl)["causes"] == [NO_IPVS]


def test_a_library_that_is_not_there_is_told(
    directors: Directors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = ("set-service web --check dns:a.b,port=53",)
    net, vipctl = directors(Complaint("", [], reals=True, more=asking))
    machine = Machine(net.director, tmp_path / "root")
    machine.write(RESTORED)
    assert set(examined(machine, vipctl)["causes"]) == {NO_IPVS, "checks-not-run"}
    monkeypatch.setitem(sys.modules, "dns", None)  # as if it could not be imported
    found = examined(machine, vipctl)["causes"]
    assert set(found) == {NO_IPVS, "checks-not-run", "library-missing"}


def packages(directory: Path, without: str, older: str, version: str) -> Path:
    """This Python's packages, but for one, and with an older version of another."""
    installed = Path(sysconfig.get_path("purelib"))
    directory.mkdir()
    for path in installed.iterdir():
        if path.name.partition("-")[0] != without:
            (directory / path.name).symlink_to(path)
    (metadata,) = directory.glob(f"{older}-*.dist-info")
    metadata.unlink()
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {older}\nVersion: {version}\n"
    )
    return directory


def test_libraries_that_are_missing_or_old_are_told(
    net: Lab, vipctl: Vipctl, tmp_path: Path
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    where = packages(tmp_path / "packages", "rich", "click", "8.1.8")
    argv = ["env", f"PYTHONPATH={where}", sys.executable, "-S", *vipctl.argv[1:]]
    done = net.director.run([*argv, "--json", "doctor"], check=False)
    found = {step["cause"]: step for step in json.loads(done.stdout)["checks"] if step["cause"]}
    assert found.keys() == {NO_IPVS, "library-missing", "library-outdated"}
    assert found["library-missing"]["says"] == "vipctl needs rich, which is not installed"
    assert found["library-outdated"]["says"] == "click is 8.1.8, and vipctl needs 8.2 or later"
    assert found["library-outdated"]["fix"].endswith("pip install 'click>=8.2'")


def test_a_library_that_only_a_service_needs_is_told_with_the_service(
    directors: Directors, tmp_path: Path
) -> None:
    where = packages(tmp_path / "packages", "dns", "python_iptables", "1.1.0")
    told = {}
    for method in ("fwmark", "fwmark-iptables"):
        asked = Complaint(
            "", [], services=(f"add-range 203.0.113.0/24 --fwmark 17 --method {method}",)
        )
        net, vipctl = directors(asked)
        argv = ["env", f"PYTHONPATH={where}", sys.executable, "-S", *vipctl.argv[1:]]
        done = net.director.run([*argv, "--json", "doctor"], check=False)
        steps = json.loads(done.stdout)["checks"]
        told[method] = [step["says"] for step in steps if step["name"] == "libraries"]
    well, (old,) = told.values()
    assert well == ["Python libraries are there, in versions that vipctl asks for"]
    assert old == "python-iptables is 1.1.0, and service 'fwmark-17' needs 1.2.0 or later"


def doubts(machine: Machine, vipctl: Vipctl) -> set[str]:
    found = examined(machine, vipctl)
    assert found["causes"] == [NO_IPVS]
    return {step["name"] for step in found["checks"] if step["state"] == "unknown"}


def test_a_sysctl_that_no_file_has_is_told(directors: Directors, tmp_path: Path) -> None:
    net, vipctl = directors(Complaint("", [], reals=True))
    machine = Machine(net.director, tmp_path / "root")
    machine.write(RESTORED)
    assert doubts(machine, vipctl) == set()
    machine.write({SYSCTLS: "net.ipv4.ip_forward = 1\n"})
    assert doubts(machine, vipctl) == {"sysctls at boot"}


@pytest.mark.parametrize(
    ("method", "asked"),
    [("fwmark", {"links"}), ("route", {"links"}), ("route --arp", set())],
)
def test_vips_beside_the_router_are_told(
    net: Lab, vipctl: Vipctl, machine: Machine, method: str, asked: set[str]
) -> None:
    net.director.ip("route add default via 10.0.0.2", "route add ::/0 via fd00::2")
    words = ["--fwmark", "17", "--method", *method.split()]
    vipctl("add-range", "10.0.2.0-10.0.2.9", "fd00:2::/64", *words)
    assert doubts(machine, vipctl) == set()
    vipctl("add-range", "10.0.0.128/25", "--fwmark", "17")
    assert doubts(machine, vipctl) == asked


def test_a_narrow_way_to_real_servers_is_told(tmp_path: Path) -> None:
    with director(Complaint("", [], reals=True), tmp_path) as (net, vipctl):
        machine = Machine(net.director, tmp_path / "root")
        machine.write(RESTORED)
        assert doubts(machine, vipctl) == set()
        net.director.ip("link set eth1 mtu 1400")
        assert doubts(machine, vipctl) == {"sizes"}
        net.director.ip("link set eth0 mtu 1400")
        assert doubts(machine, vipctl) == set()


def test_a_gateway_to_real_servers_by_dr_is_told(tmp_path: Path) -> None:
    with director(Complaint("", [], reals=True, forward="dr"), tmp_path) as (net, vipctl):
        machine = Machine(net.director, tmp_path / "root")
        machine.write(RESTORED)
        assert doubts(machine, vipctl) == set()
        net.director.ip("route add 10.0.1.12/32 via 10.0.0.3")
        assert doubts(machine, vipctl) == {"gateways"}


def calls(act: Callable[[], object]) -> int:
    """How many functions are called."""
    number = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return number


def test_its_cost_does_not_grow_with_the_vips(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    vipctl.text("doctor")  # which imports what it needs
    few = calls(lambda: vipctl.text("--json", "doctor"))
    ranges = tmp_path / "ranges"
    ranges.write_text(
        "".join(f"10.{128 + (n >> 15)}.{n >> 7 & 255}.{n % 128 * 2}\n" for n in range(1 << 17))
    )
    vipctl("add-range", f"@{ranges}", "--fwmark", "17")
    assert calls(lambda: vipctl.text("--json", "doctor")) < 1.5 * few


def test_tracking_that_refuses_others_connections_is_told(tmp_path: Path) -> None:
    loose = "net.netfilter.nf_conntrack_tcp_loose"
    with director(Complaint("", [], reals=True), tmp_path) as (net, vipctl):
        machine = Machine(net.director, tmp_path / "root")
        machine.write(RESTORED)
        net.director.sysctl(loose, 0)
        assert doubts(machine, vipctl) == set()
        with net.director, Store.open(vipctl.state_dir) as opened:
            commit(opened, Change(sync=(None, Sync("eth1", 7))))
        vipctl.text("restore")
        assert set(examined(machine, vipctl)["causes"]) == {NO_IPVS, "conntrack-strict"}
        net.director.sysctl(loose, 1)
        assert doubts(machine, vipctl) == set()


def test_a_proxy_needs_no_ipvs(net: Lab, vipctl: Vipctl, machine: Machine) -> None:
    words = ["--service", "web", "--method", "tproxy", "--to-port", "8080"]
    vipctl("add-range", *RANGES, *words)
    assert examined(machine, vipctl)["causes"] == []
