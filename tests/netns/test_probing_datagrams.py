"""Checks udp, dns and exec, of what works and of what does not."""

import asyncio
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import ip_address
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from tests.harness.servers import ScriptedUdpServer
from tests.harness.waiting import wait_until
from tests.netns import probed
from tests.netns.probed import Asked
from vipctl.operate import checking
from vipctl.probing import probe, programs
from vipctl.services.checks import Answer, Target, parse_check
from vipctl.services.service import made
from vipctl.state.store import Store

SHORT = "timeout=0.5s"
Edit = Callable[[dns.message.Message], None]


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with probed.asked_lab() as found:
        yield found


@pytest.mark.parametrize(
    ("answer", "check", "passed", "why"),
    [
        (b"pong", "udp,send=70696e67", True, "answers datagrams"),
        (b"pong", "udp,send=70696e67,expect=706f", True, "answers datagrams"),
        (b"pong", "udp,send=70696e67,expect=706f6e67ff", False, "begins with 706f6e67"),
        (b"pong", "udp,send=00,expect=aa", False, "begins with 70"),
        (b"", "udp,send=00,expect=aa", False, "begins with nothing"),
        (None, "udp,send=00", False, "no answer from 10.0.1.11:9 within 0.5s"),
    ],
)
def test_datagrams(asked: Asked, answer: bytes | None, check: str, passed: bool, why: str) -> None:
    with closing(ScriptedUdpServer(asked.real, "0.0.0.0", 9, lambda _: answer)):
        found = asked.answer(f"{check},{SHORT}", 9)
    assert found.passed is passed
    assert why in found.why


def test_nobody_listens(asked: Asked) -> None:
    """As soon as the kernel of the real server says so; it does not every time."""
    refused = (False, "nothing listens on 10.0.1.11:9")
    for check in ("udp,send=00", "dns:example.org"):
        wait_until(lambda check=check: asked.answer(check, 9) == refused, check)  # type: ignore[misc]


def _resolver(edit: Edit) -> Callable[[bytes], bytes]:
    def script(question: bytes) -> bytes:
        answer = dns.message.make_response(dns.message.from_wire(question))
        answer.answer = [dns.rrset.from_text("example.org.", 60, "IN", "A", "192.0.2.1")]
        edit(answer)
        return answer.to_wire()

    return script


def _coded(code: dns.rcode.Rcode) -> Edit:
    def edit(answer: dns.message.Message) -> None:
        answer.set_rcode(code)
        answer.answer = []

    return edit


def _stranger(answer: dns.message.Message) -> None:
    answer.id ^= 1


def _asking(answer: dns.message.Message) -> None:
    answer.flags &= ~dns.flags.QR


@pytest.mark.parametrize(
    ("script", "passed", "why"),
    [
        (_resolver(lambda answer: None), True, "answers example.org A"),
        (_resolver(_coded(dns.rcode.NXDOMAIN)), False, "example.org A: NXDOMAIN"),
        (_resolver(_coded(dns.rcode.SERVFAIL)), False, "example.org A: SERVFAIL"),
        (_resolver(_coded(dns.rcode.NOERROR)), False, "example.org A: NOERROR, 0 answers"),
        (_resolver(_stranger), False, "another question"),
        (_resolver(_asking), False, "another question"),
        (lambda _: b"\0" * 5, False, "the answer is not DNS"),
        (lambda _: b"\xff" * 900, False, "the answer is not DNS"),
        (lambda _: b"", False, "the answer is not DNS"),
    ],
)  # fmt: skip
def test_names(asked: Asked, script: Callable[[bytes], bytes], passed: bool, why: str) -> None:
    with closing(ScriptedUdpServer(asked.real, "0.0.0.0", 53, script)):
        found = asked.answer(f"dns:example.org,{SHORT}", 53)
    assert found.passed is passed, found.why
    assert why in found.why


