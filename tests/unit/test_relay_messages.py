"""Messages of IPVS's sync daemons: only what the kernel would write is believed."""

import struct
from ipaddress import ip_address
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness import synced
from vipctl.relay import messages, source
from vipctl.relay.messages import Malformed, Record

SEQUENCES = bytes([1, 24]) + bytes(range(24))
ENGINE = bytes([2, 5]) + b"call1" + bytes([3, 3]) + b"sip"
PARAMETERS = st.sampled_from([b"", SEQUENCES, ENGINE, SEQUENCES + ENGINE])
PORTS = st.integers(0, 0xFFFF)


VERSIONS: list[Literal[4, 6]] = [4, 6]


@st.composite
def records(draw: st.DrawFn) -> bytes:
    addresses = st.ip_addresses(v=draw(st.sampled_from(VERSIONS))).map(str)
    return synced.record(
        draw(addresses),
        draw(addresses),
        draw(addresses),
        draw(st.integers(0, 0xFFFFFFFF)),
        protocol=draw(st.sampled_from([0, 6, 17, 132])),
        flags=draw(st.sampled_from([0, 3, 0x1003])),
        ports=(draw(PORTS), draw(PORTS), draw(PORTS)),
        timeout=draw(st.integers(0, 0xFFFFFFFF)),
        parameters=draw(PARAMETERS),
    )


MESSAGES = st.builds(
    synced.message, st.lists(records(), min_size=1, max_size=8), st.integers(0, 255)
)


@given(MESSAGES)
def test_what_the_kernel_writes_is_read_and_made_again(message: bytes) -> None:
    assert list(messages.made(messages.read(message))) == [message]


def test_a_record_is_what_was_written() -> None:
    written = synced.record(
        "192.0.2.1", "203.0.113.7", "10.0.1.11", 0x1001, ports=(40000, 80, 8080), timeout=900
    )
    (found,) = messages.read(synced.message([written], 9))
    client, vip, real = (
        ip_address(text).packed for text in ("192.0.2.1", "203.0.113.7", "10.0.1.11")
    )
    assert found == Record(9, 6, 3, 40000, 80, 8080, 0x1001, 900, client, vip, real, written)
    assert not found.template


@given(MESSAGES, st.data())
def test_what_is_cut_off_is_refused(message: bytes, data: st.DataObject) -> None:
    """At any place, be its size set right or not."""
    cut = message[: data.draw(st.integers(0, len(message) - 1))]
    with pytest.raises(Malformed):
        messages.read(cut)
    if len(cut) >= 8:
        with pytest.raises(Malformed):
            messages.read(cut[:2] + struct.pack(">H", len(cut)) + cut[4:])


@given(MESSAGES, st.binary(min_size=1, max_size=40))
def test_what_is_too_long_is_refused(message: bytes, more: bytes) -> None:
    longer = message + more
    for tampered in (longer, longer[:2] + struct.pack(">H", len(longer)) + longer[4:]):
        with pytest.raises(Malformed):
            messages.read(tampered)


@given(MESSAGES, st.data())
def test_what_was_tampered_with_is_refused_or_well_formed(
    message: bytes, data: st.DataObject
) -> None:
    """What is read from it, if anything, is in it byte by byte, and nothing else is."""
    tampered = bytearray(message)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message) - 1))
        tampered[at] = data.draw(st.integers(0, 255))
    _refused_or_whole(bytes(tampered))


@given(st.binary(max_size=1500))
def test_any_bytes_are_refused_or_well_formed(message: bytes) -> None:
    _refused_or_whole(message)


def _refused_or_whole(message: bytes) -> None:
    try:
        found = messages.read(message)
    except Malformed:
        return
    assert list(messages.made(found)) == [message]


PLAIN = synced.record("192.0.2.1", "203.0.113.7", "10.0.1.11", 1)
WHOLE = synced.message([PLAIN])
WRONG = {
    "version 0": WHOLE[:5] + b"\0" + WHOLE[6:],
    "the first byte of version 0": b"\1" + WHOLE[1:],
    "a spare byte": WHOLE[:7] + b"\1" + WHOLE[8:],
    "no records": WHOLE[:4] + b"\0" + WHOLE[5:],
    "one record more": WHOLE[:4] + b"\2" + WHOLE[5:],
    "an unknown type": synced.message([b"\2" + PLAIN[1:]]),
    "a version of the record": synced.message([PLAIN[:2] + b"\x10" + PLAIN[3:]]),
    "an unknown parameter": synced.message([PLAIN[:3] + b"\x28" + PLAIN[4:] + b"\x09\x02ab"]),
    "IPv6 in the size of IPv4": synced.message([b"\1" + PLAIN[1:]]),
}
ADDED = {
    "half an engine": ENGINE[7:],
    "a parameter twice": SEQUENCES * 2,
    "a short sequence": b"\1\2ab",
    "a parameter without a size": b"\1",
    "an empty parameter": b"\2\0",
    "a long name of an engine": ENGINE[:7] + bytes([3, 17]) + b"s" * 17,
}
for name, parameters in ADDED.items():
    WRONG[name] = synced.message(
        [synced.record("192.0.2.1", "203.0.113.7", "10.0.1.11", 1, parameters=parameters)]
    )
ODD = synced.record("192.0.2.1", "203.0.113.7", "10.0.1.11", 1, parameters=b"\2\1x\3\2si")
PADDED = synced.message([ODD, PLAIN])
WRONG["something between"] = PADDED.replace(ODD + b"\0", ODD + b"x", 1)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones(name: str) -> None:
    assert messages.read(WHOLE)
    assert messages.read(PADDED)
    with pytest.raises(Malformed):
        messages.read(WRONG[name])


def test_many_records_become_as_few_messages_as_they_fit_in() -> None:
    several = [synced.record(f"192.0.2.{n}", "203.0.113.7", "10.0.1.11", 1) for n in range(100)]
    read = [messages.read(synced.message([one], 7)) for one in several]
    made = list(messages.made(record for (record,) in read))
    assert [len(messages.read(one)) for one in made] == [40, 40, 20]
    assert [r.data for one in made for r in messages.read(one)] == several
    assert all(len(one) <= 1472 for one in made)


def test_ids_stay_apart() -> None:
    one, two = (messages.read(synced.message([PLAIN], sync_id))[0] for sync_id in (1, 2))
    assert [m[1] for m in messages.made([one, one, two])] == [1, 2]
    assert list(messages.made([])) == []


@given(MESSAGES)
def test_packets_carry_them(message: bytes) -> None:
    packet = source.wrapped(message)
    assert source.unwrapped(packet) == message
    words = struct.unpack(">10H", packet[:20])
    total = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF, "the sum over a header is all ones"


@given(MESSAGES, st.data())
def test_packets_that_are_others_or_cut_off_carry_nothing(
    message: bytes, data: st.DataObject
) -> None:
    packet = bytearray(source.wrapped(message))
    assert source.unwrapped(bytes(packet[: data.draw(st.integers(0, len(packet) - 1))])) == b""
    at = data.draw(st.sampled_from([0, 2, 3, 9, 16, 19, 22, 23, 24, 25]))
    packet[at] ^= data.draw(st.integers(1, 255))
    assert source.unwrapped(bytes(packet)) == b""


@given(st.binary(max_size=200))
def test_any_packet_is_read(packet: bytes) -> None:
    source.unwrapped(packet)
    source.unwrapped(source.wrapped(b"")[:20] + packet)
