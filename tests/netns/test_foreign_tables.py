"""Tables of others are not trusted: they cannot crash, slow or mislead a command.

Read is nothing of them but chains that hooks call, and what these lead to.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns import foreign, snapshot
from tests.netns.processes import run
from tests.netns.zygote import Zygote

METHODS = ("fwmark", "route", "tproxy")
NAME = "canary"  # in what is not ours
RECEIVING = ["strace", "-f", "-q", "-xx", "-s", "1000000", "-e", "trace=recvfrom,recvmsg"]
TO_PORT = ["--to-port", "8080"]


def commands(method: str) -> list[list[str]]:
    """Of all kinds: with rules to be drawn and without, from nothing and to nothing."""
    options = ["--method", method, *(TO_PORT if method == "tproxy" else ())]
    return [
        ["add-range", "203.0.113.0/24", "--service", "web", *options],
        ["add-range", "192.0.2.0/24", "--service", "web"],
        ["add-range", "2001:db8:1::/64", "--service", "web"],
        ["set-service", "web", "--port", "tcp/80", "--port", "udp/53"],
        ["status"],
        ["restore"],
        ["remove-range", "192.0.2.0/24"],
        ["--check", "add-range", "192.0.2.0/24", "--service", "web"],
        ["remove-service", "web"],
    ]


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """What crashes there does not end the tests."""
    with Zygote() as found:
        yield found


@pytest.mark.parametrize("method", METHODS)
def test_a_set_of_a_newer_nft_crashes_nothing(
    net: Lab, vipctl: Vipctl, zygote: Zygote, method: str
) -> None:
    foreign.newer_set(net.director, NAME)
    for words in commands(method):
        done = zygote.run(vipctl, *words)
        assert done.code == 0, (words, done)


def received(net: Lab, file: Path, *argv: str) -> bool:
    """Whether a command gets to see the name of what is not ours."""
    net.director.run([*RECEIVING, "-o", str(file), *argv])
    text = file.read_text()
    assert "recv" in text
    return "".join(f"\\x{byte:02x}" for byte in NAME.encode()) in text


@pytest.mark.parametrize("method", METHODS)
def test_what_no_packet_meets_is_not_read(
    net: Lab, vipctl: Vipctl, tmp_path: Path, method: str
) -> None:
    foreign.hook(net.director, "others", "input priority 0", "tcp dport 22 counter")
    foreign.aside(net.director, "others", NAME)
    assert received(net, tmp_path / "nft", "nft", "list", "ruleset")
    for words in commands(method):
        assert not received(net, tmp_path / "vipctl", *vipctl.argv, *words), words


@pytest.mark.parametrize("method", METHODS)
def test_words_of_others_are_not_taken_for_ours(net: Lab, vipctl: Vipctl, method: str) -> None:
    """A comment may hold anything; tables come in the order in which they were added."""
    table = {"fwmark": "vipctl"}.get(method, f"vipctl_{method}")
    words = f'"\n}}\ntable inet {table} {{\n\tmap v4_24_1024 {{\n\t}}\n}}\n'
    foreign.commented(net.director, NAME, words)
    for command in commands(method):
        vipctl(*command)
    vipctl(*commands(method)[0])
    assert vipctl("status")["kernel"] == "as stored"
    assert vipctl("restore")["changed"] is False
    net.director.run(["nft", "delete", "table", "inet", table])
    assert vipctl("status")["kernel"] == "differs"


@pytest.mark.parametrize("method", METHODS)
def test_where_no_namespace_can_be_made(net: Lab, vipctl: Vipctl, method: str) -> None:
    """As in a container without CAP_SYS_ADMIN: the rules are those of elsewhere."""
    powerless = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    foreign.hook(net.director, NAME, "input priority 0", "counter")
    found = []
    for before in (powerless, ()):
        for words in commands(method)[:4]:
            code, printed = run(vipctl, *words, before=before)
            assert code == 0, printed
        assert vipctl("status")["kernel"] == "as stored"
        found.append(snapshot.unordered(net.director))
        vipctl("remove-service", "web")
    assert found[0] == found[1]
    assert "vipctl" not in net.director.run(["nft", "list", "ruleset"]).stdout