def test_names_without_the_library(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dns", None)
    found = asked.answer("dns:example.org", 53)
    assert found.passed is None
    assert "pip install dnspython" in found.why
    with Store.read(Path("/none")) as store:
        service = made("web", {"fwmark": 1, "checks": (parse_check("dns:example.org,port=53"),)})
        (warning,) = checking.warnings(store, service)
        assert "pip install dnspython" in warning
        assert list(checking.warnings(store, service.altered({"checks": ()}))) == []
    monkeypatch.undo()
    with Store.read(Path("/none")) as store:
        assert list(checking.warnings(store, service)) == []


def test_names_of_ipv6(asked: Asked) -> None:
    with closing(ScriptedUdpServer(asked.real, "::", 53, _resolver(lambda answer: None))):
        assert asked.answer("dns:example.org", 53, version=6).passed


def _program(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return str(path)


@pytest.fixture
def public() -> Iterator[Path]:
    """Make a directory that user nobody can enter; pytest's are below one of root alone."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _answer(program: str, target: Target | None = None, timeout: str = "20s") -> Answer:
    check = parse_check(f"exec:{program},every=20s,timeout={timeout}")
    return asyncio.run(probe(target or Target(ip_address("10.0.1.11"), 80), check))


@pytest.mark.parametrize(
    ("lines", "passed", "why"),
    [
        (["exit 0"], True, "is content"),
        (["echo all well; echo more"], True, "is content: all well"),
        (["echo no disk >&2; exit 3"], False, "ends with status 3: no disk"),
        (["kill -9 $$"], False, "is killed by signal 9"),
        (['[ "$RIP $PORT $VIP" = "10.0.1.11 80 " ]'], True, "is content"),
        (['[ "$(id -u) $(id -G)" = "65534 65534" ]'], True, "is content"),
        (['[ "$(env | cut -d= -f1 | sort | xargs)" = "LANG PATH PORT PWD RIP" ]'], True, ""),
        (['read -r line; [ -z "$line" ]'], True, "is content"),
        (["printf '\\033[2Jred\\n'; exit 1"], False, "status 1: [2Jred"),
        (["yes"], False, "it prints more than 64 KiB"),
        (["head -c 60000 /dev/zero"], True, "is content"),
    ],
)
def test_programs(public: Path, lines: list[str], passed: bool, why: str) -> None:
    found = _answer(_program(public / "check", *lines))
    assert found.passed is passed, found.why
    assert why in found.why


def test_a_program_is_told_the_vip(public: Path) -> None:
    program = _program(public / "check", '[ "$RIP $PORT $VIP" = "fd00::11 80 2001:db8::1" ]')
    target = Target(ip_address("2001:db8::1"), 80, 0, ip_address("fd00::11"))
    assert _answer(program, target).passed


def test_programs_that_cannot_be_started(public: Path) -> None:
    """Nothing is known of the real server then."""
    plain = public / "plain"
    plain.write_text("#!/bin/sh\n")
    secret = Path(_program(public / "secret", "exit 0"))
    secret.chmod(0o700)
    for path, why in (
        (public / "none", "No such file"),
        (plain, "Permission denied"),
        (secret, "Permission denied"),
        (public, "Permission denied"),
    ):
        found = _answer(str(path))
        assert found.passed is None
        assert f"{path} could not be started: {why}" in found.why


@pytest.mark.parametrize(
    ("last", "passed"), [("sleep 1000", False), ("exit 0", True)], ids=["hangs", "ends"]
)
def test_what_a_program_leaves_behind_is_killed(public: Path, last: str, passed: bool) -> None:
    """With its whole process group: at its timeout, or when it has ended."""
    there = public / "there"
    there.mkdir(mode=0o777)
    there.chmod(0o777)
    program = _program(
        public / "check",
        f"sleep 1000 & echo $! > {there}/child",
        f"(trap '' TERM HUP INT; while :; do sleep 1; done) & echo $! > {there}/deaf",
        last,
    )
    before = probed.descriptors()
    found = _answer(program, timeout="20s" if passed else "1s")
    assert found.passed is passed
    assert passed or f"{program} does not end within 1s" in found.why
    for name in ("child", "deaf"):
        number = int((there / name).read_text())
        wait_until(lambda pid=number: not _runs(pid), f"{name} is gone")  # type: ignore[misc]
    assert probed.descriptors() == before


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_cancelled_program_is_killed(public: Path) -> None:
    there = public / "there"
    there.mkdir()
    there.chmod(0o777)
    program = _program(public / "check", f"echo $$ > {there}/pid; sleep 1000")

    async def cancelled() -> int:
        target = Target(ip_address("10.0.1.11"), 80)
        task = asyncio.create_task(
            probe(target, parse_check(f"exec:{program},every=99,timeout=99"))
        )
        async with asyncio.timeout(20):
            while not (there / "pid").exists() or not (there / "pid").read_text():
                await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return int((there / "pid").read_text())

    assert not _runs(asyncio.run(cancelled()))


def test_many_programs_at_once(public: Path) -> None:
    program = _program(public / "check", "exit $PORT")
    check = parse_check(f"exec:{program},every=60,timeout=60")

    async def ask() -> list[Answer]:
        targets = [Target(ip_address("10.0.1.11"), n % 2) for n in range(40)]
        return await asyncio.gather(*(probe(target, check) for target in targets))

    assert [a.passed for a in asyncio.run(ask())] == [n % 2 == 0 for n in range(40)]


def test_nobody_is_no_number_of_ours() -> None:
    import pwd

    assert pwd.getpwuid(programs.NOBODY).pw_name == "nobody"
