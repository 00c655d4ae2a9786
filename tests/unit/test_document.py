"""`apply` files: what is written is read back, what is wrong is named by file and field."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.strategies import NAMES, acceptance, services, vips
from vipctl.addresses.prefixes import AddressSet
from vipctl.errors import VipctlError
from vipctl.operate import document
from vipctl.services.real import RealServer
from vipctl.services.service import Service
from vipctl.services.values import Forward, Leftover

Wanted = dict[str, tuple[Service, AddressSet]]

same_directory = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)


def load(directory: Path, text: str, present: dict[str, Service] | None = None) -> Wanted:
    """What a file with this text asks for."""
    file = directory / "vips.yaml"
    file.write_text(text)
    return document.load(file).services(present or {})


def refusal(directory: Path, text: str) -> VipctlError:
    """The error of a file that cannot be applied; it names the file and has a hint."""
    with pytest.raises(VipctlError) as caught:
        load(directory, text)
    error = caught.value
    assert error.exit_code in (2, 3)
    assert str(directory / "vips.yaml") in error.message
    assert error.hint
    return error


# what is read


@st.composite
def states(draw: st.DrawFn) -> list[tuple[Service, AddressSet]]:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
    state = [
        (draw(services(st.just(name), 0x1000 + n)), draw(vips())) for n, name in enumerate(names)
    ]
    for mark in draw(st.lists(st.integers(1, 0xFFF), max_size=2, unique=True)):
        state.append((draw(acceptance(mark)), draw(vips(least=1))))
    return state


@same_directory
@given(state=states())
def test_what_export_writes_apply_reads(
    tmp_path: Path, state: list[tuple[Service, AddressSet]]
) -> None:
    text = "".join(document.dump(state))
    found = load(tmp_path, text)
    assert repr(found) == repr({service.name: (service, held) for service, held in state})
    assert load(tmp_path, "".join(document.in_json({}, state))) == found


def test_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, "services:\n  web:\n    reals: [10.0.1.11]\n")
    web = Service("web", 0x1000, reals=(RealServer(IPv4Address("10.0.1.11")),))
    assert found == {"web": (web, AddressSet())}


def test_every_field(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
        services:
          web:  # a comment
            ranges: [203.0.113.0/25, 203.0.113.128/25, 2001:db8::1-2001:db8::2]
            reals: [10.0.1.12, "10.0.1.11,weight=2", "fd00:1::11"]
            scheduler: sh,port,fallback
            forward: dr
            ports: [udp/53, tcp/80]
            persistence: 300
            leftover: drop
            ping: true
            set_sysctls: true
            fwmark: 0x11
            method: fwmark
        """,
    )
    service, held = found["web"]
    prefixes, reals = map(str, held.prefixes()), map(str, service.reals)
    assert list(prefixes) == ["203.0.113.0/24", "2001:db8::1/128", "2001:db8::2/128"]
    assert list(reals) == ["10.0.1.11,weight=2", "10.0.1.12", "fd00:1::11"]
    assert (str(service.scheduler), service.forward) == ("sh,fallback,port", Forward.DR)
    assert [str(port) for port in service.ports] == ["tcp/80", "udp/53"]
    assert (service.persistence.seconds, service.leftover, service.fwmark) == (
        300,
        Leftover.DROP,
        17,
    )
    assert service.ping
    assert service.set_sysctls


@pytest.mark.parametrize("text", ["services: {}", "---\nservices: {}\n...\n", '{"services": {}}'])
def test_no_service_is_said_in_so_many_words(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == {}


# marks


def test_marks_are_the_lowest_free_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = load(tmp_path, "services: {b: {}, d: {}, a: {fwmark: 0x1001}, c: {fwmark: 5}}")
    marks = {name: service.fwmark for name, (service, _) in found.items()}
    assert marks == {"b": 0x1000, "d": 0x1002, "a": 0x1001, "c": 5}


def test_services_that_are_there_keep_their_marks(tmp_path: Path) -> None:
    present = {n: Service(n, m) for n, m in {"a": 0x1000, "b": 0x1001, "gone": 0x1002}.items()}
    found = load(tmp_path, "services: {new: {}, a: {}, b: {fwmark: 9}, other: {}}", present)
    marks = {name: service.fwmark for name, (service, _) in found.items()}
    assert marks == {"new": 0x1001, "a": 0x1000, "b": 9, "other": 0x1002}


def test_a_mark_given_twice_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, "services: {a: {fwmark: 5}, b: {fwmark: 5}}")
    assert "fwmark 5" in error.message


# acceptance only


