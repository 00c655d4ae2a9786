"""nftables rules of somebody else."""

from tests.harness.netns import Namespace


def hook(host: Namespace, table: str, where: str, *rules: str) -> None:
    """Add a table with one chain, `c`: `where` is its hook and priority."""
    body = "\n".join([f"type filter hook {where}; policy accept;", *rules])
    text = f"table inet {table} {{\nchain c {{\n{body}\n}}\n}}\n"
    host.run(["nft", "-f", "-"], input=text)


def packets(host: Namespace, table: str) -> int:
    """Return what the counters of that chain add up to."""
    words = host.run(["nft", "list", "chain", "inet", table, "c"]).stdout.split()
    return sum(int(words[at + 1]) for at, word in enumerate(words) if word == "packets")
