"""A site with two directors, as examples/two-directors/ sets them up.

    client --- router ---- eth0: 10.0.0.1, 10.0.0.2 --- directors, and eth2 between them
             10.0.0.9          fd00::1, fd00::2             |
             10.0.1.254 -- eth1: 10.0.1.1, 10.0.1.2 --------+--- three real servers
                               fd00:1::1, fd00:1::2         10.0.1.11 to 13, fd00:1::11 to 13

Real servers have the VIPs of DIRECT, for which they answer to the router; what they answer from
their own addresses goes to the gateway that moves by VRRP.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.harness.guest import REPOSITORY
from tests.harness.netns import Namespace, execute
from tests.harness.servers import TcpServer, UdpServer

EXAMPLES = REPOSITORY / "examples" / "two-directors"
NAT = ("203.0.113.0/24", "2001:db8:1::/64")
DIRECT = ("198.51.100.0/24", "2001:db8:2::/64")
REALS = 3
NETS = ("10.0.0.", "10.0.1.", "10.0.9.")  # of eth0, eth1, eth2
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
PATIENCE = 240.0  # seconds: a guest takes ten of them to start Python
# /etc and the state of a machine are its own, and outlive it; what is in /run does not.
ENTER = """
set -e
for place in etc var/lib; do
  own="$1/$place"
  mkdir -p "$own/upper" "$own/work"
  mount -t overlay overlay -o "lowerdir=/$place,upperdir=$own/upper,workdir=$own/work" "/$place"
done
mount -t tmpfs tmpfs /run
echo entered
exec sleep infinity
"""


class Director:
    """A machine that loses power, and comes back with what it has on its disk."""

    def __init__(self, number: int, switch: Namespace, disk: Path) -> None:
        self.number, self._switch, self._disk = number, switch, disk
        self._stack = ExitStack()
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.boot()

    def boot(self) -> None:
        """Kernel and network are new."""
        self.host = Namespace.create(f"director{self.number}")
        self._stack.callback(self.host.close)
        for device, net in enumerate(NETS):
            plug(self._switch, f"lan{device}", f"d{self.number}{device}", self.host, f"eth{device}")
            six = f"fd00:{device}::" if device else "fd00::"
            self.host.ip(
                f"addr add {net}{self.number}/24 dev eth{device}",
                f"addr add {six}{self.number}/64 dev eth{device} nodad",
            )
        for version, gateway in (("-4", "10.0.0.9"), ("-6", "fd00::9")):
            self.host.run(["ip", version, "route", "add", "default", "via", gateway])
        argv = ["ip", "netns", "exec", self.host.name, "unshare", "--mount", "sh", "-c", ENTER]
        holder = subprocess.Popen([*argv, "enter", str(self._disk)], stdout=subprocess.PIPE)
        self._stack.callback(end, holder)
        assert holder.stdout
        assert holder.stdout.readline() == b"entered\n"
        self._enter = [
            "nsenter",
            f"--target={holder.pid}",
            "--mount",
            "--net",
            f"--wd={REPOSITORY}",
        ]

    def run(self, *argv: str) -> str:
        """Run a command on it; what it prints."""
        return execute([*self._enter, *argv], env=ENVIRONMENT, timeout=PATIENCE).stdout

    def start(self, name: str, *argv: str) -> None:
        """Start a daemon, by the name with which it is ended."""
        log = (self._disk / f"{name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                [*self._enter, *argv], env=ENVIRONMENT, stdout=log, stderr=log
            )
        self.daemons[name] = process
        self._stack.callback(end, process)

    def signal(self, name: str, number: int) -> None:
        self.daemons[name].send_signal(number)

    def end(self, name: str, number: int) -> None:
        """The signal reaches the daemon's children too."""
        self.run(
            "pkill", f"-{number}", "--ns", str(self.daemons[name].pid), "--nslist", "net", name
        )
        self.daemons.pop(name).wait(PATIENCE)

    def watch(self) -> None:
        """`vipctl watch`, as its unit starts it."""
        self.start("watch", "vipctl", "watch", "--alive", "vipctl0", "--needs-interface", "eth0")

    def keepalived(self, *words: str) -> None:
        self.start(
            "keepalived", "keepalived", "--dont-fork", "--log-console", "--dump-conf", *words
        )

    def bird(self) -> None:
        self.run("mkdir", "--parents", "/run/bird")
        self.start("bird", "bird", "-f")

    def power_off(self) -> None:
        """All at once: first it is silent, then it is gone."""
        self._switch.ip(*(f"link del d{self.number}{device}" for device in range(len(NETS))))
        self._stack.close()
        self.daemons.clear()

    def addresses(self) -> set[str]:
        """With their lengths, as `ip` shows them."""
        lines = self.host.run(["ip", "-o", "address"]).stdout.splitlines()
        return {line.split()[3] for line in lines}

    def connections(self) -> int:
        """That IPVS knows of."""
        return len(self.host.proc_net("ip_vs_conn").splitlines()) - 1


