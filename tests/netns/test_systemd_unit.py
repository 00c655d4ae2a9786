"""examples/systemd: what systemd says of the unit, and vipctl within the limits that it sets.

No systemd runs here, so the limits are made by other means, or looked for in a trace.
"""

import json
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.harness import synced
from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace, execute
from tests.harness.running import running
from tests.harness.waiting import wait_until
from tests.netns import members, relayed
from tests.netns.prometheus import GET

UNIT = Path(__file__).parents[2] / "examples/systemd/vipctl-restore.service"
WATCH, SYNC = (UNIT.with_name(f"{name}.service") for name in ("vipctl", "vipctl-sync"))
FOR_ALIVE = WATCH.with_name(f"{WATCH.name}.d-alive.conf")
FOR_VRRP = WATCH.with_name(f"{WATCH.name}.d-vrrp.conf")
FOR_GROUP = WATCH.with_name(f"{WATCH.name}.d-group.conf")
FOR_IPTABLES = UNIT.with_name(f"{UNIT.name}.d-iptables.conf")
VIPCTL = Path(sys.executable).with_name("vipctl")
METRICS = UNIT.parents[1] / "monitoring" / "vipctl-metrics.service"
FOR_METRICS = METRICS.with_name(f"{WATCH.name}.d-metrics.conf")
# In tenths of systemd's 10; two send packets.
EXPOSURE = {UNIT.name: 25, WATCH.name: 29, SYNC.name: 29, METRICS.name: 25}
NO_DRIFT = "vipctl_drift 0.0"
RANGES = ("203.0.113.0/24", "2001:db8:1::/64")

# The unit's neighbours at boot; `iscsi` stands for what mounts file systems over the network.
WANTED = {
    "sysinit.target": ("nftables.service", "iscsi.service"),
    "multi-user.target": ("vipctl-restore.service", "systemd-networkd.service"),
    "nftables.service": ("vipctl-restore.service",),
    "iscsi.service": ("network-online.target",),
}
ISCSI = """
[Unit]
DefaultDependencies=no
After=network-online.target
Before=remote-fs-pre.target sysinit.target
[Service]
ExecStart=/bin/true
"""

# Everything but these directories read-only, as ProtectSystem=strict makes it.
WRITABLE = "mkdir -pm 700 {0} && mount --bind {0} {0} && "
READ_ONLY = 'mount -o remount,bind,ro / && cd "$0" && exec "$@"'


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit that restores, for the vipctl that is tested."""
    return _copy(UNIT, tmp_path)


@pytest.fixture(params=[UNIT, WATCH, SYNC, METRICS], ids=lambda unit: unit.name)
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Every unit; the others are beside it."""
    for other in (UNIT, WATCH, SYNC, METRICS):
        _copy(other, tmp_path)
    return tmp_path / str(request.param.name)


def _copy(unit: Path, tmp_path: Path) -> Path:
    for needed in ("systemd-analyze", "strace", "setpriv"):
        assert shutil.which(needed), f"{needed} is missing: make deps installs it"
    text = unit.read_text()
    assert "=vipctl " in text
    copy = tmp_path / unit.name
    copy.write_text(text.replace("=vipctl ", f"={VIPCTL} "))
    return copy


@pytest.fixture
def booted() -> Iterator[Namespace]:
    """A kernel that has forgotten everything."""
    host = Namespace.create("booted")
    yield host
    host.close()


def test_systemd_finds_no_fault(each: Path) -> None:
    done = execute(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(each)])
    assert done.stdout + done.stderr == ""


def test_systemd_calls_it_hardened(each: Path) -> None:
    threshold = f"--threshold={EXPOSURE[each.name]}"
    execute(["systemd-analyze", "security", "--offline=true", threshold, str(each)])


