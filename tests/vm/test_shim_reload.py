"""The module goes while packets flow, and comes back; a namespace goes. Nothing is left behind."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import pytest

from tests.harness import kernellog, module, slabs
from tests.harness.command import Vipctl
from tests.harness.flow import Flow
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import Connection, tcp_get
from tests.harness.waiting import wait_until
from tests.netns.test_switch import RANGES, VIPS
from tests.vm.observe import SHORT, tcp, udp
from tests.vm.test_switch import REALS, UDP_PORT, Receivers
from tests.vm.test_zz_kernel_log import TROUBLE
from vipctl.linux import shim
from vipctl.services import batch
from vipctl.services.change import Entry, Shape
from vipctl.services.values import Port

WEB = ("add-range", *RANGES, "--service=web", "--method=shim", "--scheduler=rr", *REALS)
MANY = 5_000  # prefixes of an IP version: what is left of them stands out from other objects
NOISE = 1_000  # objects of caches that the module's are merged with, if they are
STUCK = 40.0  # seconds: the kernel complains of a namespace that cannot go after 10
MARK = 17
FIRST = 20  # packets that are enough to know that they arrive


@pytest.fixture(autouse=True)
def _loaded() -> Iterator[None]:
    """However a test ends, the module is loaded in the end of it, and goes then."""
    module.load()
    yield
    assert not kernellog.is_stuck()
    if not shim.MODULE.exists():
        module.load()
    module.unload()
    assert not slabs.exist(*slabs.NODES)


@contextmanager
def nothing_stays() -> Iterator[None]:
    """As many nodes are in use afterwards as before."""
    before = {cache: slabs.objects(cache) for cache in slabs.NODES}
    yield
    for cache, count in before.items():
        most = count if slabs.is_alone(cache) else count + NOISE

        def is_back(cache: str = cache, most: int = most) -> bool:
            return slabs.objects(cache) <= most

        wait_until(is_back, f"{cache} is back at {count}: {slabs.objects(cache)}")
    assert complaints() == []


def complaints() -> list[str]:
    """What the kernel has to say of it."""
    return [line for line in kernellog.lines() if TROUBLE.search(line)]


def many(mark: int) -> Iterator[Entry]:
    """Prefixes with holes between them, of both IP versions."""
    for version, network, length in ((4, "203.0.0.0", 32), (6, "2001:db8:1::", 64)):
        first = int(ip_address(network))
        for number in range(MANY):
            start = first + (number * 2 << (32 if version == 4 else 128) - length)
            yield Entry(Shape(version, 0, length), start, mark)


def flowing(receivers: Receivers) -> None:
    """Wait until datagrams arrive at the real servers."""
    before = receivers.read()
    wait_until(lambda: receivers.read() >= before + FIRST, "datagrams arrive")


def arrives(receivers: Receivers) -> bool:
    """Tell whether a datagram comes within half a second."""
    before = receivers.read()
    with suppress(TimeoutError):
        wait_until(lambda: receivers.read() > before, "one comes", 0.5)
    return receivers.read() > before


def test_unloaded_under_traffic(net: Lab, vipctl: Vipctl) -> None:
    """Nothing is accepted then, and vipctl says why; then everything goes on as it was."""
    with nothing_stays():
        vipctl(*WEB)
        unloaded_under_traffic(net, vipctl)
        assert {*tcp(net.client, VIPS), *udp(net.client, VIPS)} <= {"real1", "real2"}
        with net.director:
            (web,) = shim.services().values()
        assert web.counters.accepted > FIRST
        assert web.counters.left_over == web.counters.refused == 0
        vipctl("remove-service", "web")


def unloaded_under_traffic(net: Lab, vipctl: Vipctl) -> None:
    """Unload, see what becomes of it, load and restore."""
    receivers, flow = Receivers(net.reals), Flow(net.client, UDP_PORT, VIPS)
    held = [Connection(net.client, vip, 80, timeout=30) for vip in VIPS]
    try:
        flowing(receivers)
        module.unload()
        assert not slabs.exist(*slabs.NODES)
        receivers.read()
        assert not arrives(receivers)
        assert not any(tcp_get(net.client, vip, 80, timeout=SHORT).answered for vip in VIPS)
        _, error = refused = vipctl.error("add-range", "192.0.2.1", "--service=web")
        assert refused[0] == 5
        assert "the module vip_shim is not" in error["message"]
        assert "vipctl set-service web --method auto" in error["hint"]
        module.load()
        assert not arrives(receivers), "without vipctl it accepts nothing"
        assert vipctl("restore")["changed"] is True
        flowing(receivers)
        assert all(connection.ask().answered for connection in held)
        assert vipctl("restore")["changed"] is False
    finally:
        flow.stop()
        receivers.close()
        for connection in held:
            connection.close()


LINK = "link add {0} type veth peer name eth0 netns {1}"
SENDER = (
    "link set eth0 up",
    "addr add 10.0.0.2/24 dev eth0",
    "addr add fd00::2/64 dev eth0 nodad",
    "route add default via 10.0.0.1",
    "route add ::/0 via fd00::1",
)
GOING = (
    "link set eth0 up",
    "addr add 10.0.0.1/24 dev eth0",
    "addr add fd00::1/64 dev eth0 nodad",
)


@contextmanager
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    """A host that sends everything to another one, which accepts many prefixes."""
    sender, going = Namespace.create("sender"), Namespace.create("going")
    try:
        sender.ip(LINK.format("eth0", going.name))
        going.ip(*GOING)
        sender.ip(*SENDER)
        with going, shim.changing() as commands:
            for mark in range(MARK, MARK + 10):
                commands.set_service(mark, shim.Settings(shim.DROP, (Port("udp", UDP_PORT),)))
            commands.add(batch.of_entries(many(MARK)))
        yield sender, going
    finally:
        going.close()
        sender.close()


def accepted(host: Namespace) -> int:
    """How many packets the module has accepted on a host."""
    with host:
        return shim.services()[MARK].counters.accepted


def test_a_namespace_goes_with_all_it_has() -> None:
    """While packets come in: its end waits for nothing that the module holds."""
    vips = ["203.0.0.0", "2001:db8:1::1"]
    with nothing_stays(), pair() as (sender, going):
        flow = Flow(sender, UDP_PORT, vips)
        try:
            wait_until(lambda: accepted(going) > FIRST, "packets are accepted")
            begin_a_state(going)
            going.close()
            wait_until(lambda: not has_link(sender, "eth0"), "it is on its way")
            wait_for_its_end(sender)
        finally:
            flow.stop()


def wait_for_its_end(sender: Namespace) -> None:
    """Namespaces go one after the other: the next has gone if that before it is not stuck."""
    following = Namespace.create("following")
    sender.ip(LINK.format("next", following.name))
    following.close()
    wait_until(lambda: not has_link(sender, "next"), "the one before it has gone", STUCK)


def has_link(host: Namespace, name: str) -> bool:
    """Tell whether a host has this link."""
    return f" {name}:" in host.proc_net("dev")


class GivenUp(Exception):
    """Whoever began a state has thought better of it."""


def begin_a_state(host: Namespace) -> None:
    """Fill another state and end before it is put in use."""
    with suppress(GivenUp), host, shim.replacing() as commands:
        commands.set_service(MARK, shim.Settings(0, ()))
        commands.add(batch.of_entries(many(MARK)))
        raise GivenUp
