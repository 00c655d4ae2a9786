"""Real sync daemons, and a relay between them: a connection survives the loss of its director."""

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from tests.harness.lab import Lab
from tests.harness.netns import Namespace, execute
from tests.harness.relays import DEVICE, Director
from tests.harness.traffic import Connection
from tests.harness.waiting import wait_until
from tests.vm.test_sync import knows

VIPS, VIP = "203.0.113.0/24", "203.0.113.7"
PATIENCE = 180.0  # seconds: a guest takes ten of them to start Python
SYNC = ("set-sync", "--interface", DEVICE, "--id", "7")


class Group(NamedTuple):
    """The director of the lab, and two that reach the real servers through it."""

    lab: Lab
    directors: tuple[Director, Director, Director]

    def through(self, number: int) -> None:
        """Has the client send what is for VIPs to a director."""
        gateway = ("10.0.0.1", "10.0.5.2", "10.0.6.2")[number]
        self.lab.client.ip(f"route replace {VIPS} via {gateway}")


@pytest.fixture
def group(direct: Lab, tmp_path: Path) -> Iterator[Group]:
    execute(["modprobe", "tun"])
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with ExitStack() as stack:
        stack.callback(direct.director.run, ["ip", "link", "del", DEVICE], check=False)
        hosts = [direct.director, *(_other(stack, direct, number) for number in (2, 3))]
        addresses = ["10.0.9.1", "10.0.9.2", "10.0.9.3"]
        directors = []
        for host, address in zip(hosts, addresses, strict=True):
            place = tmp_path / address
            place.mkdir()
            peers = [other for other in addresses if other != address]
            director = Director(host, address, place, file, peers, PATIENCE)
            director.certify(authority)
            words = ("--service", "web", "--forward", "tun", "--port", "tcp/80")
            reals = [word for n in (0, 1) for word in ("--real", direct.real4(n))]
            director.vipctl("add-range", VIPS, *words, *reals)
            stack.callback(director.vipctl, "remove-service", "web")
            stack.callback(director.vipctl, "remove-sync")
            stack.callback(_end, director)
            directors.append(director)
        one, two, three = directors
        found = Group(direct, (one, two, three))
        found.through(0)
        stack.callback(direct.client.ip, f"route del {VIPS}")
        yield found


def _other(stack: ExitStack, lab: Lab, number: int) -> Namespace:
    """A director on two links: to the client, and to all directors, by a bridge in the first."""
    host, first = Namespace.create(f"other{number}"), lab.director
    stack.callback(host.close)  # and with it, all links to it
    if number == 2:
        first.ip(
            "link add directors type bridge",
            "link set directors up",
            "address add 10.0.9.1/24 dev directors",
        )
        stack.callback(first.ip, "link del directors")
    lab.client.ip(
        f"link add eth{number} type veth peer name eth0 netns {host.name}",
        f"link set eth{number} up",
        f"address add 10.0.{number + 3}.1/24 dev eth{number}",
    )
    first.ip(
        f"link add peer{number} type veth peer name peer netns {host.name}",
        f"link set peer{number} master directors up",
    )
    host.ip(
        *("link set eth0 up", f"address add 10.0.{number + 3}.2/24 dev eth0"),
        *("link set peer up", f"address add 10.0.9.{number}/24 dev peer"),
        "route add default via 10.0.9.1",
    )
    host.sysctl("net.ipv4.ip_forward", 1)
    return host


def _end(director: Director) -> None:
    if director.process:
        director.process.kill()
        director.process.wait(PATIENCE)


def begin(director: Director) -> None:
    """The relay, and then the kernel's daemons on its device."""
    director.start()
    director.vipctl(*SYNC)
    wait_until(lambda: bool(director.relay()["heard"]), "the relay knows the daemon", PATIENCE)


def test_a_connection_survives_the_loss_of_its_director(group: Group) -> None:
    one, two, three = group.directors
    begin(one)
    begin(two)
    for director, peer in ((one, two), (two, one)):
        director.wait_for(f"{peer.address} gets records")
        director.wait_for(f"{peer.address} sends records")
    group.through(1)
    with Connection(group.lab.client, VIP, 80) as connection:
        first = connection.ask()
        assert first.answered
        wait_until(lambda: knows(one.host, connection), "the other director hears of it")

        # One that comes late is told of it, though nothing is sent on the connection any more.
        assert not knows(three.host, connection)
        begin(three)
        wait_until(lambda: knows(three.host, connection), "the last director hears of it", PATIENCE)

        # The director that has it loses power.
        two.host.ip("link set eth0 down", "link set peer down")
        assert two.process
        two.process.send_signal(signal.SIGKILL)
        group.through(0)
        assert connection.ask().server == first.server
        one.wait_for(f"{two.address} sends no records")
        one.wait_for(f"{two.address} gets no records")
        group.through(2)
        assert connection.ask().server == first.server

    refused = [peer["refused"] for d in (one, three) for peer in d.relay()["peers"].values()]
    assert refused == [{}] * 4, "what real daemons say passes"
    assert one.relay()["own"]["refused"] == {}
    status = one.vipctl("status")
    assert status["sync"] == {"interface": DEVICE, "id": 7, "master": True, "backup": True}
