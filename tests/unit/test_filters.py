"""Rules that nobody has foreseen: nothing is said of what they do, and nothing fails."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from vipctl.linux.filters import expressions, matches, walk
from vipctl.linux.filters.packet import NEW, NOWHERE, Device, Hook, Packet
from vipctl.linux.filters.walk import Base, Verdict
from vipctl.linux.netlink import attribute

NAMES = ["meta", "payload", "ct", "fib", "cmp", "range", "bitwise", "byteorder", "immediate",
         "lookup", "match", "target", "reject", "counter", "limit", "something"]  # fmt: skip
MATCHES = ["mark", "tcp", "udp", "multiport", "conntrack", "state", "addrtype", "recent"]
PACKET = Packet(
    Hook.INPUT, 4, 6, destination=ip_address("203.0.113.7"), dport=80, mark=17,
    arriving=Device(2, "eth0"), leaving=NOWHERE, state=NEW, local=False,
)  # fmt: skip
numbers = st.integers(0, 40).map(lambda n: n.to_bytes(4))
nested = st.tuples(st.integers(1, 2), st.binary(max_size=8)).map(lambda a: attribute(*a))
parts = st.dictionaries(st.integers(1, 7), numbers | nested | st.binary(max_size=200))
rules = st.lists(st.tuples(st.sampled_from(NAMES), parts), max_size=5)


def no_set(_: str) -> None:
    """Of others."""


@given(rules)
def test_no_rule_fails(found: list[expressions.Expression]) -> None:
    assert isinstance(expressions.judged(found, no_set, PACKET), Verdict)


@given(st.sampled_from(MATCHES), st.integers(0, 5), st.binary(max_size=200))
def test_no_match_fails(name: str, revision: int, data: bytes) -> None:
    assert matches.match(name, revision, data, PACKET) in (True, False, None)


def test_chains_that_call_each_other_end() -> None:
    """As the kernel does not let them; nor is one chain gone through more than a few times."""

    def jump(_: Packet) -> Verdict:
        return Verdict(walk.JUMP, "c", sure=False)

    base = Base("t c", Hook.INPUT, 0, frozenset({4}), "c", True, lambda _: [jump, jump])
    assert base.loses(PACKET) == ""


def test_chains_that_many_rules_call_are_gone_through_once() -> None:
    """And beyond some number of rules, nothing is said."""
    seen = list[str]()

    def calls(name: str) -> walk.Rule:
        return lambda _: Verdict(walk.JUMP, name, sure=False)

    def read(chain: str) -> list[walk.Rule]:
        seen.append(chain)
        return [calls(str(int(chain) - 1))] * 20 if int(chain) else []

    narrow = Base("t 4", Hook.INPUT, 0, frozenset({4}), "4", True, read)
    assert (narrow.loses(PACKET), seen) == ("4", ["4", "3", "2", "1", "0"])
    wide = {"top": [calls(f"c{n}") for n in range(walk.MOST)]}
    rules = [lambda _: Verdict()] * walk.MOST

    def many(chain: str) -> list[walk.Rule]:
        seen.append(chain)
        return wide.get(chain, rules)

    seen.clear()
    assert Base("t top", Hook.INPUT, 0, frozenset({4}), "top", True, many).loses(PACKET) == ""
    assert len(seen) <= 5


def test_what_may_set_the_mark_is_not_known() -> None:
    """iptables -j CONNMARK --restore-mark, -j SET --map-set … --map-mark."""
    assert matches.target("LOG") == Verdict()
    assert {matches.target(name).kind for name in ("MARK", "CONNMARK", "SET")} == {walk.UNKNOWN}


def test_an_option_of_tcp_is_not_known() -> None:
    every = b"\0\0\xff\xff" * 2
    assert matches.match("tcp", 0, every + bytes(4), PACKET) is True
    assert matches.match("tcp", 0, every + bytes([2, 0, 0, 0]), PACKET) is None
