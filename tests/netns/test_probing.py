"""Checks tcp, http and https of real servers that work, and of many that do not."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme

from tests.harness.netns import Namespace
from tests.harness.running import running
from tests.harness.servers import ScriptedServer
from tests.harness.waiting import wait_until
from tests.netns import probed
from tests.netns.probed import OK, Asked, dripping, encrypted, pouring, resetting, saying, silent
from vipctl.health.judging import Errand
from vipctl.probing import probe, probe_all, web
from vipctl.services.checks import Answer, Target, parse_check

SHORT = "timeout=0.5s"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
HTTP, HTTPS, TCP = f"http:/,{SHORT}", f"https:/,host=www.example.org,{SHORT}", f"tcp,{SHORT}"


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    with probed.asked_lab() as found:
        yield found


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trustme.CA]:
    """One that the director trusts."""
    made, file = trustme.CA(), tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(file))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        web._context.cache_clear()
        yield made
    web._context.cache_clear()


@pytest.mark.parametrize("version", [4, 6])
def test_a_server_that_works(asked: Asked, version: int) -> None:
    argv = [sys.executable, "-m", "http.server", "--bind", "::", "8000"]
    served = ["ip", "netns", "exec", asked.real.name, *argv]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with running(served, cwd=Path(__file__).parent, **silent) as process:
        wait_until(lambda: asked.answer("tcp", 8000, version).passed is True, "it serves")
        good, bad = asked.answer("http:/probed.py,body=ScriptedServer", 8000, version), "http:/none"
        assert good == (True, "answers with status 200 and the body that it should have")
        assert asked.answer(bad, 8000, version) == (False, "status 404")
        assert asked.answer(f"{bad},status=404", 8000, version).passed
        process.send_signal(signal.SIGSTOP)
        for check, passed in ((TCP, True), (HTTP, False)):
            assert asked.answer(check, 8000, version).passed is passed
        process.send_signal(signal.SIGCONT)
        assert asked.answer("http:/", 8000, version).passed
    refused = asked.answer("http:/", 8000, version)
    assert not refused.passed
    assert refused.why.startswith("nothing listens on ")


def test_the_question(asked: Asked) -> None:
    heard = []

    def script(connection: object) -> None:
        heard.append(probed.read_request(connection))  # type: ignore[arg-type]
        connection.sendall(OK)  # type: ignore[attr-defined]

    with asked.serving(script):
        assert asked.answer("http:/a?b=c,host=www.example.org").passed
        assert asked.answer("http:/").passed
    first, second = (text.decode().split("\r\n") for text in heard)
    assert first[0] == "GET /a?b=c HTTP/1.1"
    assert {"Host: www.example.org", "Connection: close"} <= set(first)
    assert "Host: 10.0.1.11" in second


@pytest.mark.parametrize(
    ("answer", "check", "passed"),
    [
        (OK, "http:/,body=^hello$", True),
        (OK, "http:/,body=ell", True),
        (OK, "http:/,body=bye", False),
        (OK, "http:/,status=204", False),
        (b"HTTP/1.0 302 Found\r\nLocation: /\r\n\r\n", "http:/", True),
        (b"HTTP/1.1 500 Oh\r\n\r\n", "http:/", False),
        (b"HTTP/1.1 500 Oh\r\n\r\n", "http:/,status=100-599", True),
        (b"HTTP/1.1 200\r\n\r\n", "http:/", True),
        (CHUNKED, "http:/,body=^hello$", True),
        (CHUNKED.replace(b"2\r\nlo\r\n", b"zz"), "http:/,body=hello", False),
        (HEAD + b"hello", "http:/,body=^hello$", True),
        (HEAD + b"x" * web.MOST_BODY + b"hello", "http:/,body=hello", False),
        (HEAD + b"x" * (web.MOST_BODY - 5) + b"hello", "http:/,body=hello", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello", "http:/,body=hello", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello", "http:/,body=hello", True),
        (b"HTTP/1.1 204 No\r\n\r\n", "http:/,body=hello", False),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "http:/", False),
        (b"HTTP/1.1 2xx OK\r\n\r\n", "http:/", False),
        (b"HTTP/1.1 200 OK\r\n", "http:/", False),
        (b"", "http:/", False),
    ],
)
def test_answers(asked: Asked, answer: bytes, check: str, passed: bool) -> None:
    with asked.serving(saying(answer)):
        found = asked.answer(check)
    assert found.passed is passed, found.why


@pytest.mark.parametrize("answer", [OK, CHUNKED], ids=["length", "chunked"])
def test_a_connection_that_stays_open_is_not_waited_for(asked: Asked, answer: bytes) -> None:
    with asked.serving(saying(answer, hold=True)):
        for check in ("http:/", "http:/,body=^hello$"):
            assert asked.answer(f"{check},{SHORT}").passed


BAD = {
    "silent": (silent, "no answer within 0.5s"),
    "resets": (resetting, "reset the connection"),
    "closes": (saying(b""), "closed before an answer"),
    "headers drip": (dripping(b"HTTP/1.1 200 OK\r\n", b"a"), "no answer within 0.5s"),
    "endless headers": (pouring(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 99), "KiB of headers"),
    "an endless header": (pouring(b"HTTP/1.1 200 OK\r\na: ", b"b" * 999), "KiB of headers"),
    "no status": (pouring(b"", b"HTTP" * 99), "KiB of headers"),
    "body drips": (dripping(HEAD, b"a"), "status 200, but no whole body within 0.5s"),
    "endless body": (pouring(HEAD, b"a" * 999), "the body has nothing like hello"),
    "a body of chunks": (
        pouring(CHUNKED.split(b"0\r\n\r\n")[0].replace(b"hel", b"bye"), b"1\r\na\r\n"),
        "the body has nothing like hello",
    ),
}


def test_servers_that_fail(asked: Asked) -> None:
    """All at once; however long they go on, an answer is there in time, and nothing is left."""
    before = probed.descriptors()
    for n, (script, _) in enumerate(BAD.values()):
        ScriptedServer(asked.real, "0.0.0.0", 7000 + n, script)
    there = probed.descriptors()
    answers = asked.answers((f"{HTTP},body=hello", 7000 + n) for n in range(len(BAD)))
    for name, answer in zip(BAD, answers, strict=True):
        assert answer.passed is False, name
        assert BAD[name][1] in answer.why, name
    assert before < there
    accepting = [7000 + n for n, name in enumerate(BAD) if name != "resets"]
    accepted = asked.answers((TCP, port) for port in accepting)
    assert [answer.why for answer in accepted if not answer.passed] == []


def test_bad_servers_behind_tls(asked: Asked, authority: trustme.CA) -> None:
    certificates = {"www.example.org": authority.issue_cert("www.example.org")}
    for n, (script, _) in enumerate(BAD.values()):
        served = encrypted(script, certificates)
        ScriptedServer(asked.real, "0.0.0.0", 7100 + n, served)
    answers = asked.answers((f"{HTTPS},body=hello", 7100 + n) for n in range(len(BAD)))
    for name, answer in zip(BAD, answers, strict=True):
        assert answer.passed is False, (name, answer)


def test_nobody_is_there(asked: Asked) -> None:
    gone = asked.target()._replace(address=asked.target().address + 100)

    async def ask() -> list[Answer]:
        return [await probe(gone, parse_check(check)) for check in (TCP, HTTP, HTTPS)]

    with asked.net.director:
        answers = asyncio.run(ask())
    assert {a.why for a in answers} == {f"no connection to {gone.address}:80 within 0.5s"}
    assert not any(a.passed for a in answers)


def test_certificates(asked: Asked, authority: trustme.CA) -> None:
    names = "www.example.org", "shop.example.org"
    good = {name: authority.issue_cert(name) for name in names}
    past = datetime.now(UTC) - timedelta(days=1)
    served = {
        "good": good,
        "of nobody's": {names[0]: trustme.CA().issue_cert(names[0])},
        "expired": {names[0]: authority.issue_cert(names[0], not_after=past)},
    }
    ports = {name: 8400 + n for n, name in enumerate(served)}
    for name, certificates in served.items():
        ScriptedServer(asked.real, "0.0.0.0", ports[name], encrypted(saying(OK), certificates))
    cases = [
        ("good", "https:/,host=www.example.org,body=^hello$", ""),
        ("good", "https:/,host=shop.example.org", ""),
        ("good", "https:/,sni=shop.example.org,host=other.example.org", ""),
        ("good", "https:/,host=other.example.org", "not valid for 'other.example.org'"),
        ("good", "https:/,host=other.example.org,verify=no", ""),
        ("good", "https:/,verify=no", ""),
        ("of nobody's", "https:/,host=www.example.org", "unable to get local issuer"),
        ("of nobody's", "https:/,host=www.example.org,verify=no", ""),
        ("expired", "https:/,host=www.example.org", "certificate has expired"),
    ]
    for (name, check, problem), answer in zip(
        cases, asked.answers((check, ports[name]) for name, check, _ in cases), strict=True
    ):
        assert answer.passed is (problem == ""), (name, check, answer)
        assert problem in answer.why, (name, check, answer)


def test_no_tls(asked: Asked) -> None:
    plain = b"HTTP/1.1 400 Bad\r\n\r\n"
    with asked.serving(lambda one: one.sendall(plain)), asked.serving(silent, 81):
        answers = asked.answers([(HTTPS, 80), (HTTPS, 81), (f"http:/,{SHORT}", 81)])
    assert [a.passed for a in answers] == [False, False, False]
    assert answers[0].why == "no TLS with 10.0.1.11:80: wrong version number"
    assert answers[1].why == "connected, but no TLS handshake within 0.5s"


def test_one_after_another(asked: Asked, authority: trustme.CA) -> None:
    """In one loop, as a daemon asks: each gets the descriptors of the one before."""
    served = encrypted(saying(OK), {"www.example.org": authority.issue_cert("www.example.org")})

    async def ask() -> list[Answer]:
        return [
            await probe(asked.target(port), parse_check(check))
            for _ in range(5)
            for check, port in ((HTTPS, 81), (HTTP, 80), (TCP, 80), (HTTPS, 80), (HTTP, 81))
        ]

    with asked.serving(saying(OK)), asked.serving(served, 81), asked.net.director:
        found = [answer.passed for answer in asyncio.run(ask())]
    assert found == [True, True, True, False, False] * 5


def test_a_check_leaves_no_connection(asked: Asked) -> None:
    """Neither side keeps a port in TIME_WAIT; a cancelled one leaves nothing either."""
    before = probed.descriptors()
    with asked.serving(saying(OK)), asked.serving(silent, 81):
        asked.answers([("http:/", 80), ("tcp", 80), (HTTP, 81)] * 10)

        async def cancelled() -> None:
            task = asyncio.create_task(probe(asked.target(81), parse_check("http:/")))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.all_tasks() == {asyncio.current_task()}

        with asked.net.director:
            asyncio.run(cancelled())
        known = asked.net.director.proc_net("tcp").splitlines()[1:]
        wait_until(lambda: probed.descriptors() <= before + 8, "the servers close their sides")
    assert [line for line in known if line.split()[2].endswith((":0050", ":0051"))] == []


def test_what_is_the_directors_fault_is_not_known(asked: Asked) -> None:
    """Routes and firewalls that refuse it. (TCP does not tell of a firewall that drops.)"""
    director, address = asked.net.director, asked.target().address
    udp = f"udp,send=00,{SHORT}"
    director.ip(f"route add prohibit {address}/32")
    answers = asked.answers([(TCP, 80), (HTTP, 80), (HTTPS, 80), (udp, 80)])
    director.ip(f"route del prohibit {address}/32")
    assert {a.passed for a in answers} == {None}
    assert answers[0].why == "10.0.1.11:80 was not asked: Permission denied"
    rules = "table inet wall { chain output { type filter hook output priority 0; drop\n}\n}"
    director.run(["nft", "-f", "-"], input=rules)
    answer = asked.answer(udp)
    director.run(["nft", "delete", "table", "inet", "wall"])
    assert answer == (None, "10.0.1.11:80 was not asked: Operation not permitted")


def test_a_director_without_descriptors(asked: Asked) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def ask() -> Answer:
        with ExitStack() as taken:
            resource.setrlimit(resource.RLIMIT_NOFILE, (probed.descriptors() + 8, hard))
            taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
            with suppress(OSError):
                while True:
                    taken.callback(os.close, os.dup(0))
            return await probe(asked.target(), parse_check(HTTP))

    with asked.net.director:
        assert asyncio.run(ask()) == (None, "10.0.1.11:80 was not asked: Too many open files")


def test_many_at_once_are_answered_as_each_alone(asked: Asked) -> None:
    """Accepted, refused, silent, without a route; and refused by the other IP version."""
    wall(asked.real)
    check = parse_check(TCP)
    nowhere = Target(ip_address("192.0.2.1"), 80)
    targets = [asked.target(80), asked.target(81), asked.target(82), nowhere, asked.target(80, 6)]
    errands = [Errand(target, check) for target in targets]
    found: dict[Errand, list[Answer]] = {errand: [] for errand in errands}

    async def ask() -> list[Answer]:
        await probe_all(errands, lambda errand, answer: found[errand].append(answer))
        return [await probe(errand.target, check) for errand in errands]

    before = probed.descriptors()
    with asked.serving(silent), asked.net.director:
        alone = asyncio.run(ask())
    asked.real.run(["nft", "delete table inet w"])
    assert [found[errand] for errand in errands] == [[answer] for answer in alone]
    assert [answer.passed for answer in alone] == [True, False, False, False, False]
    assert probed.descriptors() == before


def test_many_that_are_no_longer_wanted_leave_nothing(asked: Asked) -> None:
    errands = [Errand(Target(ip_address("10.0.1.99"), port), parse_check(TCP)) for port in (1, 2)]

    async def cancelled() -> int:
        task = asyncio.create_task(probe_all(errands, lambda *_: None))
        await asyncio.sleep(0.1)
        asking = probed.descriptors()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return asking - probed.descriptors()

    with asked.net.director:
        assert asyncio.run(cancelled()) == 3


def test_many_that_no_descriptor_is_left_for_are_not_known(asked: Asked) -> None:
    errands = [Errand(asked.target(port), parse_check(TCP)) for port in (81, 82)]
    found: list[Answer] = []

    async def ask() -> None:
        first = os.dup(0)  # the lowest that is free
        os.close(first)
        resource.setrlimit(resource.RLIMIT_NOFILE, (first, limits[1]))
        await probe_all(errands, lambda _, answer: found.append(answer))

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with asked.net.director:
            asyncio.run(ask())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [answer.passed for answer in found] == [None, None]
    assert found[0].why == "10.0.1.11:81 was not asked: Too many open files"


def test_many_that_have_answered_while_the_daemon_had_no_processor(asked: Asked) -> None:
    """Their time is over when it goes on, but the kernel has their answers."""
    errands = [Errand(asked.target(82), parse_check("tcp,every=1.2s,timeout=1.2s"))]
    found: list[Answer] = []

    async def ask() -> None:
        """The kernel asks again after a second, and is heard then."""
        loop = asyncio.get_running_loop()
        loop.call_later(0.3, asked.real.run, ["nft", "delete table inet w"])
        loop.call_later(0.6, time.sleep, 1.2)
        await probe_all(errands, lambda _, answer: found.append(answer))

    wall(asked.real)
    with asked.serving(silent, 82), asked.net.director:
        asyncio.run(ask())
    assert [answer.passed for answer in found] == [True]


def wall(host: Namespace) -> None:
    """Drops what comes for port 82."""
    host.run(["nft", "add table inet w; add chain inet w i {type filter hook input priority 0;}"])
    host.run(["nft", "add rule inet w i tcp dport 82 drop"])