def test_systemd_can_order_a_boot(unit: Path) -> None:
    units = unit.parent
    _bring_units(units)
    (units / "iscsi.service").write_text(ISCSI)
    for target, names in WANTED.items():
        (units / f"{target}.wants").mkdir(exist_ok=True)
        for name in names:
            (units / f"{target}.wants" / name).symlink_to(f"../{name}")
    environment = os.environ | {"SYSTEMD_UNIT_PATH": str(units), "SYSTEMD_LOG_LEVEL": "debug"}
    verify = ["systemd-analyze", "verify", "--man=no", "multi-user.target"]
    planned = execute(verify, check=False, env=environment).stderr
    assert [line for line in planned.splitlines() if "ordering cycle" in line] == []
    for name in {name for names in WANTED.values() for name in names}:
        assert f"{name}: Installed new job {name}/start" in planned


# As Debian has them: NetworkManager's units, and what systemd makes of ipvsadm's init script.
OTHERS = {
    "NetworkManager.service": (
        "After=network-pre.target\nWants=network.target\nBefore=network.target"
    ),
    "NetworkManager-wait-online.service": (
        "Requires=NetworkManager.service\nAfter=NetworkManager.service\n"
        "Before=network-online.target"
    ),
    "ipvsadm.service": (
        "Before=multi-user.target\nAfter=network-online.target\nWants=network-online.target"
    ),
}


def test_it_comes_after_what_takes_something_away(unit: Path) -> None:
    units = unit.parent
    _bring_units(units)
    for name, ordering in OTHERS.items():
        text = f"[Unit]\n{ordering}\n[Service]\nType=oneshot\nExecStart=/bin/true\n"
        (units / name).write_text(text)
    (units / "network-online.target.wants").mkdir(exist_ok=True)
    wait = "network-online.target.wants/NetworkManager-wait-online.service"
    (units / wait).symlink_to("../NetworkManager-wait-online.service")
    wanted = units / "multi-user.target.wants"
    wanted.mkdir(exist_ok=True)
    for name in (unit.name, "NetworkManager.service", "ipvsadm.service"):
        (wanted / name).symlink_to(f"../{name}")
    environment = os.environ | {"SYSTEMD_UNIT_PATH": str(units), "SYSTEMD_LOG_LEVEL": "debug"}
    verify = ["systemd-analyze", "verify", "--man=no", "multi-user.target"]
    planned = execute(verify, check=False, env=environment).stderr
    assert [line for line in planned.splitlines() if "ordering cycle" in line] == []
    for name in (unit.name, *OTHERS):
        assert f"{name}: Installed new job {name}/start" in planned
    settings = _settings(unit)
    assert OTHERS.keys() <= set(settings["After"])
    for restarted in ("NetworkManager.service", "ipvsadm.service"):
        assert restarted in settings["PartOf"]
        assert restarted in settings["WantedBy"]


def _bring_units(units: Path) -> None:
    """Copy what a new Debian boots with: what else this machine has is not judged."""
    listed = execute(["dpkg-query", "--listfiles", "systemd", "nftables"]).stdout.splitlines()
    for path in map(Path, listed):
        _, found, within = str(path).partition("/lib/systemd/system/")
        if found and (path.is_file() or path.is_symlink()):
            copy = units / within
            copy.parent.mkdir(exist_ok=True)
            copy.symlink_to(path.readlink() if path.is_symlink() else path)


