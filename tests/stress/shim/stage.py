"""The network of a stress: the standard one, its director balancing by mark."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.lab import Lab, lab
from tests.harness.netns import Namespace
from tests.stress.shim.universe import FLOW_PORT, MARKS, service
from tests.vm.conftest import serve
from tests.vm.test_switch import BACKLOG, MANY
from vipctl.linux import ipvs

PORTS = (80, 81)
QUICK = "--set 900 5 5"  # IPVS: connections that are over do not linger
SETTINGS = {
    "net.ipv4.icmp_ratelimit": 0,
    "net.ipv6.icmp.ratelimit": 0,
    "net.ipv4.vs.expire_nodest_conn": 1,
}
MESSAGES = Path("/proc/sys/net/ipv4/icmp_msgs_per_sec")


@contextmanager
def stage() -> Iterator[Lab]:
    """Have all of it; the director has servers of its own, that no client of a VIP may reach."""
    BACKLOG.write_text(f"{MANY}\n")
    if MESSAGES.exists():
        MESSAGES.write_text("1000000\n")
    with lab() as net:
        for number, real in enumerate(net.reals, 1):
            serve(real, f"real{number}", PORTS)
        serve(net.director, "director", (*PORTS, FLOW_PORT))
        _balance(net.director)
        for key, value in SETTINGS.items():
            net.director.sysctl(key, value)
        net.client.sysctl("net.ipv4.ping_group_range", "0 0")
        yield net


def _balance(director: Namespace) -> None:
    director.run(["ipvsadm", *QUICK.split()])
    with director:
        ipvs.add(ipvs.desired(service(name) for name in MARKS), {})
