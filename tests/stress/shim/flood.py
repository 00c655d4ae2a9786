"""A flood of packets that are looked at closely, while what they are for goes and comes again.

With one processor nothing goes while a packet is looked at; a guest needs two to be tried so.
"""

import sys
from ipaddress import ip_address

from tests.harness.netns import Namespace
from tests.harness.running import running
from tests.stress.shim.tally import Tally
from tests.vm.test_shim_reload import GOING, LINK, SENDER
from vipctl.linux import shim
from vipctl.services.change import Shape
from vipctl.services.values import Port

TIMES = 100
MARK, PORT, VIP = 5, 9, "203.0.113.7"
SETTINGS = shim.Settings(shim.DROP, (Port("udp", PORT),))
PREFIXES = {(Shape(4, 0, 32), MARK): ip_address(VIP).packed}
FLOOD = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect((sys.argv[1], int(sys.argv[2])))
while True:
    try:
        sender.send(b"flood")
    except OSError:
        pass
"""


def flush_in_a_flood(tally: Tally) -> None:
    """The kernel's log tells what was wrong, if anything is left to tell it."""
    sender, host = Namespace.create("flood"), Namespace.create("flushed")
    try:
        sender.ip(LINK.format("eth0", host.name))
        host.ip(*GOING)
        sender.ip(*SENDER)
        argv = [sys.executable, "-I", "-S", "-c", FLOOD, VIP, str(PORT)]
        with running(["ip", "netns", "exec", sender.name, *argv]):
            for _ in range(TIMES):
                _once(host)
                tally.count("flushes in a flood")
    finally:
        host.close()
        sender.close()


def _once(host: Namespace) -> None:
    with host:
        with shim.changing() as commands:
            commands.set_service(MARK, SETTINGS)
            commands.add(PREFIXES)
        shim.services()
        shim.flush()
