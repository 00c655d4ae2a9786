"""What tests of a director look at: its kernel's state, and which real server answers."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import TypeVar

from nftables import Nftables
from pyroute2 import NFCTSocket

from tests.harness.netns import Namespace, execute
from tests.harness.traffic import Reply, tcp_get, udp_ask

T = TypeVar("T")

SHORT = 1.5  # seconds until silence is taken for silence
FAMILIES = ("-4", "-6")
LISTED = "rule\nroute show table all\naddr\n"
SYSCTLS = Path("/proc/sys/net")
FORWARDING = ("ipv4/ip_forward", "ipv6/conf/all/forwarding")
NODEST = "net.ipv4.vs.expire_nodest_conn"
SCRATCH = "-A -f 99\n-a -f 99 -r 192.0.2.1:0 -m\n"


def kernel_state(host: Namespace) -> str:
    """Everything that a command could change on a host."""
    with host:
        listed = [
            execute(["ip", family, "-batch", "-"], input=LISTED).stdout for family in FAMILIES
        ]
        shown = sorted("".join(listed).splitlines())  # the kernel's order is that of creation
        nft = Nftables()
        nft.set_stateless_output(True)
        shown.append(nft.cmd("list ruleset")[1])
        files = [*sorted(SYSCTLS.glob("ipv4/vs/*")), *(SYSCTLS / name for name in FORWARDING)]
        shown += [f"{file.name} = {file.read_text().strip()}" for file in files]
    shown += [" ".join(line.split()[:4]) for line in host.proc_net("ip_vs").splitlines()]
    return "\n".join(shown)


def forget_tracked(host: Namespace) -> None:
    """Empty the connection tracking of a host."""
    with host, NFCTSocket() as tracking:
        tracking.flush()


def forget_connections(host: Namespace) -> None:
    """Have IPVS end the connections whose real server is gone: they last for minutes.

    It does when it loses one, if this sysctl is set at that moment.
    """
    before = host.sysctl(NODEST)
    with host:
        execute(["ipvsadm", "-R"], input=SCRATCH)
        host.sysctl(NODEST, 1)
        execute(["ipvsadm", "-D", "-f", "99"])
        host.sysctl(NODEST, before)


def unordered(state: str) -> list[str]:
    """What `kernel_state` shows, whatever was put there first."""
    return sorted(state.replace(",", " ").split())


def ipvs(host: Namespace) -> set[str]:
    """IPVS's services and real servers, as the arguments of ipvsadm that create them."""
    with host:
        return set(execute(["ipvsadm", "-Sn"]).stdout.splitlines())


def addresses(host: Namespace) -> set[str]:
    """Every address on an interface of a host."""
    fields = [line.split()[3] for line in host.run(["ip", "-o", "addr"]).stdout.splitlines()]
    return {str(ip_interface(field).ip) for field in fields}


def at_once(*asks: Callable[[], T]) -> list[T]:
    """Call all of them at the same time: for waits that would add up."""
    with ThreadPoolExecutor(len(asks)) as pool:
        return [future.result() for future in [pool.submit(ask) for ask in asks]]


def answers(replies: Iterable[Reply]) -> Counter[str]:
    """Count the servers that answered; what else became of a request counts under its name."""
    return Counter(reply.server or reply.outcome.value for reply in replies)


def tcp(client: Namespace, vips: Iterable[str], port: int = 80) -> Counter[str]:
    """Send one HTTP request to each VIP, one after the other."""
    return answers(tcp_get(client, vip, port) for vip in vips)


def udp(client: Namespace, vips: Iterable[str], port: int = 80, nbytes: int = 16) -> Counter[str]:
    """Send one datagram to each VIP, one after the other."""
    return answers(udp_ask(client, vip, port, nbytes) for vip in vips)


def outcomes(client: Namespace, vips: Iterable[str], port: int) -> dict[str, tuple[str, str]]:
    """What a TCP and a UDP client of a port meet at each VIP, all asked at the same time."""
    targets = list(vips)
    tcp_asks = [partial(tcp_get, client, vip, port, timeout=SHORT) for vip in targets]
    udp_asks = [partial(udp_ask, client, vip, port, timeout=SHORT) for vip in targets]
    replies = at_once(*tcp_asks, *udp_asks)
    words = [reply.server or reply.outcome.value for reply in replies]
    return dict(zip(targets, zip(words, words[len(targets) :], strict=False), strict=True))


def is_ipv6(address: str) -> bool:
    """Tell the version of a textual address."""
    return ip_address(address).version == 6
