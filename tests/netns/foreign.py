"""nftables rules of somebody else."""

from tests.harness.netns import Namespace
from vipctl.linux.netlink import NLM_F_CREATE, attribute
from vipctl.linux.nftables import replay, transactions
from vipctl.linux.nftables.transactions import NAME, NEWSET, Message, Owned

# What nft 1.1.3 makes of `set e { type ipv4_addr; flags interval; }`: flags, type and length of the
# key, the set's number in the transaction, user data. With the latter libnftables 1.0.6 crashes.
NEWER = {
    3: bytes([0, 0, 0, 4]),
    4: bytes([0, 0, 0, 7]),
    5: bytes([0, 0, 0, 4]),
    10: bytes([0, 0, 0, 1]),
    13: bytes.fromhex("00040200000003080004040000000100"),
}


def newer_set(host: Namespace, table: str) -> None:
    """Add a table with a set as nft has written them since 1.1.2, in any container."""
    where = Owned("inet", table)
    content = where.head({NAME: f"{table}_set"}) + b"".join(
        attribute(kind, value) for kind, value in NEWER.items()
    )
    with host:
        transactions.send([*replay.empty(where, ""), Message(NEWSET, content, NLM_F_CREATE)])


def commented(host: Namespace, table: str, words: str) -> None:
    """Add a table with a comment, which nft would take only without some characters."""
    with host:
        transactions.send(replay.empty(Owned("inet", table), words))


def hook(host: Namespace, table: str, where: str, *rules: str) -> None:
    """Add a table with one chain, `c`: `where` is its hook and priority."""
    body = "\n".join([f"type filter hook {where}; policy accept;", *rules])
    text = f"table inet {table} {{\nchain c {{\n{body}\n}}\n}}\n"
    host.run(["nft", "-f", "-"], input=text)


def aside(host: Namespace, table: str, name: str) -> None:
    """Add a set and a rule, named so, that no packet comes to."""
    rules = f'counter comment "{name}"\n'
    text = f"set {name} {{ type mark; elements = {{ 1, 2 }}; }}\nchain other {{\n{rules}}}\n"
    host.run(["nft", "-f", "-"], input=f"table inet {table} {{\n{text}}}\n")


def packets(host: Namespace, table: str) -> int:
    """Return what the counters of that chain add up to."""
    words = host.run(["nft", "list", "chain", "inet", table, "c"]).stdout.split()
    return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")
