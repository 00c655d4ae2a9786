"""What the module knows of the director's addresses: no packet for a VIP comes from one of them."""

import socket
from collections.abc import Iterator

import pytest

from tests.harness import module
from tests.harness.netns import Namespace
from tests.stress.netlink.asking import VIP4, info, services, wired
from tests.stress.netlink.client import Client
from vipctl.linux import shim

PORT = 9


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with module.loaded():
        yield


@pytest.fixture
def pair() -> Iterator[tuple[Namespace, Namespace]]:
    """A host that accepts a VIP, and a client."""
    host = Namespace.create("shim")
    client = wired(host)
    mac = host.run(["ip", "-brief", "link", "show", "toward"]).stdout.split()[2]
    # It would ask for it with the address that it sends from, and a host does not answer its own.
    client.ip(f"neigh replace 10.9.0.1 lladdr {mac} dev back nud permanent")
    try:
        with host, Client() as link:
            link("SET_SERVICE", MARK=1, FLAGS=shim.DROP)
            link("ADD", MARK=1, PREFIXES4=VIP4)
            assert info(link, "COUNT") == 1
        yield host, client
    finally:
        client.close()
        host.close()


def refused(host: Namespace, client: Namespace, source: str) -> bool:
    """Whether a packet from there is."""
    client.ip(f"addr add {source}/32 dev lo")
    before = _refused(host)
    try:
        send(client, source)
    finally:
        client.ip(f"addr del {source}/32 dev lo")
    return _refused(host) > before


def _refused(host: Namespace) -> int:
    with host, Client() as link:
        return services(link)[1].number("REFUSED")


def send(client: Namespace, source: str) -> None:
    """Send a datagram; the host has looked at it when this returns."""
    with client, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        sending.bind((source, 0))
        sending.connect(("203.0.113.7", PORT))
        sending.send(b"?")


def test_addresses_are_counted(pair: tuple[Namespace, Namespace]) -> None:
    """Two of a subnet have its broadcast address, two interfaces an address: until both go."""
    host, client = pair
    host.sysctl("net.ipv4.conf.all.promote_secondaries", 1)
    host.ip(
        "link add one type dummy",
        "link add two type dummy",
        "addr add 172.20.0.1/24 brd + dev one",
        "addr add 172.20.0.2/24 brd + dev one",
        "addr add 172.21.0.1/32 dev one",
        "addr add 172.21.0.1/32 dev two",
    )
    for source in ("172.20.0.1", "172.20.0.2", "172.20.0.255", "172.21.0.1"):
        assert refused(host, client, source)
    host.ip("addr del 172.20.0.1/24 dev one", "addr del 172.21.0.1/32 dev one")
    for source in ("172.20.0.2", "172.20.0.255", "172.21.0.1"):
        assert refused(host, client, source)
    assert not refused(host, client, "172.20.0.1")
    host.ip("addr del 172.20.0.2/24 dev one", "link del two")
    for source in ("172.20.0.2", "172.20.0.255", "172.21.0.1", "172.20.0.3"):
        assert not refused(host, client, source)
