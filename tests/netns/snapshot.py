"""All that a command could have changed, to compare before and after."""

import hashlib
from functools import partial
from pathlib import Path

from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until

KERNEL = (
    "nft -s list ruleset",
    "ip rule",
    "ip -6 rule",
    "ip route show table all",
    "ip -6 route show table all",
)
# Counters and timers of the kernel's own, not settings.
VOLATILE = ("nf_conntrack_count", "nf_conntrack_max", "nf_conntrack_buckets")


def settle(host: Namespace) -> None:
    """Wait until the kernel has made all routes that follow from links and addresses."""
    wait_until(partial(_has_its_own_routes, host), f"{host.name} has its IPv6 routes")


def kernel(host: Namespace) -> dict[str, str]:
    """Return what the commands of `KERNEL` print, byte for byte."""
    printed = host.run(["sh", "-c", "; echo ---; ".join(KERNEL)]).stdout
    return dict(zip(KERNEL, printed.split("---\n"), strict=True))


def unordered(host: Namespace) -> dict[str, list[str]]:
    """Return the same as words, sorted: nft lists in the order of creation."""
    listed = kernel(host)
    return {command: sorted(text.replace(",", " ").split()) for command, text in listed.items()}


def sysctls(host: Namespace) -> dict[str, bytes]:
    """Return every setting under /proc/sys/net."""
    with host:
        return {
            str(path): value
            for path in sorted(Path("/proc/sys/net").rglob("*"))
            if path.is_file() and path.name not in VOLATILE
            if (value := _read(path)) is not None
        }


def directory(path: Path) -> dict[str, str] | None:
    """Return the digest of every file in a directory, None if there is no such directory."""
    if not path.exists():
        return None
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
    }


def _has_its_own_routes(host: Namespace) -> bool:
    """Tell whether each link has fe80::/64, its own address there, fe80:: itself and ff00::/8."""
    routes = [line.split() for line in host.proc_net("ipv6_route").splitlines()]
    links = [line.split()[-1] for line in host.proc_net("if_inet6").splitlines()]
    return all(
        sum(route[0].startswith(("fe80", "ff00")) and route[-1] == link for route in routes) == 4
        for link in set(links) - {"lo"}
    )


def _read(path: Path) -> bytes | None:
    """Return what a file holds; some settings can only be written."""
    try:
        return path.read_bytes()
    except OSError:
        return None
