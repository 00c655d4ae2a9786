"""`configure bird`: a real BIRD takes what is written for it, or all stays as it was."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.netns.test_announced import BASE, LIMIT, bird, connect, host, sessions
from vipctl.errors import Missing
from vipctl.operate import bird as birds

NEIGHBOR = ("--local-as", "64512", "--neighbor", "10.0.0.1,as=64500")
FIRST, SECOND = "203.0.113.0/24", "198.51.100.0/24"


@dataclass
class Site:
    """A router that takes routes of a director, whose bird.conf includes `file`."""

    router: Namespace
    vipctl: Vipctl
    main: Path
    file: Path

    @property
    def control(self) -> Path:
        return self.main.with_suffix(".ctl")

    def words(self, *more: str) -> list[str]:
        where = ["--into", str(self.file), "--control", str(self.control)]
        return ["configure", "bird", *where, *NEIGHBOR, *more]

    def accept(self, prefix: str) -> None:
        self.vipctl("add-range", prefix, "--fwmark", "17")

    def refused(self, *more: str) -> tuple[int, dict[str, Any]]:
        code, error = self.vipctl.error(*self.words(*more))
        return code, error

    def has(self, *prefixes: str) -> None:
        """Waits until the router has these routes, and no others."""
        wait_until(lambda: self.routes() == set(prefixes), f"the router has {prefixes}", LIMIT)

    def routes(self) -> set[str]:
        found = self.router.run(["ip", "route", "show", "proto", "bird"]).stdout
        return {line.split()[0] for line in found.splitlines()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        router, director = host(stack, "router"), host(stack, "director")
        connect(router, director)
        bird(stack, router, tmp_path, BASE.format(1) + sessions(64512))
        made = Site(
            router,
            Vipctl(director, tmp_path / "state"),
            tmp_path / f"{director.name}.conf",
            tmp_path / "vipctl.conf",
        )
        made.file.write_text("# Nothing is announced yet.\n")
        bird(stack, director, tmp_path, BASE.format(2) + f'include "{made.file}";\n')
        wait_until(made.control.is_socket, "BIRD is there", LIMIT)
        made.accept(FIRST)
        yield made


def test_the_router_follows_the_ranges(site: Site) -> None:
    site.file.chmod(0o600)
    os.chown(site.file, 65534, 65534)
    done = site.vipctl(*site.words())
    assert (done["changed"], done["answer"]) == (True, "Reconfigured")
    assert done["changes"][0]["what"] == f"{site.file} has 1 route; BIRD says: Reconfigured"
    assert site.file.read_text() == done["snippet"]
    assert site.file.stat().st_uid == 65534, "its owner may edit it as before"
    assert site.file.stat().st_mode & 0o777 == 0o644
    site.has(FIRST)
    site.accept(SECOND)
    checked = site.vipctl("--check", "--diff", *site.words())
    assert (checked["changed"], checked["check"], checked["answer"]) == (True, True, "")
    assert f"route {SECOND}" in checked["diff"]["after"]
    assert site.file.read_text() == done["snippet"] == checked["diff"]["before"]
    assert site.vipctl(*site.words())["changed"]
    site.has(FIRST, SECOND)
    again = site.vipctl.text(*site.words())
    assert again.stdout == f"unchanged: {site.file} has 2 routes; BIRD says: Reconfigured\n"
    assert list(site.file.parent.glob("tmp*")) == []


def test_what_was_written_otherwise_is_taken_too(site: Site) -> None:
    """It may be in the file without BIRD's having read it."""
    printed = site.vipctl.text("announce", "--print", "bird", *NEIGHBOR).stdout
    site.file.write_text(printed)
    assert not site.vipctl(*site.words())["changed"]
    site.has(FIRST)


def test_what_bird_refuses_changes_nothing(site: Site) -> None:
    site.vipctl(*site.words())
    site.has(FIRST)
    before = site.file.read_bytes()
    site.accept(SECOND)
    main = site.main.read_text()
    site.main.write_text(main + "\nnonsense;\n")
    code, error = site.refused()
    assert code == 3
    assert f"{site.main}:" in error["message"]
    assert "syntax error" in error["message"]
    assert site.file.read_bytes() == before
    assert site.routes() == {FIRST}
    site.main.write_text(main)
    assert site.vipctl(*site.words())["changed"]
    site.has(FIRST, SECOND)


def test_a_file_that_was_not_there_is_not_left(site: Site) -> None:
    site.file.unlink()
    site.main.write_text(site.main.read_text() + "\nnonsense;\n")
    assert site.refused()[0] == 3
    assert not site.file.exists()


def test_a_file_that_bird_does_not_read_is_said(site: Site) -> None:
    """`Reconfigured` alone does not mean that anything is announced."""
    site.main.write_text(BASE.format(2))
    code, error = site.refused()
    assert code == 3
    assert "BIRD says 'Reconfigured', but has no protocol vipctl4" in error["message"]
    assert f'include "{site.file}";' in error["hint"]
    site.main.write_text(BASE.format(2) + f'include "{site.file}";\n')
    assert site.vipctl(*site.words())["answer"] == "Reconfigured"
    site.has(FIRST)


def test_it_waits_until_bird_is_done(site: Site) -> None:
    """Who has many routes takes a while to be without them."""
    main = site.main.read_text()
    many = "".join(f"route 10.{n >> 8}.{n & 255}.0/24 blackhole;\n" for n in range(1 << 16))
    site.main.write_text(f"{main}\nprotocol static many {{ ipv4 {{ table rest; }};\n{many}}}\n")
    site.main.write_text(f"ipv4 table rest;\n{site.main.read_text()}")
    site.vipctl(*site.words())
    site.main.write_text(f"ipv4 table rest;\n{main}")
    done = site.vipctl(*site.words())
    assert done["answer"] == "Reconfiguration in progress"
    assert done["warnings"] == []
    stands = site.vipctl.host.run(["birdc", "-s", str(site.control), "show", "status"]).stdout
    assert "Daemon is up and running" in stands


def test_without_bird_nothing_is_written(site: Site) -> None:
    before = site.file.read_bytes()
    code, error = site.refused("--control", str(site.control.with_name("none")))
    assert (code, "No such file" in error["message"]) == (5, True)
    code, error = site.refused("--into", str(site.file / "none"))
    assert (code, "Not a directory" in error["message"]) == (5, True)
    assert site.file.read_bytes() == before


def test_one_that_hangs_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(birds, "PATIENCE", 1.0)
    (pid,) = site.vipctl.host.processes()
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Missing, match=r"BIRD does not answer at .*: timed out"):
            birds.take("", site.file, str(site.control), [])
    finally:
        os.kill(pid, signal.SIGCONT)
    assert site.file.read_text() == "# Nothing is announced yet.\n"
