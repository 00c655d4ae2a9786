"""Which records may pass: those of services that this director has too.

It holds in both directions. So no record makes a director forward to what it would not choose.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import NamedTuple

from vipctl.addresses.spans import Spans
from vipctl.files import Where
from vipctl.operate import asked
from vipctl.relay import messages
from vipctl.relay.messages import Malformed, Record
from vipctl.services.service import Service
from vipctl.state import database
from vipctl.state.store import Store

NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}  # include/uapi/linux/in.h
ANY = 0  # IPPROTO_IP: the protocol of a fwmark's template
VERSIONS = {4: 4, 16: 6}  # by the length of an address
MALFORMED = "the message is malformed"
UNKNOWN = "no service has its fwmark"


class Known(NamedTuple):
    """What a service has, as records have it. No `endpoints`: others choose its real servers."""

    protocols: frozenset[int]
    vips: tuple[Spans, ...]
    endpoints: frozenset[tuple[bytes, int]] | None

    def doubt(self, record: Record) -> str:
        """What of a record is not the service's; "" if all is."""
        if record.protocol not in self.protocols and not (record.template and not record.protocol):
            return "its service has not this protocol"
        if not self._has_vip(record):
            return "its service has not this VIP"
        return "" if self._has_real(record) else "its service has not this real server"

    def _has_vip(self, record: Record) -> bool:
        if record.template and record.protocol == ANY:
            return record.vip == record.fwmark.to_bytes(4, "big").ljust(len(record.vip), b"\0")
        version, vip = VERSIONS[len(record.vip)], int.from_bytes(record.vip, "big")
        return any(spans.version == version and spans.holds(vip) for spans in self.vips)

    def _has_real(self, record: Record) -> bool:
        if self.endpoints is None:
            return True
        same_port = record.real_port == record.vip_port and (record.real, 0) in self.endpoints
        return same_port or (record.real, record.real_port) in self.endpoints


class Filter:
    """By the services that a state directory has, those with these names alone if there are any.

    Raises Refused if there is no service of such a name.
    """

    def __init__(self, state_dir: Where, names: Collection[str] = ()) -> None:
        self._state_dir, self._names = state_dir, names
        self._stamp: database.Stamp | None = None
        self._known: Mapping[int, Known] = {}
        with Store.read(state_dir) as store:
            for name in names:
                asked.known(store.services(), name)
        self.learn()

    def learn(self) -> None:
        """Takes note of what is stored now, if that is other than before. Raises VipctlError."""
        if (stamp := database.stamp(self._state_dir)) == self._stamp:
            return
        with Store.read(self._state_dir) as store:
            self._known = {
                service.fwmark: _known(store, service)
                for service in store.services().values()
                if not service.proxied and (not self._names or service.name in self._names)
            }
        self._stamp = stamp

    def passed(self, message: bytes, refused: Counter[str]) -> list[Record]:
        """The records of a message that may pass; counts the others by what is wrong with them.

        A malformed message is counted as one.
        """
        try:
            records = messages.read(message)
        except Malformed:
            refused[MALFORMED] += 1
            return []
        doubts = [(record, self._doubt(record)) for record in records]
        refused.update(doubt for _, doubt in doubts if doubt)
        return [record for record, doubt in doubts if not doubt]

    def allows(self, record: Record) -> bool:
        return not self._doubt(record)

    def _doubt(self, record: Record) -> str:
        known = self._known.get(record.fwmark)
        return UNKNOWN if known is None else known.doubt(record)


def _known(store: Store, service: Service) -> Known:
    protocols = {port.protocol for port in service.ports} or NUMBERS
    reals = frozenset((real.address.packed, real.port) for real in service.servers)
    return Known(
        frozenset(NUMBERS[name] for name in protocols),
        tuple(store.held(service.name).values()),
        reals if service.balanced else None,
    )
