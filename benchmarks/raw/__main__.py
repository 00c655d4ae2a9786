"""Load addresses the fastest way, or remove them; print what only the sending took.

python -m benchmarks.raw route|nft|hash:net|hash:ip add|flush 4|6 FILE
"""

import json
import socket
import sys
import time

from benchmarks.raw import ipset, nft, route, wire


def main() -> int:
    """Pack, then send in the namespace that this process is in."""
    mechanism, verb, version, path = sys.argv[1:]
    keys = wire.read_keys(path, 4 if version == "4" else 16)
    chunks = _packed(mechanism, verb, keys)
    protocol = socket.NETLINK_ROUTE if mechanism == "route" else nft.NETLINK_NETFILTER
    with wire.connect(protocol, max(map(len, chunks))) as link:
        before, spent = time.perf_counter(), time.process_time()
        wire.send(link, chunks)
        wall, cpu = time.perf_counter() - before, time.process_time() - spent
    print(json.dumps({"wall": wall, "cpu": cpu, "count": _count(mechanism, int(version))}))
    return 0


def _packed(mechanism: str, verb: str, keys: wire.Rows) -> list[bytes]:
    if mechanism == "route":
        return route.packed(verb, keys)
    return nft.packed(verb, keys) if mechanism == "nft" else ipset.packed(mechanism, verb, keys)


def _count(mechanism: str, version: int) -> int:
    if mechanism == "route":
        return route.count(version)
    return nft.count(version) if mechanism == "nft" else ipset.count()


if __name__ == "__main__":
    sys.exit(main())
