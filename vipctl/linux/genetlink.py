"""Families of generic netlink: their messages have a command and attributes.

Numbers are from include/uapi/linux/genetlink.h.
"""

import errno
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from vipctl.errors import Missing
from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import NETLINK_GENERIC, NLM_F_ACK, Message, attribute

GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
FAMILY_ID, FAMILY_NAME = 1, 2  # CTRL_ATTR_…
HEADER = struct.Struct("=BBxx")  # command, version
SHORT = struct.Struct("=H")

Attributes = dict[int, bytes]


class Family(NamedTuple):
    """A family that the kernel has, and a socket to speak to it."""

    link: netlink.Link
    number: int
    version: int

    def ask(self, command: int, content: bytes, flags: int = 0) -> Message:
        """Sends a command and returns the answer."""
        return netlink.ask(self.link, self.number, flags, self._pack(command, content))

    def do(self, command: int, content: bytes) -> int:
        """Has a command carried out; returns the errno, or 0."""
        return self.ask(command, content, NLM_F_ACK).failure()

    def get(self, command: int, content: bytes) -> tuple[int, Attributes]:
        """The errno, or 0, and the attributes of the answer."""
        answer = self.ask(command, content)
        return answer.failure(), {} if answer.failure() else parsed(answer.content, HEADER.size)

    def dump(self, command: int, content: bytes) -> Iterator[Attributes]:
        """The attributes of each message of a dump. Raises KernelError."""
        for found in dumps.dump(self.link, self.number, self._pack(command, content)):
            yield parsed(found, HEADER.size)

    def _pack(self, command: int, content: bytes) -> bytes:
        return HEADER.pack(command, self.version) + content


def parsed(content: bytes, at: int = 0) -> Attributes:
    return dict(netlink.attributes(content, at))


@contextmanager
def connect(name: str, version: int, absent: Missing) -> Iterator[Family]:
    """Raises `absent` where the kernel has no such family and can load none, or KernelError."""
    with netlink.connect(NETLINK_GENERIC, name) as link:
        control = Family(link, GENL_ID_CTRL, 1)
        asked = attribute(FAMILY_NAME, name.encode() + b"\0")
        failure, found = control.get(CTRL_CMD_GETFAMILY, asked)
        if failure == errno.ENOENT:
            raise absent
        if failure:
            raise netlink.refusal(name, failure, "dmesg may say more")
        yield Family(link, SHORT.unpack(found[FAMILY_ID])[0], version)
