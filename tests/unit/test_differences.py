"""What differs is said in words: in IPVS here, of methods in tests/netns/test_status.py."""

from ipaddress import ip_address

import click
import pytest

from vipctl.cli import overview
from vipctl.linux.ipvs.messages import Dest, Key, Tunnel, Virtual
from vipctl.linux.ipvs.wording import unlike
from vipctl.services.naming import naturally
from vipctl.services.real import RealServer

KEY = Key(0x1000, 4)
FIRST, SECOND = (Dest(RealServer(ip_address(f"10.0.1.{n}")), 0) for n in (11, 12))
WANTED = Virtual("sh", 0, 0, b"\xff" * 4, (FIRST, SECOND))
CASES = {
    "the service of fwmark 0x1000 is not there": None,
    "the scheduler is rr, should be sh": WANTED._replace(scheduler="rr"),
    "the persistence, in seconds, is 9, should be 0": WANTED._replace(timeout=9),
    "the persistence's mask is ffffff00, should be ffffffff": WANTED._replace(
        netmask=b"\xff\xff\xff\0"
    ),
    "the persistence's engine is sip, should be none": WANTED._replace(engine="sip"),
    "real server 10.0.1.12 is not there": WANTED._replace(dests=(FIRST,)),
    "real server 10.0.1.12: weight is 7, should be 1": WANTED._replace(
        dests=(FIRST, SECOND._replace(real=SECOND.real._replace(weight=7)))
    ),
    "real server 10.0.1.12: forward is dr, should be nat": WANTED._replace(
        dests=(FIRST, SECOND._replace(forward=3))
    ),
    "real server 10.0.1.12: its tunnel is another one": WANTED._replace(
        dests=(FIRST, SECOND._replace(tunnel=Tunnel(1, 6080)))
    ),
    "real servers are in another order, so clients go to others than they should": (
        WANTED._replace(dests=(SECOND, FIRST))
    ),
}


@pytest.mark.parametrize("words", CASES)
def test_each_thing_in_ipvs_has_words(words: str) -> None:
    assert list(unlike(KEY, WANTED, CASES[words])) == [f"IPVS (IPv4): {words}"]


def test_what_is_surplus_is_named_and_what_is_alike_is_not() -> None:
    one = WANTED._replace(dests=(FIRST,))
    extra = "real server 10.0.1.12 is there, and should not be"
    assert list(unlike(KEY, one, WANTED)) == [f"IPVS (IPv4): {extra}"]
    (surplus,) = unlike(KEY, None, WANTED)
    assert surplus.endswith("fwmark 0x1000 is there, and should not be")
    assert list(unlike(KEY, WANTED, WANTED)) == list(unlike(KEY, None, None)) == []


def test_names_are_sorted_as_people_count() -> None:
    names = ["web10", "web2", "10", "9", "a1b10", "a1b9", "web", "Web02"]
    wanted = ["9", "10", "Web02", "a1b9", "a1b10", "web", "web2", "web10"]
    assert sorted(names, key=naturally) == wanted


def test_each_cure_is_said_once_after_what_it_cures() -> None:
    found = [
        {"what": "a is not there", "hint": "vipctl restore", "services": ["web"]},
        {"what": "b is not there", "hint": "vipctl restore", "services": ["web", "mail"]},
        {"what": "c cannot be had", "hint": "modprobe c", "services": []},
    ]
    text = click.unstyle(overview.kernel({"kernel": "differs", "differences": found}))
    assert text.splitlines() == [
        "kernel: differs",
        "  web: a is not there",
        "  b is not there",
        "  → vipctl restore",
        "  c cannot be had",
        "  → modprobe c",
    ]
    many = overview.kernel({"kernel": "differs", "differences": found[:1] * 25})
    assert "  and 5 more (vipctl --json status)\n  → vipctl restore" in many
