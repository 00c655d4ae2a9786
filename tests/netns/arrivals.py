"""Which of a client's packets reach LOCAL_IN of the director."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import Reply, tcp_get, udp_send
from tests.harness.waiting import wait_until
from tests.netns.addresses import ROUTER
from tests.netns.packets import need_frag, transmit

Network = IPv4Network | IPv6Network

# Sent last: what was sent before it and is not counted when it is, never will be.
LAST = ("10.0.0.1", "fd00::1")


def settle(client: Namespace, counter: LocalInCounter) -> None:
    """Wait until all that the client has sent so far has come as far as it goes."""
    before = counter.counts()
    udp_send(client, list(LAST), 9)

    def counted() -> bool:
        now = counter.counts()
        return all(now.get(last, 0) > before.get(last, 0) for last in ((0, ip) for ip in LAST))

    wait_until(counted, "the last datagrams are counted")


def accepted(net: Lab, counter: LocalInCounter, addresses: Iterable[object]) -> dict[str, int]:
    """Send a datagram to each address; return those that reached LOCAL_IN, with their marks."""
    wanted = {str(address) for address in addresses}
    counter.reset()
    udp_send(net.client, sorted(wanted), 9)
    settle(net.client, counter)
    return {dst: mark for mark, dst in counter.counts() if dst in wanted}


def send_every_kind(net: Lab, counter: LocalInCounter, vip: str) -> Reply:
    """A SYN, an ICMP error and fragments, to a VIP of mark 17, arrive; return TCP's answer."""
    version = ip_address(vip).version
    reply = tcp_get(net.client, vip, 80, timeout=0.5)
    assert counter.count(17, vip) == 1, "a TCP SYN"
    counter.reset()
    transmit(net.client, net.director, need_frag(ROUTER[version], vip))
    settle(net.client, counter)
    assert counter.count(17, vip) == 1, "an ICMP error about a VIP's answer"
    counter.reset()
    udp_send(net.client, [vip], 53, nbytes=4000)
    settle(net.client, counter)
    fragments = {4: 1, 6: 3}  # IPv6 reassembles after LOCAL_IN
    seen = {mark: n for (mark, dst), n in counter.counts().items() if dst == vip}
    assert seen == {17: fragments[version]}
    return reply


def prefixes_of_every_length() -> list[Network]:
    """Return prefixes of both IP versions, each followed by a gap of its own size."""
    return [*_shrinking(ip_network("16.0.0.0/4")), *_shrinking(ip_network("2000::/4"))]


def ends(prefixes: list[Network]) -> tuple[set[str], set[str]]:
    """Return the outermost addresses of all prefixes, and the ones next to them."""
    inside = {str(end) for prefix in prefixes for end in (prefix[0], prefix[-1])}
    outside = {str(end) for prefix in prefixes for end in (prefix[0] - 1, prefix[-1] + 1)}
    return inside, outside


def _shrinking(prefix: Network) -> Iterator[Network]:
    """Yield prefixes, each half of the one before, until there is one of a single address."""
    yield prefix
    while prefix.prefixlen < prefix.max_prefixlen:
        start = prefix.network_address + 2 * prefix.num_addresses
        prefix = ip_network(f"{start}/{prefix.prefixlen + 1}")
        yield prefix
