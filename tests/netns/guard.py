"""The director's own sockets, asked by TCP and UDP, beside VIPs that are arranged in many ways."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.harness.command import Vipctl
from tests.harness.netns import Namespace
from tests.harness.traffic import TIME_LIMIT, Outcome, Reply, tcp_get, udp_ask
from tests.netns.addresses import RANGES

PATIENCE = 0.5  # for what must not come
PATIENCE_WITH_ERRORS = 2.0  # where some is an error, which must come, and some must not
# Of VIPS. Linux has nowhere to send an IPv4 error from: its source would be the VIP.
REJECTED = [
    *(Outcome.REFUSED, Outcome.REFUSED, Outcome.TIMEOUT, Outcome.TIMEOUT),
    *(Outcome.REFUSED, Outcome.REFUSED, Outcome.REFUSED, Outcome.REFUSED),
]

Arrange = Callable[..., None]


def acceptance_only(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", *options)


def with_ports(vipctl: Vipctl, *options: str) -> None:
    """The director's own ports are not among them."""
    ports = "--port", "tcp/80", "--port", "udp/80"
    vipctl("add-range", *RANGES, "--fwmark", "17", *ports, *options)


def with_the_directors_ports(vipctl: Vipctl, *options: str) -> None:
    """And nobody balances them."""
    ports = "--port", "tcp/22", "--port", "udp/53"
    vipctl("add-range", *RANGES, "--fwmark", "17", *ports, *options)


def shared(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-range", *RANGES, "--fwmark", "17", "--port", "tcp/22", *options)
    vipctl("add-range", *RANGES, "--fwmark", "18", "--port", "udp/53", *options)


def shared_by_three(vipctl: Vipctl, *options: str) -> None:
    for mark, port in (("17", "tcp/80"), ("18", "udp/80"), ("19", "tcp/22")):
        vipctl("add-range", *RANGES, "--fwmark", mark, "--port", port, *options)


def without_real_servers(vipctl: Vipctl, *options: str) -> None:
    vipctl("add-service", "web", *options)
    vipctl("add-range", *RANGES, "--service", "web")


ARRANGEMENTS: list[Arrange] = [
    acceptance_only,
    with_ports,
    with_the_directors_ports,
    shared,
    shared_by_three,
    without_real_servers,
]


def outcomes(
    host: Namespace, addresses: Iterable[str], timeout: float = TIME_LIMIT
) -> list[Outcome]:
    """TCP to 22 and 9999, then UDP to 53 and 9999, of each address; all at the same time."""
    asked: list[tuple[Callable[..., Reply], str, int]] = [
        (ask, address, port)
        for address in addresses
        for ask, port in ((tcp_get, 22), (tcp_get, 9999), (udp_ask, 53), (udp_ask, 9999))
    ]
    with ThreadPoolExecutor(len(asked)) as pool:
        waiting = [pool.submit(ask, host, *to, timeout=timeout) for ask, *to in asked]
        return [one.result().outcome for one in waiting]
