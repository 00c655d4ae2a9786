"""Sockets that wait for what clients send, as the kernel lists them."""

from collections.abc import Iterator

from vipctl import files

# By protocol, the state of those sockets: TCP_LISTEN and TCP_CLOSE of include/net/tcp_states.h.
STATES = {"tcp": "0A", "udp": "07"}
SUFFIXES = {4: "", 6: "6"}


def on_port(version: int, port: int, protocol: str = "tcp") -> bool:
    """Whether a socket of an IP version has the port, at any address, and no peer."""
    path = f"/proc/thread-self/net/{protocol}{SUFFIXES[version]}"
    return files.exists(path) and any(found == port for found in _ports(path, protocol))


def _ports(path: str, protocol: str) -> Iterator[int]:
    """The kernel lists TCP sockets that listen before all connections, which are not read."""
    for line in files.lines_after_head(path):
        _, local, _, state, *_ = line.split(maxsplit=4)
        if state == STATES[protocol]:
            yield int(local.rpartition(":")[2], 16)
        elif protocol == "tcp":
            return