@pytest.mark.parametrize(
    ("method", "drop_ins"),
    [("fwmark", []), ("route", []), ("fwmark-iptables", [FOR_IPTABLES])],
)
def test_restore_works_within_the_limits(
    unit: Path,
    vipctl: Vipctl,
    booted: Namespace,
    tmp_path: Path,
    method: str,
    drop_ins: list[Path],
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--method", method)
    limits, trace = _settings(unit, *drop_ins), tmp_path / "trace"
    limited = _limited(limits, tmp_path)
    traced = ["strace", "-f", "-qq", "-o", str(trace), str(VIPCTL)]
    command = ["--json", "--state-dir", str(vipctl.state_dir), "restore"]
    done = booted.run([*limited, *traced, *command])
    assert json.loads(done.stdout)["restored"] is True
    assert Vipctl(booted, vipctl.state_dir)("restore")["changed"] is False, "all was restored"
    _check_trace(trace.read_text(), limits)


@pytest.mark.parametrize(
    ("method", "drop_ins", "damage", "sign"),
    [
        ("fwmark", [FOR_ALIVE], "nft flush ruleset", "nft list tables"),
        ("fwmark", [FOR_METRICS], "nft flush ruleset", "nft list tables"),
        ("route", [FOR_VRRP], "nft flush ruleset", "nft list tables"),
        (
            "fwmark-iptables",
            [FOR_IPTABLES],
            "iptables-legacy -w -t mangle -F",
            "iptables-legacy-save",
        ),
    ],
)
def test_watching_works_within_the_limits(
    vipctl: Vipctl,
    booted: Namespace,
    tmp_path: Path,
    method: str,
    drop_ins: list[Path],
    damage: str,
    sign: str,
) -> None:
    """It is ready when it has looked, gives signs of life, heals, and ends when it is asked to."""
    vipctl("add-range", *RANGES, "--fwmark", "17", "--method", method)
    Vipctl(booted, vipctl.state_dir)("restore")

    def shown() -> int:
        return booted.run(sign.split()).stdout.lower().count("vipctl")

    whole = shown()
    assert whole
    limits, trace = _settings(WATCH, *drop_ins), tmp_path / "trace"
    traced = ["strace", "-f", "-qq", "-o", str(trace), str(VIPCTL)]
    fifo = tmp_path / "vrrp"
    its_own = (word.replace("/run/vipctl/vrrp", str(fifo)) for word in _words(limits))
    words = ["--state-dir", str(vipctl.state_dir), *its_own]
    command = [*_limited(limits, tmp_path), *traced, *words]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
        argv = ["ip", "netns", "exec", booted.name, *command]
        with running(argv, env=os.environ | told) as process:
            heard: list[str] = []
            while heard.count("WATCHDOG=1") < 2 or "READY=1\nSTATUS=watching" not in heard:
                heard.append(systemd.recv(1000).decode())  # raises TimeoutError in the end
                assert len(heard) < 60
            booted.run(damage.split())
            wait_until(lambda: shown() == whole, "it is put back")
            if drop_ins == [FOR_ALIVE]:
                link = ["ip", "link", "show", "vipctl0"]
                wait_until(lambda: ",UP" in booted.run(link).stdout, "its device is up")
            if drop_ins == [FOR_METRICS]:
                asked = ["python3", "-c", GET, "http://127.0.0.1:9817"]
                wait_until(lambda: NO_DRIFT in booted.run(asked, check=False).stdout, "it says so")
            if drop_ins == [FOR_VRRP]:
                director = Vipctl(booted, vipctl.state_dir)
                director("set-service", "fwmark-17", "--arp")
                fifo.write_text('GROUP "vipctl" BACKUP 0\n')
                wait_until(partial(_is_passive, director), "it follows")
            (child,) = booted.run(["pgrep", "-P", str(process.pid)]).stdout.split()
            os.kill(int(child), signal.SIGTERM)
            assert process.wait(30) == 0
    _check_trace(trace.read_text(), limits)


@pytest.mark.parametrize("drop_ins", [[], [FOR_GROUP]], ids=["alone", "with its drop-in"])
def test_members_are_answered_within_the_limits(
    net: Lab, vipctl: Vipctl, tmp_path: Path, drop_ins: list[Path]
) -> None:
    """As root is, also by doctor where its drop-in is."""
    vipctl("add-range", *RANGES, "--fwmark", "17")
    limits, trace = _settings(WATCH, *drop_ins), tmp_path / "trace"
    networkd = tmp_path / "systemd-networkd"
    networkd.write_bytes(Path("/bin/sleep").read_bytes())
    networkd.chmod(0o755)
    traced = ("strace", "-f", "-qq", "-o", str(trace))
    limited = ("unshare", "--mount", *_limited(limits, tmp_path), *traced)
    runs = ["ip", "netns", "exec", net.director.name, str(networkd), "infinity"]
    with members.site(vipctl, tmp_path) as there, running(runs) as other:
        wait_until(lambda: members.name(other.pid) == networkd.name[:15], "it runs")
        with there.watched(tmp_path, before=limited) as daemon:
            wait_until(there.answers, "the group is answered")
            *same, (by_root, by_member) = there.said("status", "metrics", "doctor", does="both")
            assert [one[0] for one in same] == [one[1] for one in same]
            assert "networkd-foreign" in by_root[1]
            assert (by_member == by_root) == bool(drop_ins)
            assert drop_ins or "not all programs that run here may be looked at" in by_member[1]
            (child,) = members.children(daemon)
            os.kill(int(child), signal.SIGTERM)
            assert daemon.process.wait(30) == 0
    _check_trace(trace.read_text(), limits)


def _is_passive(director: Vipctl) -> bool:
    return bool(director("list-services")["services"]["fwmark-17"]["role"] == "passive")


def test_relaying_works_within_the_limits(tmp_path: Path) -> None:
    """It is ready when its device is there, meets a peer, and ends when it is asked to."""
    limits, trace = _settings(SYNC), tmp_path / "trace"
    with relayed.site(tmp_path) as built:
        one, two, _ = built.directors
        traced = ["strace", "-f", "-qq", "-o", str(trace), str(VIPCTL)]
        words = ["--state-dir", str(one.vipctl.state_dir), *_words(limits)[:1]]
        words += ["--listen", one.address, "--peer", two.address, *one.papers]
        command = [*_limited(limits, tmp_path), *traced, *words]
        two.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(tmp_path / "notify"))
            systemd.settimeout(60)
            told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
            argv = ["ip", "netns", "exec", one.host.name, *command]
            with running(argv, env=os.environ | told) as process:
                heard: list[str] = []
                while not {"READY=1", "WATCHDOG=1"} <= set(heard):
                    heard.append(systemd.recv(1000).decode())  # raises TimeoutError in the end
                    assert len(heard) < 60
                assert any(line.startswith("STATUS=0 of 1 get records") for line in heard)
                two.wait_for(f"{one.address} gets records")
                two.wait_for(f"{one.address} sends records")
                with one.hearing() as ear:
                    two.say(message := synced.message(relayed.records(1)))
                    assert relayed.heard(ear, 1) == [message]
                (child,) = one.host.run(["pgrep", "-P", str(process.pid)]).stdout.split()
                os.kill(int(child), signal.SIGTERM)
                assert process.wait(30) == 0
    _check_trace(trace.read_text(), limits)


