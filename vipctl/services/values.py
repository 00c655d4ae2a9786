"""The values of a service's options. Pure."""

from enum import StrEnum
from typing import NamedTuple

AUTO = "auto"  # asks for the best method that the director supports; never stored
SCHEDULERS = (
    *("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh"),
    *("sed", "nq", "fo", "ovf", "mh", "twos"),
)
# IP_VS_SVC_F_… of include/uapi/linux/ip_vs.h: ONEPACKET; SCHED1 and SCHED2 as they are called.
EVERY_FLAG = {"ops": 0x04}
FED_BACK = ("wlc", "sed", "nq", "twos")  # look at connections, and at weights
WEIGHING = ("wrr", "wlc", "sed", "nq", "twos")  # weights are to each other as shares of clients
SCHEDULER_FLAGS: dict[str, dict[str, int]] = {
    "sh": {"fallback": 0x08, "port": 0x10},
    "mh": {"fallback": 0x08, "port": 0x10},
}


TUNNELS = {"ipip": ("",), "gre": ("", "csum"), "gue": ("", "csum", "remcsum")}  # with checksums
GUE_PORT = 6080  # IANA's
PROTOCOLS = ("tcp", "udp", "sctp")
EVERY_PORT = (1, 65535)


class Forward(StrEnum):
    """Forwarding method of a virtual service."""

    NAT = "nat"
    DR = "dr"
    TUN = "tun"


class Leftover(StrEnum):
    """What a client gets for a packet that IPVS did not take."""

    REJECT = "reject"
    DROP = "drop"


class CheckVia(StrEnum):
    """Whether health checks ask a real server at its own address, or through IPVS at a VIP."""

    AUTO = "auto"  # rip for real servers by nat, vip for others
    RIP = "rip"
    VIP = "vip"


class AllDown(StrEnum):
    """What a service does whose real servers all fail their checks."""

    KEEP = "keep"  # the last working set
    FALLBACK = "fallback"
    REFUSE = "refuse"


class Feedback(StrEnum):
    """Whether weights follow what real servers are doing."""

    NO = "no"
    LOAD = "load"


class Port(NamedTuple):
    """One port (`last` is 0), or all from `number` to `last`."""

    protocol: str
    number: int
    last: int = 0

    @property
    def end(self) -> int:
        return self.last or self.number

    @property
    def text(self) -> str:
        """The number or the range, without the protocol."""
        return f"{self.number}-{self.last}" if self.last else str(self.number)

    def __str__(self) -> str:
        every = (self.number, self.last) == EVERY_PORT
        return self.protocol if every else f"{self.protocol}/{self.text}"


class Persistence(NamedTuple):
    """How long a client stays on its real server, and which clients are taken for one.

    Of IPv4 clients the first `mask` bits of the address count, of IPv6 clients `mask6` bits. The
    engine `pe` also looks into the packet.
    """

    seconds: int = 0
    mask: int = 32
    mask6: int = 128
    pe: str = ""

    def __str__(self) -> str:
        usual = Persistence()._asdict()
        told = (f",{k}={v}" for k, v in self._asdict().items() if k != "seconds" and v != usual[k])
        return f"{self.seconds}" + "".join(told)

    def plain(self) -> int | str:
        """A number if only seconds are set, else text as on the command line."""
        return self.seconds if str(self) == str(self.seconds) else str(self)


class Tunnel(NamedTuple):
    """How packets for a real server are wrapped; only gue has a port."""

    kind: str = "ipip"
    port: int = 0
    checksum: str = ""

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return self.kind + port + (f"+{self.checksum}" if self.checksum else "")


class Scheduler(NamedTuple):
    name: str = "wlc"
    flags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ",".join((self.name, *self.flags))

    def known(self) -> dict[str, int]:
        """The flags that it may have, by name."""
        return EVERY_FLAG | SCHEDULER_FLAGS.get(self.name, {})

    def bits(self) -> int:
        """Its flags as bits of IPVS."""
        return sum(self.known()[flag] for flag in self.flags)

    def drains(self) -> bool:
        """Whether a client that hashes to a server of weight 0 gets another server."""
        return self.name != "dh" and (self.name not in SCHEDULER_FLAGS or "fallback" in self.flags)

    def weighs(self) -> bool:
        """Whether weights count only in proportion to each other, and at once."""
        return self.name in WEIGHING
