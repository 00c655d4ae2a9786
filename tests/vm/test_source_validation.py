"""Reverse-path filtering by mark, as wg-quick and Tailscale set it, takes no packet away."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.harness.netns import Namespace
from tests.harness.traffic import tcp_post
from tests.vm.observe import is_ipv6, tcp, udp

VIPS = ("203.0.113.7", "2001:db8:1::7")
REALS = [f"--real={real}" for real in ("10.0.1.11", "10.0.1.12", "fd00:1::11", "fd00:1::12")]
EVENLY = Counter(real1=1, real2=1)


@contextmanager
def _validating(director: Namespace, rp_filter: int) -> Iterator[None]:
    """The director validates sources; its own interfaces' settings are 0, the larger counts."""
    wanted = {"src_valid_mark": 1, "rp_filter": rp_filter}
    try:
        for name, value in wanted.items():
            director.sysctl(f"net.ipv4.conf.all.{name}", value)
        yield
    finally:
        for name in wanted:
            director.sysctl(f"net.ipv4.conf.all.{name}", 0)


def _assert_balanced(net: Lab) -> None:
    for vip in VIPS:
        assert tcp(net.client, [vip] * 2) == udp(net.client, [vip] * 2) == EVENLY
        assert udp(net.client, [vip] * 2, nbytes=4000) == EVENLY
    assert tcp_post(net.client, VIPS[0], 80, 1_000_000, timeout=30).answered


def test_nat(net: Lab, vipctl: Vipctl) -> None:
    vipctl("add-range", *VIPS, "--service=web", *REALS, "--scheduler=rr")
    for rp_filter in (0, 1, 2):
        with _validating(net.director, rp_filter):
            _assert_balanced(net)


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_answers_past_the_director(direct: Lab, vipctl_direct: Vipctl, forward: str) -> None:
    reals = [real for real in REALS if forward == "dr" or not is_ipv6(real.partition("=")[2])]
    options = [f"--forward={forward}", "--scheduler=rr", "--set-sysctls"]
    vipctl_direct("add-range", *VIPS, "--service=web", *reals, *options)
    for rp_filter in (0, 1, 2):
        with _validating(direct.director, rp_filter):
            if forward == "dr":
                _assert_balanced(direct)
            else:
                assert tcp(direct.client, [VIPS[0]] * 2) == EVENLY
                assert udp(direct.client, [VIPS[0]] * 2, nbytes=4000) == EVENLY
