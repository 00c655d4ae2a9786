"""Names that somebody else gave to things in the kernel do not move a terminal's cursor."""

import re

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab

NAME = "we\x1b[2J\x9b\x07"  # of an interface: whatever is no space and no slash
DONE = {  # on the director
    "a rule like ours": "ip rule add pref 4390 iif {} fwmark 17 lookup 30320 protocol 118",
    "a rule before ours": "ip rule add pref 9 iif {} lookup main",
    "a rule for all": "ip rule add pref 9 oif {} lookup main; ip rule add pref 10 prohibit",
    "the way to the default gateway": "ip link add {} type veth peer name far; ip link set {} up; "
    "ip address add 192.0.2.9/24 dev {}; ip rule add pref 9 iif {} prohibit; "
    "ip route add default via 192.0.2.1 dev {} metric 1",
    "a set like ours": "ipset create vipctl4_p7 hash:net comment; "
    "ipset add vipctl4_p7 192.0.2.0/24 comment {}",
    "a table's comment": "nft add table inet vipctl '{{ comment \"{}\"; }}'",
    "a legacy chain": "iptables-legacy -w -t mangle -N VIPCTL-{}",
}


@pytest.mark.parametrize("method", ["fwmark", "fwmark-iptables"])
@pytest.mark.parametrize("kind", DONE)
def test_no_name_of_others_reaches_the_terminal(
    net: Lab, vipctl: Vipctl, capfd: pytest.CaptureFixture[str], kind: str, method: str
) -> None:
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", "--method", method)
    net.director.run(["sh", "-c", DONE[kind].format(*[f"'{NAME}'"] * 9)])
    capfd.readouterr()
    said = ""
    for words in (
        ("-v", "--check", "add-range", "198.51.100.0/24", "--fwmark", "17"),
        ("status",),
        ("-v", "add-range", "192.0.2.1", "--fwmark", "17"),
        ("-v", "restore"),
        ("-v", "restore", "--force"),
        ("status",),
        ("-v", "remove-service", "fwmark-17"),
    ):
        done = vipctl.text(*words)
        said += done.stdout + done.stderr
    said += "".join(capfd.readouterr())  # of libraries
    assert all(c.isprintable() for c in re.sub(r"[\n\t]", "", said)), repr(said)
