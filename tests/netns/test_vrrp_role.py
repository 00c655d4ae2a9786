"""`watch --vrrp`: services that one director alone may serve follow keepalived; others do not."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.netns import processes
from tests.netns.test_announced import LIMIT, keepalived, pair, revive, snippet
from tests.netns.test_watch import Daemon, watching

VIP = "10.0.0.70"
VRRP = ("--interface", "out", "--next-hop", "10.0.0.100/24", "--advert", "0.2")
ROUTE = ("--method", "route", "--arp", "--ping")


@dataclass
class Director:
    host: Namespace
    scratch: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def vipctl(self) -> Vipctl:
        return Vipctl(self.host, self.scratch / self.host.name)

    @property
    def fifo(self) -> Path:
        return self.scratch / f"{self.host.name}.fifo"

    def keepalived(self, stack: ExitStack, preference: str) -> None:
        words = (*VRRP, "--preference", preference, "--notify", str(self.fifo))
        text = snippet(self.host, self.scratch, "--print", "keepalived", *words)
        file = self.scratch / f"{self.host.name}.conf"
        self.process = keepalived(stack, self.host, file, text)

    def kill_keepalived(self) -> None:
        """And its children, which would say that they end."""
        for pid in self.host.processes():
            with suppress(FileNotFoundError, ProcessLookupError):  # of vipctl, and ended
                if Path(f"/proc/{pid}/comm").read_text() == "keepalived\n":
                    os.kill(pid, signal.SIGKILL)

    @contextmanager
    def watching(self) -> Iterator[Daemon]:
        log = self.scratch / f"{self.host.name}.log"
        with watching(self.vipctl, log, command=("--vrrp", str(self.fifo))) as daemon:
            yield daemon

    def roles(self) -> dict[str, str]:
        found = self.vipctl("list-services")["services"]
        return {name: service["role"] for name, service in found.items()}

    def becomes(self, role: str) -> None:
        """And what both may serve stays active."""
        wanted = {"fwmark-17": role, "fwmark-18": "active"}
        wait_until(lambda: self.roles() == wanted, f"it is {role} for what it alone serves", LIMIT)

    @property
    def mac(self) -> str:
        found: str = json.loads(self.host.run(["ip", "-j", "link", "show", "out"]).stdout)[0][
            "address"
        ]
        return found


@dataclass
class Site:
    lan: Namespace
    one: Director
    two: Director

    def answered_by(self, director: Director) -> None:
        """Requests by ARP for the VIP, once the kernel has a role that is stored."""
        wait_until(lambda: self._answerer() == director.mac, "it answers by ARP", LIMIT)

    def _answerer(self) -> str:
        """Its hardware address."""
        self.lan.ip("neigh flush dev out")
        self.lan.run(["ping", "-c1", "-W5", VIP], check=False)
        found = json.loads(self.lan.run(["ip", "-j", "neigh", "show", VIP]).stdout)
        return str(found[0].get("lladdr", "")) if found else ""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        bridge, *hosts = pair(stack)
        bridge.ip("address add 10.0.0.9/24 dev out")
        one, two = (Director(host, tmp_path) for host in hosts)
        for director, preference in ((one, "primary"), (two, "backup")):
            revive(director.host)
            director.vipctl("add-range", VIP, "--fwmark", "17", *ROUTE)
            director.vipctl("add-range", "203.0.113.0/24", "--fwmark", "18")
            director.keepalived(stack, preference)
        yield Site(bridge, one, two)


def test_the_master_alone_answers(site: Site) -> None:
    one, two = site.one, site.two
    with one.watching() as first, two.watching() as second:
        one.becomes("active")
        two.becomes("passive")
        site.answered_by(one)
        one.host.ip("link del dead")
        one.becomes("passive")
        two.becomes("active")
        first.wait_for("VRRP is FAULT: passive for fwmark-17")
        assert one.vipctl("status")["watch"]["vrrp"] == "FAULT"
        assert "VRRP: FAULT\n" in one.vipctl.text("status").stdout
        explained = one.vipctl.text("explain", VIP)
        assert explained.code == 3
        assert "VRRP is FAULT here, and one director alone serves it" in explained.stdout
        second.wait_for("VRRP is MASTER: active for fwmark-17")
        site.answered_by(two)
        revive(one.host)
        two.becomes("passive")
        one.becomes("active")
        site.answered_by(one)

        # It ends in an orderly way, and says so.
        assert one.process
        one.process.terminate()
        one.becomes("passive")
        first.wait_for("VRRP is STOP: passive for fwmark-17")
        two.becomes("active")


def test_what_others_do_to_such_a_role_is_undone(site: Site) -> None:
    """On a director that is not the master; a service that is new is passive there too."""
    with site.one.watching(), site.two.watching():
        site.two.becomes("passive")
        site.two.vipctl("activate", "--service", "fwmark-17")
        site.two.becomes("passive")
        site.two.vipctl("add-range", "10.0.0.71", "--fwmark", "19", *ROUTE)
        wait_until(lambda: site.two.roles()["fwmark-19"] == "passive", "it is passive", LIMIT)
        site.two.vipctl("remove-range", "10.0.0.71")
        site.two.becomes("passive")


def test_who_knows_nothing_changes_nothing(site: Site) -> None:
    """keepalived is killed, or reads its configuration anew: nobody has said anything."""
    one, two = site.one, site.two
    with one.watching(), two.watching():
        one.becomes("active")
        assert one.process
        one.process.send_signal(signal.SIGHUP)
        one.kill_keepalived()
        two.becomes("active")
        one.becomes("active")


def test_a_daemon_that_comes_later_learns_it(site: Site) -> None:
    """keepalived has written it meanwhile, to the FIFO that was there before."""
    one = site.one
    with one.watching() as daemon:
        one.becomes("active")
        daemon.stop(signal.SIGKILL)
    one.host.ip("link del dead")
    wait_until(lambda: "10.0.0.100" not in one.host.run(["ip", "address"]).stdout, "FAULT", LIMIT)
    assert one.roles()["fwmark-17"] == "active"
    with one.watching():
        one.becomes("passive")


def test_the_daemon_of_another_state_is_not_believed(site: Site, tmp_path: Path) -> None:
    two, log = site.two, tmp_path / "other.log"
    other = Vipctl(two.host, tmp_path / "other")
    with watching(other, log, command=("--vrrp", str(two.fifo))):
        wait_until(lambda: other("status")["watch"]["vrrp"] == "BACKUP", "it knows", LIMIT)
        two.vipctl("deactivate", "--service", "fwmark-17")
        explained = two.vipctl.text("explain", VIP).stdout
        assert "vipctl activate --service fwmark-17" in explained
        assert "VRRP is" not in explained


def test_a_fifo_that_is_taken_away_is_made_again(site: Site) -> None:
    """As keepalived does with one of its own, when it ends."""
    one = site.one
    with one.watching():
        one.becomes("active")
        one.fifo.unlink()
        wait_until(one.fifo.is_fifo, "it is there again", LIMIT)
        one.fifo.write_text('INSTANCE "vipctl_hop4" BAC')
        one.fifo.write_text("KUP 150\n")
        one.becomes("passive")


def test_what_is_no_fifo_of_its_own_is_refused(site: Site, tmp_path: Path) -> None:
    file, fifo = tmp_path / "file", tmp_path / "fifo"
    file.touch()
    os.mkfifo(fifo)
    fifo.chmod(0o622)
    for path in (file, fifo):
        code, printed = processes.run(site.one.vipctl, "watch", "--vrrp", str(path))
        assert (code, printed["error"]["message"]) == (
            3,
            f"{path} is no FIFO that root alone writes",
        )
    code, printed = processes.run(site.one.vipctl, "watch", "--vrrp", str(file / "fifo"))
    assert code == 5
