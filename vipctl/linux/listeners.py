"""Sockets that wait for TCP connections, as the kernel lists them."""

from collections.abc import Iterator

from vipctl import files

LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h
LISTS = {4: "/proc/thread-self/net/tcp", 6: "/proc/thread-self/net/tcp6"}


def on_port(version: int, port: int) -> bool:
    """Whether a socket of an IP version listens on a TCP port, at any address."""
    return files.exists(LISTS[version]) and any(found == port for found in _ports(version))


def _ports(version: int) -> Iterator[int]:
    """The kernel lists sockets that listen before all connections, which are not read."""
    for line in files.lines_after_head(LISTS[version]):
        _, local, _, state, *_ = line.split()
        if state != LISTEN:
            return
        yield int(local.rpartition(":")[2], 16)
