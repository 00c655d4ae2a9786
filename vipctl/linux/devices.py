"""Devices: tun devices of ours, and whether others are up.

Numbers are from include/uapi/linux/if_tun.h, if.h, rtnetlink.h, if_link.h and if_addr.h.
"""

import _socket
import errno
import fcntl
import os
import struct
from contextlib import suppress
from ipaddress import IPv4Address

from vipctl import files
from vipctl.errors import Missing, Refused, VipctlError
from vipctl.linux import dumps, netlink
from vipctl.linux.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NUMBER, attribute

TUN = "/dev/net/tun"
TUNSETIFF, TUNSETPERSIST, TUNGETIFF = 0x400454CA, 0x400454CB, 0x800454D2
IFF_TUN, IFF_NO_PI, IFF_TUN_EXCL = 0x1, 0x1000, 0x8000
REQUEST = struct.Struct("16sH22x")  # struct ifreq: name, flags
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR = 16, 18, 20
IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_INFO_KIND = 3, 4, 18, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFF_UP, IFF_RUNNING = 0x1, 0x40
PERMANENT = 0x80  # IFA_F_PERMANENT
INFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, what changes
ADDRESS = struct.Struct("=BBxxI")  # struct ifaddrmsg: family, length, index; of global scope


class Tun:
    """A tun device of ours, down at first."""

    FLAGS = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self._file = self._made()

    def _made(self) -> int:
        return _made(self.name, self.FLAGS)

    def close(self) -> None:
        os.close(self._file)

    def exists(self) -> bool:
        """Whether nobody has deleted or renamed it."""
        try:
            found = fcntl.ioctl(self._file, TUNGETIFF, bytes(REQUEST.size))
        except OSError:
            return False
        return bool(REQUEST.unpack(found)[0].rstrip(b"\0").decode() == self.name)

    def make_again(self) -> None:
        """In place of one that does not exist. Raises Missing, or Refused."""
        self._file, before = self._made(), self._file
        with suppress(OSError):  # it has been deleted; if it was renamed, it goes too
            fcntl.ioctl(before, TUNSETPERSIST, 0)
        os.close(before)

    def is_set_up(self) -> bool:
        """Whatever its link is: that of a device taken up again comes later. Raises KernelError."""
        return bool(_flags(self.name) & IFF_UP)

    def set(self, *, up: bool) -> None:
        """Raises KernelError."""
        name = attribute(IFLA_IFNAME, self.name.encode() + b"\0")
        content = INFO.pack(0, 0, 0, IFF_UP if up else 0, IFF_UP) + name
        with netlink.connect() as link:
            if failure := netlink.ask(link, RTM_NEWLINK, NLM_F_ACK, content).failure():
                what = f"cannot set {self.name} {'up' if up else 'down'}"
                raise netlink.refusal(what, failure, "ip link show")


class Held(Tun):
    """Nobody reads it: what is sent there is dropped.

    The kernel removes it, with the routes through it, when the process ends, however it does.
    Raises Missing, or Refused if there is a device of that name.
    """

    FLAGS = IFF_TUN_EXCL


class Lasting(Tun):
    """Read and written as a file, without waiting. It stays when the process ends.

    So what others have bound to it goes on when the next process takes it up again. Raises Missing,
    or Refused if there is a device of that name that is none of these, or somebody has it.
    """

    def _made(self) -> int:
        file = super()._made()
        fcntl.ioctl(file, TUNSETPERSIST, 1)
        os.set_blocking(file, False)
        return file

    def fileno(self) -> int:
        return self._file

    def join(self, own: IPv4Address, other: IPv4Address) -> None:
        """Gives it an address, and the other end of the link another. Raises KernelError."""
        index = _socket.if_nametoindex(self.name)
        content = ADDRESS.pack(_socket.AF_INET, 32, index)
        content += attribute(IFA_LOCAL, own.packed) + attribute(IFA_ADDRESS, other.packed)
        with netlink.connect() as link:
            flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
            if failure := netlink.ask(link, RTM_NEWADDR, flags, content).failure():
                what = f"cannot give {self.name} the address {own}"
                raise netlink.refusal(what, failure, "ip address show")


def _made(name: str, flags: int) -> int:
    try:
        file = os.open(TUN, os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        hint = "run as root, with access to it; or modprobe tun"
        raise Missing(f"cannot use {TUN}: {e.strerror}", hint=hint) from e
    try:
        request = REQUEST.pack(name.encode(), IFF_TUN | IFF_NO_PI | flags)
        fcntl.ioctl(file, TUNSETIFF, request)
    except OSError as e:
        os.close(file)
        raise _not_made(name, e) from e
    return file


def _not_made(name: str, error: OSError) -> VipctlError:
    what = f"cannot make the device {name}: {error.strerror}"
    if error.errno in (errno.EBUSY, errno.EINVAL):  # EINVAL: it is no tun device
        what = f"there is a device {name} already"
        return Refused(what, hint=f"name another one, or: ip link del {name}")
    return Missing(what, hint="run as root (CAP_NET_ADMIN)")


def is_up(name: str) -> bool:
    """Whether there is such a device, that is up and has a link. Raises KernelError."""
    wanted = IFF_UP | IFF_RUNNING
    return _flags(name) & wanted == wanted


def mtu(name: str) -> int | None:
    """In bytes; None if there is no such device. Raises KernelError."""
    if not (content := _about(name)):
        return None
    found = dict(netlink.attributes(content, INFO.size))
    return int(NUMBER.unpack(found[IFLA_MTU])[0])


def _flags(name: str) -> int:
    """Of a device; none if there is no such device."""
    found = _about(name)
    return int(INFO.unpack_from(found)[3]) if found else 0


def of_kind(kind: str) -> list[str]:
    """Names of the devices that `ip link` calls so, such as bridge. Raises KernelError."""
    wanted, found = kind.encode(), list[str]()
    with netlink.connect() as link:
        for content in dumps.dump(link, RTM_GETLINK, INFO.pack(0, 0, 0, 0, 0)):
            about = dict(netlink.attributes(content, INFO.size))
            told = dict(netlink.attributes(about.get(IFLA_LINKINFO, b""), 0))
            if told.get(IFLA_INFO_KIND, b"").rstrip(b"\0") == wanted:
                found.append(about[IFLA_IFNAME].rstrip(b"\0").decode(errors="replace"))
    return found


def configured_by_routers() -> list[str]:
    """Interfaces with a global IPv6 address that is not permanent."""
    try:
        lines = files.text("/proc/thread-self/net/if_inet6").splitlines()
    except FileNotFoundError:  # without IPv6
        return []
    found = (line.split() for line in lines)  # address, number, length, scope, flags, name
    return sorted(
        {
            name
            for *_, scope, flags, name in found
            if scope == "00" and not int(flags, 16) & PERMANENT
        }
    )


def _about(name: str) -> bytes:
    """What the kernel says of a device; nothing if there is none."""
    content = INFO.pack(0, 0, 0, 0, 0) + attribute(IFLA_IFNAME, name.encode() + b"\0")
    with netlink.connect() as link:
        found = netlink.ask(link, RTM_GETLINK, 0, content)
    if failure := found.failure():
        if failure == errno.ENODEV:
            return b""
        raise netlink.refusal(f"cannot look at {name}", failure, "ip link show")
    return found.content
