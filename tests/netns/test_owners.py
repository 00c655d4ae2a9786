"""Two state directories and one kernel: whose it is, it says itself."""

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import iptables, owners, snapshot

METHODS = ("fwmark", "fwmark-iptables", "route", "tproxy")
NOBODYS = {  # what is there says nobody's, as if somebody wrote it from memory, or an older vipctl
    "fwmark": "nft 'delete table inet vipctl; add table inet vipctl'",
    "fwmark-iptables": "iptables-legacy -w -t mangle -X $(iptables-legacy -w -t mangle -S | "
    "grep -o 'VIPCTL-OF-.*')",
}
OTHERS = {  # nor what others say in its place
    "fwmark": "nft 'delete table inet vipctl; add table inet vipctl { comment \"mine\"; }'",
    "fwmark-iptables": f"{NOBODYS['fwmark-iptables']}; iptables-legacy -w -t mangle -N VIPCTL-OF-",
}


@pytest.mark.parametrize("theirs", METHODS)
@pytest.mark.parametrize("ours", METHODS)
def test_what_another_took_over_stays_as_it_is(
    net: Lab, vipctl: Vipctl, ours: str, theirs: str
) -> None:
    owners.assert_left(
        vipctl,
        ours,
        theirs,
        lambda: (
            snapshot.kernel(net.director),
            iptables.ours(net.director),
            snapshot.directory(vipctl.state_dir),
        ),
    )


@pytest.mark.parametrize("method", NOBODYS)
@pytest.mark.parametrize("words", [NOBODYS, OTHERS], ids=["nobody's", "others'"])
def test_what_says_nothing_is_restored(
    net: Lab, vipctl: Vipctl, words: dict[str, str], method: str
) -> None:
    vipctl(*owners.RANGE, "--fwmark", "17", *owners.options(method))
    net.director.run(["sh", "-c", words[method]])
    assert vipctl(*owners.RANGE, "--fwmark", "17")["restored"] is True
    assert vipctl("status")["kernel"] == "as stored"


def test_a_service_that_changes_its_method_stays_ours(vipctl: Vipctl) -> None:
    owners.assert_a_service_stays_ours(vipctl, ("fwmark", "fwmark-iptables", "route", "fwmark"))
