"""Who answers a client's pings."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.harness.lab import Lab


def answering(net: Lab, addresses: Iterable[str]) -> set[str]:
    """Ping all at the same time; return those from whom an answer comes."""

    def answers(address: str) -> bool:
        ping = ["ping", "-c1", "-W0.3", address]
        return net.client.run(ping, check=False).returncode == 0

    asked = list(addresses)
    with ThreadPoolExecutor(len(asked)) as pool:
        return {a for a, answer in zip(asked, pool.map(answers, asked), strict=True) if answer}
