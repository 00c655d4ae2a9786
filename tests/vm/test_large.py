"""Large sets, on a processor of another kind than the one that other tests run on."""

import random
from ipaddress import ip_address
from pathlib import Path

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.vm.observe import outcomes

NUMBER = 20_000
DICE = random.Random(7)


def test_half_of_a_large_balanced_set_goes(net: Lab, vipctl: Vipctl, tmp_path: Path) -> None:
    """What goes, and what stays, is computed rightly from scattered addresses."""
    base = int(ip_address("198.18.0.0"))
    vips = [str(ip_address(base + n)) for n in DICE.sample(range(1 << 17), NUMBER)]
    everything, half = tmp_path / "all", tmp_path / "half"
    everything.write_text("\n".join(vips))
    half.write_text("\n".join(vips[: NUMBER // 2]))
    done = vipctl(
        "add-range", f"@{everything}", "--service=web", "--method=fwmark", "--real=10.0.1.11"
    )
    assert done["added"]["addresses"] == NUMBER
    assert vipctl("add-range", f"@{half}", "--service=web")["changed"] is False
    assert vipctl("remove-range", f"@{half}")["removed"]["addresses"] == NUMBER // 2
    met = outcomes(net.client, [vips[0], vips[1], vips[-1], vips[-2]], 80)
    assert [tcp == "real1" for tcp, _ in met.values()] == [False, False, True, True]