def test_an_acceptance_only_service_has_the_mark_of_its_name(tmp_path: Path) -> None:
    found = load(tmp_path, "services: {fwmark-17: {ranges: [192.0.2.0/24], ports: [tcp/80]}}")
    service, held = found["fwmark-17"]
    assert (service.balanced, service.fwmark, held.size()) == (False, 17, 256)


@pytest.mark.parametrize(
    ("name", "fields", "field"),
    [
        ("fwmark-17", "{}", "fwmark-17.ranges"),
        ("fwmark-17", "{ranges: []}", "fwmark-17.ranges"),
        ("fwmark-17", "{ranges: [192.0.2.1], fwmark: 18}", "fwmark-17.fwmark"),
        ("fwmark-17", "{ranges: [192.0.2.1], reals: [10.0.1.11]}", "fwmark-17.reals"),
        ("fwmark-17", "{ranges: [192.0.2.1], scheduler: rr}", "fwmark-17.scheduler"),
        ("fwmark-x", "{ranges: [192.0.2.1]}", "fwmark-x"),
        ("fwmark-", "{ranges: [192.0.2.1]}", "fwmark-"),
        ("fwmark-0", "{ranges: [192.0.2.1]}", "fwmark-0"),
        ("fwmark-0x11", "{ranges: [192.0.2.1]}", "fwmark-0x11"),
        ("fwmark-017", "{ranges: [192.0.2.1]}", "fwmark-017"),
    ],
)
def test_an_acceptance_only_service_that_cannot_be(
    tmp_path: Path, name: str, fields: str, field: str
) -> None:
    assert f"services.{field}" in refusal(tmp_path, f"services: {{{name}: {fields}}}").message


# what is wrong with one field


FIELDS = {
    "ranges": ["x", "[x]", "[203.0.113.7/24]", "[127.0.0.1]", "['@list']", "[5]", "[[]]", "[null]"],
    "reals": ["[web1]", "['10.0.1.11:x']", "['10.0.1.11,weight=-1']", "[{}]", "10.0.1.11", "[1.5]"],
    "ports": ["[80]", "[tcp/0]", "[all]", "tcp/80", "[tcp/80, icmp/8]"],
    "scheduler": ["best", "'rr,fallback'", "[rr]", "5", "''"],
    "forward": ["masq", "NAT", "[nat]", "''", "true"],
    "leftover": ["accept", "Drop", "0"],
    "persistence": [
        *("-1", "2678401", "1.5", "true", "5m", "[1]", ".inf", "'300,mask=33'", "'300,mask6=0'"),
    ],
    "fwmark": ["0", "-1", "4294967296", "'17'", "true", "1.0"],
    "method": ["magic", "5", "''", "../fwmark"],
    "ping": ["1", "'yes'", "on", "[]"],
    "set_sysctls": ["0", "sometimes"],
    "range": ["[203.0.113.0/24]"],
    "name": ["web"],
    "balanced": ["false"],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, vs in FIELDS.items() for v in vs])
def test_a_wrong_value_is_named_by_its_field(tmp_path: Path, field: str, value: str) -> None:
    assert (
        f"services.web.{field}"
        in refusal(tmp_path, f"services: {{web: {{{field}: {value}}}}}").message
    )


def test_the_place_in_a_list_and_the_value_are_named(tmp_path: Path) -> None:
    error = refusal(
        tmp_path, "services: {web: {ranges: [203.0.113.1, 203.0.113.300, 203.0.113.2]}}"
    )
    assert "services.web.ranges.1: '203.0.113.300'" in error.message


def test_many_problems_are_counted_and_a_few_named(tmp_path: Path) -> None:
    error = refusal(tmp_path, f"services: {{web: {{ranges: [{'x, ' * 1000}]}}}}")
    assert "services.web.ranges.0" in error.message
    assert "and 995 more" in error.message
    assert len(error.message) < 2000


@pytest.mark.parametrize(
    ("services_text", "words"),
    [
        ("{web: {reals: ['10.0.1.11', '10.0.1.11,weight=2']}}", "services.web.reals"),
        ("{web: {reals: ['10.0.1.11:80'], forward: dr}}", "services.web"),
        ("{'we b': {}}", "services.we b"),
        ("{'': {}}", "services."),
        ("{5: {}}", "services.5"),
        ("{web: 5}", "services.web"),
        ("{web: }", "services.web"),
        ("[web]", "services"),
        ("", "services"),
        ("{web: {}, web: {}}", "duplicate key"),
        ("{web: {ping: true, ping: true}}", "duplicate key"),
    ],
)
def test_a_wrong_service_is_named(tmp_path: Path, services_text: str, words: str) -> None:
    assert words in refusal(tmp_path, f"services: {services_text}").message
