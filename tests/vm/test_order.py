"""Schedulers that map clients by the order of real servers: the same on every director."""

from threading import Event, Thread

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import CLIENT_SOURCES_4, Lab
from tests.harness.traffic import Connection, tcp_get
from tests.vm.observe import NODEST
from vipctl.linux import ipvs

VIP = "203.0.113.7"
FIRST, SECOND = "10.0.1.11", "10.0.1.12"
MANY = [f"10.0.1.{number}" for number in range(11, 17)]
MARK = 0x1000


def _mapping(net: Lab) -> dict[str, str]:
    return {s: tcp_get(net.client, VIP, 80, source=s).server for s in CLIENT_SOURCES_4}


def _added(net: Lab) -> list[str]:
    """The real servers as they were added to the kernel."""
    with net.director:
        (found,) = ipvs.read([MARK]).values()
    return [str(dest.real.address) for dest in found.dests]


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_clients_are_mapped_alike_whatever_happened_before(
    net: Lab, vipctl: Vipctl, scheduler: str
) -> None:
    vipctl("add-range", VIP, "--service=web", f"--real={FIRST}", f"--real={SECOND}")
    vipctl("set-service", "web", "--scheduler", scheduler)
    wanted = _mapping(net)
    assert set(wanted.values()) == {"real1", "real2"}
    vipctl("remove-real", "web", FIRST)
    vipctl("add-real", "web", FIRST)
    assert _mapping(net) == wanted
    vipctl("remove-service", "web")
    vipctl("add-range", VIP, "--service=web", f"--real={SECOND}")
    vipctl("add-real", "web", FIRST)
    vipctl("set-service", "web", "--scheduler", scheduler)
    assert _mapping(net) == wanted


def test_the_order_is_that_of_addresses(net: Lab, vipctl: Vipctl) -> None:
    reals = [f"--real={real}" for real in MANY[::2]]
    vipctl("add-range", VIP, "--service=web", *reals, "--scheduler=dh")
    vipctl("add-real", "web", *reversed(MANY[1::2]))
    assert _added(net) == MANY
    vipctl("remove-real", "web", MANY[2])
    vipctl("set-real", "web", f"{MANY[0]},weight=3")
    vipctl("add-real", "web", MANY[2])
    assert _added(net) == MANY
    net.director.run(["ipvsadm", "-d", "-f", str(MARK), "-r", MANY[0]])
    net.director.run(["ipvsadm", "-a", "-f", str(MARK), "-r", MANY[0], "-m", "-w", "3"])
    assert _added(net) != MANY
    assert vipctl("restore")["changed"]
    assert _added(net) == MANY


@pytest.mark.parametrize("nodest", [0, 1])
def test_no_connection_is_lost_for_it(net: Lab, vipctl: Vipctl, nodest: int) -> None:
    """Which is added anew while its connection is used, as often as the first comes back."""
    net.director.sysctl(NODEST, nodest)
    vipctl("add-range", VIP, "--service=web", f"--real={SECOND}", "--scheduler=sh")
    with Connection(net.client, VIP, 80, timeout=20) as connection:
        over, failures = Event(), list[Exception]()

        def use() -> None:
            while not over.is_set():
                try:
                    assert connection.ask().server == "real2"
                except Exception as e:
                    failures.append(e)
                    return

        using = Thread(target=use)
        using.start()
        for _ in range(8):
            vipctl("add-real", "web", FIRST)
            assert _added(net) == [FIRST, SECOND]
            vipctl("remove-real", "web", FIRST)
        over.set()
        using.join()
    assert failures == []
    assert net.director.sysctl(NODEST) == str(nodest)
    net.director.sysctl(NODEST, 0)
