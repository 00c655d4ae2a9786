"""`vipctl sync`: what the sync daemon of one director says, those of all others hear."""

import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trustme

from tests.harness import synced
from tests.harness.guest import REPOSITORY
from tests.harness.netns import execute
from tests.harness.relays import DEVICE, Director
from tests.harness.waiting import wait_until
from tests.netns import processes
from tests.netns.relayed import (
    MARK,
    OTHER_END,
    RIP,
    VIP,
    Site,
    contents,
    heard,
    records,
    site,
)
from vipctl.relay import messages
from vipctl.relay.filter import MALFORMED, UNKNOWN
from vipctl.relay.transport import GREETING, framed

UDP = ["--insecure-udp"]
LARGE = b"\2\xff" + bytes(255) + b"\3\3sip"  # parameters of a record


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as built:
        yield built


def keeps(director: Director, number: int) -> bool:
    """Whether it knows so many connections."""
    return bool(director.relay().get("kept") == number)


@pytest.mark.parametrize("security", [None, UDP], ids=["tls", "udp"])
def test_what_one_says_all_others_hear_once(three: Site, security: list[str] | None) -> None:
    """From an address that is not local there, and that passes strict source validation."""
    one, two, other = three.directors
    two.host.sysctl("net.ipv4.conf.all.rp_filter", 1)
    three.start(security=security)
    with one.hearing() as own, two.hearing() as near, other.hearing() as far:
        for number in range(3):
            message = synced.message(records(5, number * 5))
            one.say(message)
            for ear in (near, far):
                found, (sender, port) = ear.recvfrom(2000)
                assert (found, sender, port) == (message, OTHER_END, synced.PORT)
        for ear in (own, near, far):
            assert heard(ear, 0) == []
        two.say(synced.message(records(1, 99)))
        assert contents(heard(own, 1) + heard(far, 1)) == records(1, 99) * 2
        assert heard(near, 0) == []
    stands = one.relay()["peers"][two.address]
    assert stands == {
        "there": True, "sent": 3, "dropped": 0, "sends": True, "taken": 1, "refused": {}
    }  # fmt: skip
    assert [director.stop() for director in three.directors] == [0, 0, 0]


def test_records_of_unknown_services_go_nowhere(three: Site) -> None:
    """Neither those of this director, nor those that a peer believes to be right."""
    one, two, other = three.directors
    two.vipctl.state_dir.rename(two.directory / "away")
    three.start()
    with two.hearing() as near, other.hearing() as far:
        stranger = synced.record("192.0.2.1", VIP, RIP, 9)
        one.say(synced.message([stranger, *records(1), stranger]))
        assert contents(heard(far, 1)) == records(1)
        assert heard(near, 0) == []
    assert one.relay()["own"] == {"taken": 1, "refused": {UNKNOWN: 2}}
    assert two.relay()["peers"][one.address]["refused"] == {UNKNOWN: 1}
    assert f"this director: a record is refused: {UNKNOWN} (and counted)" in one.said()
    assert f"{one.address}: a record is refused: {UNKNOWN} (and counted)" in two.said()


@pytest.mark.parametrize("wrong", ["authority", "address"])
def test_who_has_a_wrong_certificate_is_not_let_in(three: Site, wrong: str) -> None:
    one, two, other = three.directors
    if wrong == "authority":
        other.certify(trustme.CA())
        here, there = "is not let in: its certificate is not accepted", "not accepted"
    else:
        other.certify(three.authority, "10.0.9.77")
        here, there = "is not let in: its certificate names no peer, but 10.0.9.77", "mismatch"
    for director in three.directors:
        director.start()
    one.wait_for(f"{two.address} gets records")
    one.wait_for(f"{other.address} {here}")
    one.wait_for(f"{other.address} gets no records: its certificate is not accepted: ")
    assert any(there in line for line in one.said())
    with one.hearing() as ear, other.hearing() as far:
        other.say(synced.message(records(1)))
        two.say(synced.message(records(1, 1)))
        assert contents(heard(ear, 1)) == records(1, 1)
        assert heard(far, 0) == []
    peers = one.relay()["peers"]
    assert [peers[other.address][key] for key in ("there", "sends")] == [False, False]
    assert peers[two.address]["sends"]
    assert not any(f"{other.address} sends" in line for line in one.said())