class Site:
    """The hosts; daemons are the tests' business."""

    def __init__(self, stack: ExitStack, scratch: Path) -> None:
        def host(role: str) -> Namespace:
            made = Namespace.create(role)
            stack.callback(made.close)
            return made

        self.switch, self.router, self.client = host("switch"), host("router"), host("client")
        for device in range(len(NETS)):
            self.switch.ip(f"link add lan{device} type bridge", f"link set lan{device} up")
        self._route()
        self.web4: list[TcpServer] = []  # of the real servers
        self.reals = [host(f"real{number}") for number in range(1, REALS + 1)]
        for number, real in enumerate(self.reals, 1):
            self._serve(real, number)
        self.directors = [
            Director(number, self.switch, scratch / f"disk{number}") for number in (1, 2)
        ]
        for director in self.directors:
            stack.callback(director.power_off)

    def _route(self) -> None:
        plug(self.switch, "lan0", "router0", self.router, "eth0")
        plug(self.switch, "lan1", "router1", self.router, "eth1")
        self.router.ip(
            f"link add clients type veth peer name eth0 netns {self.client.name}",
            *("link set clients up", "addr add 192.0.2.1/24 dev clients"),
            *("addr add 2001:db8:ff::1/64 dev clients nodad", "addr add 10.0.0.9/24 dev eth0"),
            *("addr add fd00::9/64 dev eth0 nodad", "addr add 10.0.1.254/24 dev eth1"),
            "addr add fd00:1::fe/64 dev eth1 nodad",
        )
        for key in ("ipv4.ip_forward", "ipv6.conf.all.forwarding"):
            self.router.sysctl(f"net.{key}", 1)
        for version in ("ipv4", "ipv6"):
            self.router.sysctl(f"net.{version}.fib_multipath_hash_policy", 1)
        self.client.ip(
            *("link set eth0 up", "addr add 192.0.2.2/24 dev eth0"),
            *("addr add 2001:db8:ff::2/64 dev eth0 nodad", "route add default via 192.0.2.1"),
            "route add ::/0 via 2001:db8:ff::1",
        )

    def _serve(self, real: Namespace, number: int) -> None:
        plug(self.switch, "lan1", f"real{number}", real, "eth0")
        real.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        real.ip(
            f"addr add 10.0.1.{10 + number}/24 dev eth0",
            f"addr add fd00:1::{10 + number}/64 dev eth0 nodad",
            *(f"route add local {prefix} dev lo" for prefix in DIRECT),
            "route add default via 10.0.1.254",
            "route add ::/0 via fd00:1::fe",
            "route add default via 10.0.1.100 table 100",
            "route add ::/0 via fe80::101 dev eth0 table 100",
            "rule add from 10.0.1.0/24 lookup 100",
        )
        real.run(["ip", "-6", "rule", "add", "from", "fd00:1::/64", "lookup", "100"])
        name = f"real{number}"
        self.web4.append(TcpServer(real, "0.0.0.0", 80, name))
        TcpServer(real, "::", 80, name)
        for bind in ("0.0.0.0", "::"):
            UdpServer(real, bind, 53, name)

    def set_up(self, name: str, *words: str) -> None:
        """Each of the directors, with the word that says which it is."""
        for number, director in enumerate(self.directors):
            director.run("sh", str(EXAMPLES / name / "setup.sh"), *words[number : number + 1])

    def by_next_hop(self) -> None:
        """The router has routes by the addresses that move."""
        self.router.ip(
            *(f"route add {prefix} via 10.0.0.100" for prefix in (NAT[0], DIRECT[0])),
            *(f"route add {prefix} via fe80::100 dev eth0" for prefix in (NAT[1], DIRECT[1])),
        )


def plug(switch: Namespace, bridge: str, port: str, host: Namespace, device: str) -> None:
    switch.ip(
        f"link add {port} type veth peer name {device} netns {host.name}",
        f"link set {port} master {bridge} up",
    )
    host.ip(f"link set {device} up")


def end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


@contextmanager
def site(scratch: Path) -> Iterator[Site]:
    execute(["mount", "-t", "tmpfs", "tmpfs", str(scratch)])  # an overlay needs such a file system
    try:
        with ExitStack() as stack:
            yield Site(stack, scratch)
    finally:
        execute(["umount", "--lazy", str(scratch)])
