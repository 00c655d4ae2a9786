"""firewalld and NetworkManager on a host of a test, with a bus of their own.

They run in a minimal root of Debian 12, which is made in the cache, so nothing is installed here,
and in a PID and a mount namespace of their own, in which all ends with the bus.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.harness.archive import EVERY, cache_directory
from tests.harness.buildroot import UNSHARE, bootstrap
from tests.harness.kernels import locked, scratch
from tests.harness.netns import CommandError, Namespace
from tests.harness.running import running
from tests.harness.waiting import wait_until

PACKAGES = (
    "dbus",
    "firewalld",
    "network-manager",
    "iproute2",
    "iptables",
    "ipset",
    "netbase",
    "nftables",
)
RELEASE = "bookworm"
LIMIT = 120.0  # seconds
# NetworkManager waits for udev, unless it cannot write to /sys.
ENTER = """
set -e
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs etc/NetworkManager/system-connections
mkdir run/dbus
exec chroot . dbus-daemon --system --nofork --nopidfile
"""
ZONE = "s/^DefaultZone=.*/DefaultZone=trusted/"  # any other rejects what is for VIPs
# With a profile for lo, it takes what others have there for leftovers.
PROFILE = """[connection]
id=lo
type=loopback
interface-name=lo
[ipv4]
method=manual
address1=127.0.0.1/8
[ipv6]
method=manual
address1=::1/128
"""


RESTART = (
    "sh",
    "-c",
    f"""
umask 077
cat >/etc/NetworkManager/system-connections/lo.nmconnection <<end
{PROFILE}end
pid=/run/NetworkManager/NetworkManager.pid
[ ! -e $pid ] || kill "$(cat $pid)"
while [ -e $pid ]; do sleep 0.05; done
NetworkManager
""",
)


class Daemons:
    """What runs beside each other on a host."""

    def __init__(self, host: Namespace, pid: int) -> None:
        self._host = host
        self._enter = ["nsenter", "--target", str(pid), "--mount", "--pid", "--root", "--wd=/"]

    def argv(self, *words: str) -> list[str]:
        """Return the command line, on the host, of a program in there."""
        return [*self._enter, *words]

    def run(self, *words: str) -> str:
        """Run it."""
        return self._host.run(self.argv(*words)).stdout

    def firewalld(self, backend: str) -> None:
        """Start it."""
        conf = "/etc/firewalld/firewalld.conf"
        said = f"s/^FirewallBackend=.*/FirewallBackend={backend}/"
        self.run("sed", "-i", "-e", ZONE, "-e", said, conf)
        self.run("firewalld", "--nopid")
        wait_until(lambda: self._does("firewall-cmd", "--state"), "firewalld runs", LIMIT)

    def reload(self) -> None:
        """Have firewalld make all of its rules anew."""
        self.run("firewall-cmd", "--complete-reload")

    def network_manager(self) -> None:
        """Start it, anew if it runs."""
        self.run(*RESTART)
        wait_until(lambda: self._does("nmcli", "connection", "up", "lo"), "it manages lo", LIMIT)

    def _does(self, *words: str) -> bool:
        try:
            return bool(self.run(*words)) or True
        except CommandError:
            return False


@contextmanager
def daemons(host: Namespace) -> Iterator[Daemons]:
    """A bus, until it is left; then nothing of them runs any more."""
    argv = ["ip", "netns", "exec", host.name, *UNSHARE, "sh", "-c", ENTER, "enter", str(_root())]
    with running(argv) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: bool(children.read_text()), "it has entered", LIMIT)
        found = Daemons(host, int(children.read_text()))
        bus = ("test", "-S", "/run/dbus/system_bus_socket")
        wait_until(lambda: found._does(*bus), "a bus", LIMIT)
        yield found


def _root() -> Path:
    home = cache_directory() / f"daemons-{RELEASE}"
    with locked(home.with_suffix(".lock")):
        if not home.exists():
            suites = (f" {RELEASE} ", f" {RELEASE}-security ")
            lines = [line.strip() for line in EVERY.sources()]
            sources = [line for line in lines if any(suite in line for suite in suites)]
            with scratch(home.parent) as tree:
                bootstrap(RELEASE, PACKAGES, tree, *sources)
                shutil.rmtree(home, ignore_errors=True)
                tree.rename(home)
    return home