def test_who_has_no_certificate_is_not_let_in(three: Site) -> None:
    one, _, other = three.directors
    one.start()
    context = ssl.create_default_context(cafile=str(other.authority))
    with other.host, socket.create_connection((one.address, 8849)) as plain:
        encrypted = context.wrap_socket(plain, server_hostname=one.address)
        assert encrypted.recv(100) == b"", "no greeting"
    one.wait_for(f"{other.address} is not let in: ")


def test_certificates_are_made_as_the_page_says(three: Site, tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "two-directors.md").read_text()
    made = page[page.index("    openssl req -x509") : page.index("\n\nEach director gets")]
    execute(["sh", "-ec", made], cwd=tmp_path)
    for director in three.directors:
        assert (tmp_path / f"{director.address}.key").stat().st_mode & 0o077 == 0
        for name in ("key", "pem"):
            file = director.directory / ("key.pem" if name == "key" else "cert.pem")
            file.write_bytes((tmp_path / f"{director.address}.{name}").read_bytes())
    three.start()


@contextmanager
def in_place_of(director: Director, peer: Director) -> Iterator[ssl.SSLSocket]:
    """A connection to a peer by which it takes records, with the director's certificate."""
    context = ssl.create_default_context(cafile=str(director.authority))
    context.load_cert_chain(*director.papers[3::2])
    with director.host:
        plain = socket.create_connection((peer.address, 8849), timeout=20)
    with context.wrap_socket(plain, server_hostname=peer.address) as encrypted:
        assert encrypted.recv(100) == GREETING
        yield encrypted


def test_tampered_and_truncated_messages_are_refused(three: Site) -> None:
    """And a peer that sends such a thing is heard all the same, when it says something right."""
    one, two, _ = three.directors
    one.start()
    good = synced.message(records(3))
    bad = [good[:-1], good[:40], good[:3], b"", good + b"x", good[:5] + b"\0" + good[6:]]
    bad += [good[:2] + b"\0\x20" + good[4:32], bytes(len(good)), synced.message([])]
    with one.hearing() as ear, in_place_of(two, one) as connection:
        for message in [*bad, good]:
            connection.sendall(framed(message))
        assert heard(ear, 1) == [good]
        moved = synced.record("192.0.2.1", VIP, "10.0.1.66", MARK)
        message = synced.message([moved])
        connection.sendall(framed(message))
        assert heard(ear, 0) == []
        come = one.relay()["peers"][two.address]
        assert come["refused"][MALFORMED] == len(bad)
        assert come["refused"].keys() - {MALFORMED} == {"its service has not this real server"}
        assert come["taken"] == 3
    one.wait_for(f"{two.address} sends no records")


@pytest.mark.parametrize("security", [None, UDP], ids=["tls", "udp"])
def test_who_comes_later_is_told_all(three: Site, security: list[str] | None) -> None:
    """Each connection's last record: by its own director, or by any if that one is gone."""
    one, two, other = three.directors
    three.start(security=security)
    with two.hearing(), other.hearing():
        one.say(*(synced.message(records(10, n)) for n in range(0, 100, 10)))
        moved = synced.message([synced.record("10.64.0.5", VIP, RIP, MARK, timeout=60)])
        one.say(moved)
        other.say(synced.message(records(10, 200)))
        wait_until(partial(keeps, two, 110), "two knows all connections")
    expected = sorted([*records(5), *records(94, 6), *records(10, 200), *records(0)])
    expected = sorted([*expected, messages.read(moved)[0].data])

    def told() -> list[bytes]:
        """By the first messages that are together as many, and no more come."""
        with two.hearing() as ear:
            found: list[bytes] = []
            while len(contents(found)) < len(expected):
                found.append(ear.recv(2000))
            assert heard(ear, 0) == []
            return contents(found)

    assert two.stop() == 0
    two.start(security=security)
    assert told() == expected
    one.stop()
    other.wait_for(f"{one.address} sends no records")
    two.stop()
    two.start(security=security)
    assert told() == expected, "by the one that is left"
    wait_until(lambda: not two.relay()["heard"], "the relay knows that nobody hears")
    assert told() == expected, "a daemon that begins to hear gets what its relay knows"


