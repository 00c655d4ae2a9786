"""Which records pass, which are kept, and what waits for a slow peer."""

import asyncio
from collections import Counter
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import synced
from tests.harness.netns import Namespace
from tests.unit.committing import commit
from vipctl.addresses.prefixes import from_spans, parse_range
from vipctl.errors import Refused
from vipctl.relay import messages
from vipctl.relay.filter import MALFORMED, UNKNOWN, Filter
from vipctl.relay.kept import OWN, UNTIMED, Kept
from vipctl.relay.messages import Record
from vipctl.relay.outbox import Outbox
from vipctl.services import planner
from vipctl.services.real import RealServer, parse_fallback
from vipctl.services.service import Service
from vipctl.services.values import Port
from vipctl.state.store import Store

CLIENT, VIP, RIP = "192.0.2.1", "203.0.113.7", "10.0.1.11"
REALS = (RealServer(ip_address(RIP)), RealServer(ip_address("10.0.1.12"), 8080))
WEB = Service(
    "web", 0x1000, ports=(Port("tcp", 80),), reals=REALS, fallback=parse_fallback("10.0.1.99")
)
SERVICES = [
    (WEB, ["203.0.113.0/25", "2001:db8::/64"]),
    (Service("fwmark-17", 17), ["198.51.100.0/24"]),
    (Service("proxied", 0x1001, method="tproxy", own=(("to_port", 8080),)), ["192.0.2.128/25"]),
]


def add(host: Namespace, directory: Path, service: Service, ranges: list[str]) -> None:
    with host, Store.open(directory) as store:
        commit(store, planner.take(store, None, service, from_spans(map(parse_range, ranges))))


@pytest.fixture(scope="module")
def state(host: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("relay") / "state"
    for service, ranges in SERVICES:
        add(host, found, service, ranges)
    return found


def why(chosen: Filter, record: bytes) -> str:
    """Why it does not pass; "" if it does."""
    refused = Counter[str]()
    passed = chosen.passed(synced.message([record]), refused)
    assert len(passed) + refused.total() == 1
    return next(iter(refused), "")


PROTOCOL, VIRTUAL, REAL = (
    f"its service has not this {what}" for what in ("protocol", "VIP", "real server")
)


def template(client: str, mark: str, real: str) -> bytes:
    """Of a persistent service of fwmark 0x1000; `mark` is where other records have the VIP."""
    return synced.record(
        client, mark, real, 0x1000, protocol=0, flags=synced.TEMPLATE, ports=(0, 0, 0)
    )


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (synced.record(CLIENT, VIP, RIP, 0x1000), ""),
        (synced.record(CLIENT, VIP, "10.0.1.99", 0x1000), ""),
        (synced.record(CLIENT, VIP, "10.0.1.12", 0x1000, ports=(4, 80, 8080)), ""),
        (synced.record(CLIENT, VIP, "10.0.1.12", 0x1000), REAL),
        (synced.record(CLIENT, VIP, RIP, 0x1000, ports=(4, 80, 22)), REAL),
        (synced.record(CLIENT, VIP, "10.0.1.13", 0x1000), REAL),
        (synced.record(CLIENT, "203.0.113.128", RIP, 0x1000), VIRTUAL),
        (synced.record("2001:db8:9::1", "2001:db8::7", "fd00::11", 0x1000), REAL),
        (synced.record("2001:db8:9::1", "2001:db8:1::7", "fd00::11", 0x1000), VIRTUAL),
        (synced.record(CLIENT, VIP, RIP, 0x1000, protocol=17), PROTOCOL),
        (synced.record(CLIENT, VIP, RIP, 0x1000, protocol=0), PROTOCOL),
        (synced.record(CLIENT, VIP, RIP, 0x1001), UNKNOWN),
        (synced.record(CLIENT, VIP, RIP, 0), UNKNOWN),
        # Who balances fwmark 17 is not vipctl, so its real servers are not known.
        (synced.record(CLIENT, "198.51.100.7", "10.9.9.9", 17, protocol=132), ""),
        (synced.record(CLIENT, VIP, "10.9.9.9", 17), VIRTUAL),
        # A template of a fwmark has the mark where others have the VIP.
        (template(CLIENT, "0.0.16.0", RIP), ""),
        (template(CLIENT, "0.0.16.1", RIP), VIRTUAL),
        (template(CLIENT, VIP, RIP), VIRTUAL),
        (template("2001:db8::1", "0:1000::", "fd00::1"), REAL),
        (template("2001:db8::1", "0:1000::1", "fd00::1"), VIRTUAL),
        (synced.record(CLIENT, VIP, RIP, 0x1000)[:-1], MALFORMED),
    ],
)
def test_which_pass(state: Path, record: bytes, expected: str) -> None:
    assert why(Filter(state), record) == expected


