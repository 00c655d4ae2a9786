"""Real web servers behind the daemon: what becomes of each that breaks, and when it is mended."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trustme

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.harness.nginx import HEALTH, Nginx
from tests.harness.waiting import wait_until
from tests.netns.test_health import keep
from tests.netns.test_watch import Daemon, watching
from vipctl.health.schedule import JITTER
from vipctl.health.verdicts import State
from vipctl.services.checks import parse_check
from vipctl.services.real import parse_reals
from vipctl.services.service import Service
from vipctl.state import verdicts as file

WWW, SHOP = "www.example.org", "shop.example.net"
OFTEN = "every=1s,timeout=1s,fall=2,rise=2"
CHECK = parse_check(f"http:{HEALTH},port=80,{OFTEN}")
NAMED = {
    "www": parse_check(f"https:/,port=443,host={WWW},{OFTEN}"),
    "shop": parse_check(f"https:/,port=443,host={SHOP},{OFTEN}"),
}
NUMBER = 4
REALS = parse_reals([f"10.0.1.{11 + index}" for index in range(NUMBER)])
WEB = Service("web", 0x1000, checks=(CHECK,), reals=REALS)
SERVICES = [
    WEB,
    *(
        WEB._replace(name=name, fwmark=0x1001 + number, checks=(check,))
        for number, (name, check) in enumerate(NAMED.items())
    ),
]
UP, DOWN = [State.UP] * NUMBER, [State.UP] + [State.DOWN] * (NUMBER - 1)
ATTEMPTS = 5
PATIENCE = 60.0  # seconds


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that the daemon trusts."""
    made, stored = trustme.CA(), tmp_path / "ca.pem"
    made.cert_pem.write_to_path(str(stored))
    monkeypatch.setenv("SSL_CERT_FILE", str(stored))
    return made


@pytest.fixture
def built(tmp_path: Path) -> Iterator[tuple[Lab, list[Nginx]]]:
    with lab(reals=NUMBER) as net, ExitStack() as stack:
        servers = [Nginx(real, tmp_path, f"nginx{n}") for n, real in enumerate(net.reals)]
        for server in servers:
            stack.callback(server.end)
        yield net, servers


@pytest.fixture
def director(built: tuple[Lab, list[Nginx]], tmp_path: Path) -> Iterator[Vipctl]:
    vipctl = Vipctl(built[0].director, tmp_path / "state")
    keep(vipctl, *SERVICES)
    yield vipctl
    Path(file.path(vipctl.state_dir)).unlink(missing_ok=True)


def states(vipctl: Vipctl, name: str) -> list[State]:
    """In the order of REALS."""
    with vipctl.host:
        found = file.read(vipctl.state_dir).services.get(name)
    return [found.reals[real.endpoint].state for real in REALS] if found else []


def reasons(vipctl: Vipctl, name: str) -> list[str]:
    with vipctl.host:
        found = file.read(vipctl.state_dir).services[name]
    return [found.reals[real.endpoint].why for real in REALS]


def wait_for(vipctl: Vipctl, name: str, wanted: list[State]) -> None:
    wait_until(lambda: states(vipctl, name) == wanted, f"{name}: {wanted}", PATIENCE)


def rounds(enough: int) -> int:
    """How often one server is asked until all others have been judged by so many answers.

    Their turn comes within a round and its jitter, the last answer within the timeout.
    """
    waited = enough * CHECK.every * (1 + JITTER) + CHECK.timeout
    return math.ceil(waited / (CHECK.every * (1 - JITTER))) + 1


def test_each_that_breaks_is_found_and_comes_back(
    built: tuple[Lab, list[Nginx]], director: Vipctl, authority: trustme.CA, tmp_path: Path
) -> None:
    """All but one break at once, each otherwise.

    The one that works is the clock: by how often it is asked, the others are found in time. Where
    the daemon gets no processor it takes longer, rightly, so it may try again.
    """
    good = {name: authority.issue_cert(name) for name in (WWW, SHOP)}
    for server in built[1]:
        server.start(good)
    taken = []
    with watching(director, tmp_path / "log") as daemon:
        wait_for_all(director, UP)
        for attempt in range(1, ATTEMPTS + 1):
            taken.append(break_and_mend(built[1], director, good))
            assert_said_once(daemon, attempt * (NUMBER - 1))
            if taken[-1][0] <= rounds(CHECK.fall) and taken[-1][1] <= rounds(CHECK.rise):
                return
    raise AssertionError(f"rounds until found, until mended: {taken}")


def break_and_mend(
    servers: list[Nginx], director: Vipctl, good: Mapping[str, trustme.LeafCert]
) -> tuple[int, int]:
    """How many rounds each took."""
    works, fails, hangs, ends = servers
    begun = works.asked()
    fails.fail()
    hangs.hang()
    ends.end()
    wait_for(director, "web", DOWN)
    found = works.asked()
    wait_for_all(director, DOWN)
    assert reasons(director, "web")[1:] == [
        f"{CHECK}: status 500",
        f"{CHECK}: connected, but no answer within 1s",
        f"{CHECK}: nothing listens on 10.0.1.14:80",
    ]
    hung = reasons(director, "www")[2]
    assert hung == f"{NAMED['www']}: connected, but no TLS handshake within 1s"
    broken = works.asked()
    fails.work()
    hangs.go_on()
    ends.start(good)
    wait_for(director, "web", UP)
    mended = works.asked()
    wait_for_all(director, UP)
    return found - begun, mended - broken


def wait_for_all(director: Vipctl, wanted: list[State]) -> None:
    for service in SERVICES:
        wait_for(director, service.name, wanted)


def assert_said_once(daemon: Daemon, number: int) -> None:
    """That so many times a real server of each service went down, and came back."""
    for service in SERVICES:
        said = partial(times_said, daemon, f"vipctl: {service.name}: real server ")
        wait_until(lambda said=said: said(" is up again") == number, "all is said")  # type: ignore[misc]
        assert said(" is down, and gets no new clients: ") == number


def times_said(daemon: Daemon, begin: str, words: str) -> int:
    return len([line for line in daemon.said() if line.startswith(begin) and words in line])


def test_certificates_and_the_names_that_they_are_for(
    built: tuple[Lab, list[Nginx]], director: Vipctl, authority: trustme.CA, tmp_path: Path
) -> None:
    """Of two names; of one, where the other is answered with its certificate too; of strangers."""
    both, one, stranger, none = servers = built[1]
    issue: Callable[..., trustme.LeafCert] = authority.issue_cert
    both.start({name: issue(name) for name in (WWW, SHOP)})
    one.start({WWW: issue(WWW)})
    stranger.start({name: trustme.CA().issue_cert(name) for name in (WWW, SHOP)})
    none.start()
    down, up = State.DOWN, State.UP
    with watching(director, tmp_path / "log"):
        wait_for(director, "www", [up, up, down, down])
        wait_for(director, "shop", [up, down, down, down])
        wait_for(director, "web", [up] * NUMBER)
        refused = "the certificate is refused: "
        why = reasons(director, "shop")
        assert f"{refused}Hostname mismatch, certificate is not valid for '{SHOP}'." in why[1]
        assert f"{refused}unable to get local issuer certificate" in why[2]
        assert "nothing listens on 10.0.1.14:443" in why[3]
        for server in servers[1:]:
            server.end()
            server.start({name: issue(name) for name in (WWW, SHOP)})
        wait_for_all(director, UP)
