"""Network namespaces that come, hold prefixes, get packets and go in the middle of it."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address

from tests.harness.netns import Namespace
from tests.harness.waiting import wait_until
from tests.stress.shim.reloads import Reloads
from tests.stress.shim.tally import Tally
from vipctl.errors import VipctlError
from vipctl.linux import shim
from vipctl.services import batch
from vipctl.services.change import Entry, Shape
from vipctl.services.values import Port

ROUNDS = 6  # changes in the life of a namespace
PREFIXES = 200  # of a change, at most
SERVICES = 10
PATIENCE = 300.0  # seconds: one that is stuck keeps all others from going
BURST, PACE = 5, 0.02  # packets, and seconds from some to the next
VIPS = {4: int(ip_address("100.64.0.0")), 6: int(ip_address("2001:db8:6464::"))}
LENGTHS = {4: range(12, 33), 6: range(36, 129)}
BITS = {4: 32, 6: 128}
LINK = "link add {0} type veth peer name eth0 netns {1}"
SENDER = (
    "link set {0} up",
    "addr add 169.254.{1}.1/30 dev {0}",
    "addr add fd99:{1}::1/64 dev {0} nodad",
    "route replace 100.64.0.0/10 via 169.254.{1}.2",
    "route replace 2001:db8:6464::/48 via fd99:{1}::2",
)
RECEIVER = (
    "link set eth0 up",
    "addr add 169.254.{0}.2/30 dev eth0",
    "addr add fd99:{0}::2/64 dev eth0 nodad",
)


class GivenUp(Exception):
    """Whoever began a state has thought better of it."""


class Lives:
    """A worker: one namespace after the other, beside a host that sends to it."""

    def __init__(self, number: int, reloads: Reloads, tally: Tally, seed: str) -> None:
        self.number, self.reloads, self.tally = number, reloads, tally
        self.random = random.Random(seed)

    def run(self) -> None:
        """Go on until told to stop."""
        sender = Namespace.create(f"sender{self.number}")
        try:
            while not self.tally.stopping.is_set():
                self._one(sender)
                self.tally.count("namespaces")
        finally:
            sender.close()

    def _one(self, sender: Namespace) -> None:
        host = Namespace.create(f"life{self.number}")
        try:
            sender.ip(
                LINK.format("eth0", host.name), *(w.format("eth0", self.number) for w in SENDER)
            )
            host.ip(*(words.format(self.number) for words in RECEIVER))
            going = threading.Event()
            packets = threading.Thread(target=self._send, args=[sender, going], daemon=True)
            packets.start()
            for _ in range(self.random.randint(1, ROUNDS)):
                self.reloads.tolerate(lambda: self._change(host))
        finally:
            host.close()
        going.set()
        packets.join()
        wait_until(lambda: " eth0:" not in sender.proc_net("dev"), f"{host.name} goes", PATIENCE)

    def _send(self, sender: Namespace, going: threading.Event) -> None:
        """Packets for what may be a VIP; that they cannot be sent is nothing new."""
        dice, sent = random.Random(self.random.random()), 0
        with sender:
            sockets = {
                version: socket.socket(family, socket.SOCK_DGRAM)
                for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6))
            }
        while not going.wait(PACE):
            for _ in range(BURST):
                version = dice.choice((4, 6))
                to = str(ip_address(VIPS[version] + dice.getrandbits(BITS[version] - 12)))
                with suppress(OSError):
                    sockets[version].sendto(b"stress", (to, 9))
                    sent += 1
        for handle in sockets.values():
            handle.close()
        self.tally.count("packets to namespaces", sent)

    def _change(self, host: Namespace) -> None:
        """In place, or beside it: put in use, given up, or left to the end of the socket."""
        with host:
            if self.random.random() < 0.5:
                with shim.changing() as commands:
                    self._fill(commands)
            elif self.random.random() < 0.7:
                with shim.replacing() as commands:
                    self._fill(commands)
                self.tally.count("states of namespaces replaced")
            else:
                self._give_up()
            if self.random.random() < 0.1:
                shim.flush()
            if self.random.random() < 0.3:
                shim.prefixes()

    def _give_up(self) -> None:
        with suppress(GivenUp), shim.replacing() as commands:
            self._fill(commands)
            raise GivenUp

    def _fill(self, commands: shim.Commands) -> None:
        marks = self.random.sample(range(1, 1000), SERVICES)
        for mark in marks:
            ports = (Port("udp", 9),) if self.random.random() < 0.5 else ()
            commands.set_service(mark, shim.Settings(self.random.randrange(16), ports))
        added = list(self._prefixes(marks))
        commands.add(batch.of_entries(added))
        commands.delete(batch.of_entries(self.random.sample(added, len(added) // 2)))
        with suppress(VipctlError):
            commands.delete_service(marks[0])

    def _prefixes(self, marks: list[int]) -> Iterator[Entry]:
        for _ in range(self.random.randrange(PREFIXES)):
            version, plane = self.random.choice((4, 6)), self.random.randrange(3)
            length = self.random.choice(LENGTHS[version])
            free = BITS[version] - length
            start = VIPS[version] + self.random.getrandbits(BITS[version] - 12)
            yield Entry(
                Shape(version, plane, length), start >> free << free, self.random.choice(marks)
            )
