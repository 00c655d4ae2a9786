"""Which of a client's packets reach LOCAL_IN of the director."""

from collections.abc import Iterable

from tests.harness.counter import LocalInCounter
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import udp_send
from tests.harness.waiting import wait_until

# Sent last: what was sent before it and is not counted when it is, never will be.
LAST = ("10.0.0.1", "fd00::1")


def settle(client: Namespace, counter: LocalInCounter) -> None:
    """Wait until all that the client has sent so far has come as far as it goes."""
    seen = [counter.count(0, address) for address in LAST]
    udp_send(client, list(LAST), 9)
    wait_until(
        lambda: all(
            counter.count(0, address) > before for address, before in zip(LAST, seen, strict=True)
        ),
        "the last datagrams are counted",
    )


def accepted(net: Lab, counter: LocalInCounter, addresses: Iterable[object]) -> dict[str, int]:
    """Send a datagram to each address; return those that reached LOCAL_IN, with their marks."""
    wanted = {str(address) for address in addresses}
    counter.reset()
    udp_send(net.client, sorted(wanted), 9)
    settle(net.client, counter)
    return {dst: mark for mark, dst in counter.counts() if dst in wanted}
