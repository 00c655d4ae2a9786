"""Hooks, and putting fragments together: as long as a service needs them, and no longer.

Linux 6.1 does not list hooks (CONFIG_NETFILTER_NETLINK_HOOK of Debian's).
"""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.harness import module
from tests.harness.netns import Namespace
from tests.stress.netlink.asking import port
from tests.stress.netlink.client import Client
from vipctl.linux import shim


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    with module.loaded():
        yield


@pytest.fixture
def host() -> Iterator[Namespace]:
    with closing(Namespace.create("shim")) as namespace:
        yield namespace


@pytest.fixture
def link(host: Namespace) -> Iterator[Client]:
    with host, Client() as client:
        yield client


def hooks(host: Namespace) -> tuple[bool, bool]:
    """Whether a namespace has the module's, and those that put fragments together."""
    listed = "".join(host.run(["nft", "list", "hooks", ip]).stdout for ip in ("ip", "ip6"))
    return "vip_prerouting" in listed, "defrag" in listed


def test_nothing_stays_that_no_service_needs(host: Namespace, link: Client) -> None:
    assert hooks(host) == (False, False)
    for needing in ({"PORTS": port(80)}, {"FLAGS": shim.PING}):
        link("SET_SERVICE", MARK=1, **needing)
        link("SET_SERVICE", MARK=2, **needing)
        link("SET_SERVICE", MARK=2)
        assert hooks(host) == (True, True)
        link("SET_SERVICE", MARK=1)
        assert hooks(host) == (True, False)
        link("SET_SERVICE", MARK=1, **needing)
        link("DEL_SERVICE", MARK=1)
        assert hooks(host) == (True, False)
        link("DEL_SERVICE", MARK=2)
        assert hooks(host) == (False, False)
    link("BEGIN")
    link("SET_SERVICE", MARK=1, STAGED=True, PORTS=port(80))
    assert hooks(host) == (False, True)
    link("BEGIN")
    assert hooks(host) == (False, False)
    link("SET_SERVICE", MARK=1, STAGED=True, PORTS=port(80))
    link("COMMIT")
    assert hooks(host) == (True, True)
    link("BEGIN")
    link("COMMIT")
    assert hooks(host) == (False, False)


def test_an_abandoned_state_leaves_nothing(host: Namespace, link: Client) -> None:
    link("BEGIN")
    link("SET_SERVICE", MARK=1, STAGED=True, PORTS=port(80))
    assert hooks(host) == (False, True)
    link.close()
    assert hooks(host) == (False, False)
