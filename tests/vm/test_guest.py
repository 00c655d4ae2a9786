"""The guest: a Debian kernel with IPVS and whatever else the product may need."""

from pathlib import Path

import pytest

from tests.harness.netns import execute

MODULES = "ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc ip_vs_wlc ip_vs_sh ip_vs_mh ip_vs_dh ipip nf_tables \
    nft_tproxy nft_redir dummy veth nf_conntrack ip_set_hash_net iptable_mangle xt_mark xt_set"


@pytest.mark.parametrize("module", MODULES.split())
def test_modules_load(module: str) -> None:
    execute(["modprobe", module])
    assert Path("/sys/module", module).exists()


def test_kernel_has_ipvs() -> None:
    execute(["modprobe", "ip_vs"])
    assert "IP Virtual Server" in Path("/proc/net/ip_vs").read_text()
