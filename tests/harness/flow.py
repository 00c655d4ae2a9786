"""Numbered UDP datagrams, some a second: who gets each of them tells what was lost."""

import socket
import struct
import threading
from collections.abc import Sequence
from contextlib import suppress

from tests.harness.lab import family
from tests.harness.netns import Namespace

PACE = 0.01  # seconds between two; a busy guest may take longer


class Flow:
    """Datagram number n goes to destination n modulo their number, until stopped."""

    def __init__(
        self, client: Namespace, port: int, destinations: Sequence[str], pace: float = PACE
    ) -> None:
        self.port, self.destinations, self.pace = port, destinations, pace
        self.sent = 0
        with client:
            self.sockets = [socket.socket(family(to), socket.SOCK_DGRAM) for to in destinations]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def _send(self) -> None:
        while not self._stopping.wait(self.pace):
            number = self.sent % len(self.sockets)
            to = self.destinations[number], self.port
            with suppress(OSError):  # no way to it at the moment
                self.sockets[number].sendto(struct.pack("!I", self.sent), to)
            self.sent += 1

    def stop(self) -> int:
        """End it; return how many were sent."""
        self._stopping.set()
        self._thread.join()
        for sender in self.sockets:
            sender.close()
        return self.sent