def test_a_proxied_service_has_no_records(state: Path) -> None:
    assert why(Filter(state), synced.record(CLIENT, "192.0.2.129", RIP, 0x1001)) == UNKNOWN


def test_services_that_are_named(state: Path) -> None:
    assert why(Filter(state, ["web"]), synced.record(CLIENT, VIP, RIP, 0x1000)) == ""
    other = synced.record(CLIENT, "198.51.100.7", RIP, 17)
    assert why(Filter(state, ["web"]), other) == UNKNOWN
    with pytest.raises(Refused, match="no service 'wbe'"):
        Filter(state, ["wbe"])


def test_others_of_the_message_pass(state: Path) -> None:
    good, bad = synced.record(CLIENT, VIP, RIP, 0x1000), synced.record(CLIENT, VIP, RIP, 9)
    refused = Counter[str]()
    passed = Filter(state).passed(synced.message([bad, good, bad, good]), refused)
    assert [record.data for record in passed] == [good, good]
    assert refused == {UNKNOWN: 2}


def test_what_changes_is_learnt(host: Namespace, tmp_path: Path) -> None:
    chosen = Filter(tmp_path / "state")
    record = synced.record(CLIENT, VIP, RIP, 0x1000)
    assert why(chosen, record) == UNKNOWN
    add(host, tmp_path / "state", *SERVICES[0])
    chosen.learn()
    assert why(chosen, record) == ""


@given(st.data())
def test_what_was_tampered_with_passes_only_if_it_is_the_service_s(
    state: Path, data: st.DataObject
) -> None:
    message = bytearray(synced.message([synced.record(CLIENT, VIP, RIP, 0x1000)]))
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    for record in Filter(state).passed(bytes(message), Counter()):
        assert record.fwmark in (0x1000, 17)
        vips, reals = ("203.0.113.0/25", (RIP, "10.0.1.99")) if record.fwmark != 17 else ("", ())
        assert not reals or str(ip_address(record.real)) in (*reals, "10.0.1.12")
        if not record.template:
            _, (first, last) = parse_range(vips or "198.51.100.0/24")
            assert first <= int.from_bytes(record.vip, "big") <= last


# what is kept


def one(client: str, timeout: int = 900, real: str = RIP) -> Record:
    written = synced.record(client, VIP, real, 0x1000, timeout=timeout)
    return messages.read(synced.message([written]))[0]


def test_the_last_record_of_each_connection_is_kept() -> None:
    kept = Kept()
    kept.note(OWN, [one(CLIENT), one("192.0.2.2"), one(CLIENT, real="10.0.1.12")], 0)
    assert list(kept.without({}, 1)) == [one("192.0.2.2"), one(CLIENT, real="10.0.1.12")]
    kept.note("other", [one(CLIENT)], 2)
    assert list(kept.without({"other": 2}, 3)) == [one("192.0.2.2")]
    assert list(kept.without({OWN: 0}, 3)) == [one(CLIENT)]
    assert list(kept.without({OWN: 0, "other": 2.5}, 3)) == [one(CLIENT)], "it came again since"


def test_connections_that_have_ended_are_not() -> None:
    kept = Kept()
    kept.note(OWN, [one(CLIENT, timeout=60), one("192.0.2.2", timeout=0)], 0)
    assert len(list(kept.without({}, 59))) == 2
    assert list(kept.without({}, 60)) == [one("192.0.2.2", timeout=0)]
    assert list(kept.without({}, UNTIMED)) == []
    assert len(kept) == 0


def test_of_too_many_the_last_are_kept() -> None:
    kept = Kept(most=10)
    kept.note(OWN, [one(f"192.0.2.{n}") for n in range(1, 21)], 0)
    kept.note(OWN, [one("192.0.2.11")], 0)
    kept.note(OWN, [one("192.0.2.30")], 0)
    found = [str(ip_address(record.client)) for record in kept.without({}, 1)]
    assert found == [f"192.0.2.{n}" for n in (*range(13, 21), 11, 30)]


def test_of_too_many_messages_the_oldest_are_dropped() -> None:
    async def run() -> None:
        outbox = Outbox(most=3)
        for n in range(5):
            outbox.put(bytes([n]))
        assert [await outbox.get() for _ in range(3)] == [b"\2", b"\3", b"\4"]
        assert outbox.dropped == 2
        waiting = asyncio.create_task(outbox.get())
        await asyncio.sleep(0)
        assert not waiting.done()
        outbox.put(b"x")
        assert await waiting == b"x"
        assert outbox.dropped == 2

    asyncio.run(run())