ASKING = """
import asyncio, ipaddress
from vipctl.probing import probe
from vipctl.services.checks import Target, parse_check
for address in ("127.0.0.1", "::1"):
    for text in ("tcp", "https:/,verify=no", "udp,send=00", "dns:example.org", "exec:/bin/true"):
        answer = asyncio.run(probe(Target(ipaddress.ip_address(address), 80), parse_check(text)))
        print(answer.passed)
"""


def test_asking_works_within_the_limits(booted: Namespace, tmp_path: Path) -> None:
    limits, trace = _settings(WATCH), tmp_path / "trace"
    traced = ["strace", "-f", "-qq", "-o", str(trace), sys.executable, "-c", ASKING]
    done = booted.run([*_limited(limits, tmp_path), *traced])
    assert done.stdout.split() == ["False", "False", "False", "False", "True"] * 2
    _check_trace(trace.read_text(), limits)


def test_measuring_works_within_the_limits(
    vipctl: Vipctl, booted: Namespace, tmp_path: Path
) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17")
    Vipctl(booted, vipctl.state_dir)("restore")
    limits, trace, file = _settings(METRICS), tmp_path / "trace", tmp_path / "vipctl.prom"
    *words, named = _words(limits)
    assert Path(named).parent == Path(limits["ReadWritePaths"][0])
    traced = ["strace", "-f", "-qq", "-o", str(trace), str(VIPCTL)]
    command = ["--state-dir", str(vipctl.state_dir), *words, str(file)]
    booted.run([*_limited(limits, tmp_path), *traced, *command])
    measured = file.read_text()
    assert NO_DRIFT in measured
    assert set(re.findall(r"^vipctl_part_success{.*} (.*)$", measured, re.MULTILINE)) == {"1.0"}
    _check_trace(trace.read_text(), limits)