@contextmanager
def slow(director: Director) -> Iterator[None]:
    """A director that takes a connection, and then reads four kilobytes a second of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*director.papers[3::2])
    with director.host:
        listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    listening.bind((director.address, 8849))
    listening.listen()
    listening.settimeout(20)
    with listening:
        plain, _ = listening.accept()
        with (
            context.wrap_socket(plain, server_side=True) as connection,
            ThreadPoolExecutor(1) as pool,
        ):
            connection.sendall(GREETING)
            ended = threading.Event()
            reading = pool.submit(_read_slowly, connection.fileno(), ended)
            try:
                yield
            finally:
                ended.set()
            reading.result()


def _read_slowly(descriptor: int, ended: threading.Event) -> None:
    """A peer that reads nothing at all is given up after a while."""
    while not ended.wait(1):
        os.read(descriptor, 4000)


def test_a_slow_peer_loses_the_oldest_and_delays_nobody(three: Site) -> None:
    one, two, other = three.directors
    two.peers = [one.address]
    one.start()
    two.start()
    longest, step = 0.0, 200
    with two.hearing() as ear, slow(other):
        one.wait_for(f"{other.address} gets records")
        one.wait_for(f"{two.address} gets records")
        with one.host, synced.speaking(DEVICE) as mouth:
            for first in range(0, 5_000, step):
                sent, begun = records(step, first, LARGE), time.monotonic()
                for record in sent:
                    mouth.send(synced.message([record]))
                assert contents([ear.recv(2000) for _ in sent]) == sorted(sent)
                longest = max(longest, time.monotonic() - begun)
        peers = one.relay()["peers"]
    assert longest < 5
    assert (peers[two.address]["sent"], peers[two.address]["dropped"]) == (5_000, 0)
    behind = peers[other.address]
    assert behind["there"]
    assert behind["dropped"] > 500
    assert 5_000 - behind["sent"] - behind["dropped"] in (2048, 2049), "what waits, and is sent now"
    one.wait_for(f"{other.address} gets no records: ")


def test_a_peer_that_hangs_is_given_up_and_told_all_when_it_goes_on(three: Site) -> None:
    one, two, _ = three.directors
    one.patience = 90
    for director in (one, two):
        director.start()
    one.wait_for(f"{two.address} gets records")
    assert two.process
    two.process.send_signal(signal.SIGSTOP)
    for first in range(0, 1500, 100):
        one.say(*(synced.message([record]) for record in records(100, first, LARGE)))
        wait_until(partial(keeps, one, first + 100), "all of them are heard")
    one.wait_for(f"{two.address} gets no records: Connection timed out")
    assert two.relay() == {"answers": False}
    two.process.send_signal(signal.SIGCONT)
    wait_until(partial(keeps, two, 1500), "it is told all")


def test_a_recording_can_be_taken_again(three: Site, tmp_path: Path) -> None:
    one, two, _ = three.directors
    file = tmp_path / "recording"
    one.start("--record", str(file))
    one.say(*(synced.message(records(10, n)) for n in range(0, 100, 10)))
    wait_until(partial(keeps, one, 100), "it has come")
    one.stop()
    assert file.stat().st_mode & 0o777 == 0o600
    two.start("--replay", str(file))
    with two.hearing() as ear:
        assert contents(heard(ear, 3)) == sorted(records(100))
    words = ("sync", "--listen", one.address, "--peer", two.address, *one.papers)
    code, printed = processes.run(one.vipctl, *words, "--record", str(file))
    assert (code, "File exists" in printed["error"]["message"]) == (5, True)


def test_what_it_cannot_begin_with_is_said(three: Site, tmp_path: Path) -> None:
    one, two, _ = three.directors
    start = ("sync", "--listen", one.address, "--peer", two.address)
    papers = [*one.papers[:-1], str(two.directory / "key.pem")]
    for words, code, text in (
        ([*start], 2, "--tls-ca, --tls-cert and --tls-key are needed"),
        ([*start, *UDP, *one.papers], 2, "--insecure-udp has no certificates"),
        ([*start, *papers], 5, "cannot use "),
        ([*start, *one.papers, "--service", "wbe"], 3, "there is no service 'wbe'"),
        ([*start, *one.papers, "--peer", two.address], 2, "two directors have the same address"),
        ([*start[:2], "10.0.9.99", *start[3:], *one.papers], 4, "cannot listen on 10.0.9.99:8849"),
        ([*start, *one.papers, "--replay", str(one.log)], 5, "cannot read"),
        (["--check", *start, *one.papers], 2, "--check changes nothing"),
    ):
        done, printed = processes.run(one.vipctl, *words)
        assert (done, text in printed["error"]["message"]) == (code, True), printed
