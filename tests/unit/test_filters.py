"""Rules that nobody has foreseen: nothing is said of what they do, and nothing fails."""

from ipaddress import ip_address
from itertools import cycle, product

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


VERDICTS = st.builds(
    Verdict,
    st.sampled_from([walk.ACCEPT, walk.DROP, walk.RETURN, walk.CONTINUE, walk.JUMP, walk.GOTO]),
    st.sampled_from("cd"),
    st.booleans(),
)
CHAINS = st.fixed_dictionaries({name: st.lists(VERDICTS, max_size=4) for name in "bcd"})


@given(CHAINS, st.booleans())
def test_what_is_sure_to_be_lost_may_be(chains: dict[str, list[Verdict]], drops: bool) -> None:
    def read(chain: str) -> list[walk.Rule]:
        """Chains call those behind them alone, as the kernel wants it."""
        return [_always(v) for v in chains[chain] if not v.chain or v.chain > chain]

    base = Base("t b", Hook.INPUT, 0, frozenset({4}), "b", drops, read)
    found = {_fate(chains, drops, choices) for choices in product([False, True], repeat=6)}
    assert base.may_lose(PACKET) or found == {walk.ACCEPT}
    assert not base.loses(PACKET) or found == {walk.DROP}


def _always(verdict: Verdict) -> walk.Rule:
    return lambda _: verdict


def _fate(chains: dict[str, list[Verdict]], drops: bool, choices: tuple[bool, ...]) -> str:
    """What becomes of it where rules that may match do, or do not, by turns."""
    turn = cycle(choices)

    def through(chain: str) -> str:
        for kind, target, sure in chains[chain]:
            if (target and target <= chain) or not (sure or next(turn)) or kind == walk.CONTINUE:
                continue
            if kind not in (walk.JUMP, walk.GOTO):
                return kind
            inner = through(target)
            if inner != walk.RETURN or kind == walk.GOTO:
                return inner
        return walk.RETURN

    found = through("b")
    return found if found != walk.RETURN else walk.DROP if drops else walk.ACCEPT


def test_what_may_set_the_mark_is_not_known() -> None:
    """iptables -j CONNMARK --restore-mark, -j SET --map-set … --map-mark."""
    assert matches.target("LOG") == Verdict()
    assert {matches.target(name).kind for name in ("MARK", "CONNMARK", "SET")} == {walk.UNKNOWN}


def test_an_option_of_tcp_is_not_known() -> None:
    every = b"\0\0\xff\xff" * 2
    assert matches.match("tcp", 0, every + bytes(4), PACKET) is True
    assert matches.match("tcp", 0, every + bytes([2, 0, 0, 0]), PACKET) is None