def test_the_timer_starts_what_measures(tmp_path: Path) -> None:
    _copy(METRICS, tmp_path)
    timer = tmp_path / f"{METRICS.stem}.timer"
    timer.write_text((METRICS.parent / timer.name).read_text())
    done = execute(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(timer)])
    assert done.stdout + done.stderr == ""


def test_the_limits_are_limits(unit: Path, booted: Namespace, tmp_path: Path) -> None:
    limited = _limited(_settings(unit), tmp_path)
    assert booted.run([*limited, "touch", str(tmp_path / "allowed")], check=False).returncode == 0
    for forbidden in (["touch", "/forbidden"], ["mount", "-t", "tmpfs", "none", "."]):
        assert booted.run([*limited, *forbidden], check=False).returncode != 0, forbidden


def _settings(*files: Path) -> dict[str, list[str]]:
    """Settings by name; a drop-in's are added."""
    found: dict[str, list[str]] = {}
    for file in files:
        for key, value in re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE):
            found.setdefault(key, []).extend(value.split())
    return found


def _words(limits: dict[str, list[str]]) -> list[str]:
    """What is started, without the program; a drop-in's comes last."""
    *_, last = " ".join(limits["ExecStart"]).split("vipctl ")
    return last.split()


def _limited(limits: dict[str, list[str]], writable: Path) -> list[str]:
    """The start of a command that has the unit's capabilities and read-only files."""
    running = (f"/run/{name}" for name in limits.get("RuntimeDirectory", ()))
    mounts = "".join(WRITABLE.format(directory) for directory in (writable, *running))
    # The repository may be in somebody's home directory, where only this lets root read it.
    names = [*limits["CapabilityBoundingSet"], "CAP_DAC_READ_SEARCH"]
    bounds = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names)])
    capabilities = [f"--bounding-set={bounds}", "--inh-caps=-all", "--no-new-privs"]
    return ["sh", "-c", mounts + READ_ONLY, str(writable), "setpriv", *capabilities]


def _check_trace(trace: str, limits: dict[str, list[str]]) -> None:
    """Look for what the unit's system call filters would have refused."""
    calls = set(re.findall(r"^\d+ +(\w+)\(", trace, re.MULTILINE))
    assert "execve" in calls, trace
    allowed = {call for word in limits["SystemCallFilter"] for call in _system_calls(word)}
    assert calls <= allowed, f"SystemCallFilter= refuses {calls - allowed}"
    families = set(re.findall(r" socket(?:pair)?\((AF_\w+)", trace))
    assert families <= set(limits["RestrictAddressFamilies"])
    executable = re.compile(r" (?:mmap\(.*PROT_WRITE\|PROT_EXEC|\w*mprotect\(.*PROT_EXEC).*")
    found = executable.search(trace)
    refused = limits["MemoryDenyWriteExecute"][-1] == "yes"
    assert not (found and refused), f"MemoryDenyWriteExecute= refuses {found and found[0]}"


def _system_calls(name: str) -> set[str]:
    """What systemd means by a name of SystemCallFilter=: itself, or all of a @set."""
    if not name.startswith("@"):
        return {name}
    listed = execute(["systemd-analyze", "--no-pager", "syscall-filter", name]).stdout
    names = [word for word in map(str.strip, listed.splitlines()[1:]) if word[:1] not in ("", "#")]
    return {call for word in names for call in _system_calls(word)}
