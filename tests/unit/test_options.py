"""Each option of services and real servers is described once, and all else follows."""

import json
import subprocess
import sys
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.guest import REPOSITORY
from tests.unit.strategies import services
from vipctl.cli.base import group
from vipctl.errors import Refused
from vipctl.operate import asked, document, outcome, rangelist
from vipctl.reconcile.acceptance import _lane
from vipctl.services import real, reals
from vipctl.services.agents import Agent
from vipctl.services.checks import Check
from vipctl.services.methods import METHODS
from vipctl.services.options import EVERY_OPTION, OPTIONS
from vipctl.services.planner import _sharing
from vipctl.services.real import RealServer
from vipctl.services.service import Service, from_plain, made, plain
from vipctl.services.values import (
    AllDown,
    CheckVia,
    Feedback,
    Forward,
    Leftover,
    Persistence,
    Port,
    Scheduler,
    Tunnel,
)

RIP = ip_address("10.0.1.11")
SAMPLES: dict[str, Any] = {  # none as it is by default
    "fwmark": 0x1234,
    "method": "shim",
    "ports": (Port("tcp", 80), Port("udp", 53)),
    "leftover": Leftover.DROP,
    "ping": True,
    "reals": (RealServer(RIP, 0, 3, 9, 2, "tun", Tunnel("gue", 6081, "csum"), "both"),),
    "scheduler": Scheduler("mh", ("fallback",)),
    "forward": Forward.TUN,
    "persistence": Persistence(300, 24, 64, "sip"),
    "source_nat": (ip_address("10.0.1.1"), ip_address("fd00:1::1")),
    "checks": (Check("http", "/a", 8080, body="a,b"), Check("tcp", port=80, every=5.0)),
    "check_via": CheckVia.VIP,
    "fallback": RealServer(ip_address("10.0.1.99"), 80),
    "all_down": AllDown.REFUSE,
    "slow_start": 30,
    "dead_after": 60,
    "agent": Agent(8675, 5.0, "web,\n"),
    "feedback": Feedback.LOAD,
    "set_sysctls": True,
    "arp": True,
    "to_port": 8080,
    "to_addresses": (ip_address("127.0.0.1"),),
}


def plain_service(name: str) -> Service:
    """Return one that may have the option, and has it as it is by default."""
    method = next((m for m, found in METHODS.items() if name in found.options), "fwmark")
    needed = {n: 1 for n, option in METHODS[method].options.items() if option.needed}
    return made("web", {"fwmark": 0x1000, "method": method, **needed})


def test_every_field_of_a_service_is_an_option() -> None:
    assert set(Service._fields) == {"name", "own", *OPTIONS}
    assert EVERY_OPTION.keys() == SAMPLES.keys()


def test_every_field_of_a_real_server_is_an_option() -> None:
    assert set(RealServer._fields) == {"address", "port", *real.OPTIONS}


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_stored_and_read_back(name: str) -> None:
    service = plain_service(name)
    altered = service.altered({name: SAMPLES[name]})
    assert altered != service
    assert altered.value(name) == SAMPLES[name]
    assert json.loads(json.dumps(plain(altered)))[name] == plain(altered)[name]
    assert from_plain("web", plain(altered)) == altered
    assert altered.altered({name: service.value(name)}) == service


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_exported_and_applied(name: str, tmp_path: Path) -> None:
    service = plain_service(name).altered({name: SAMPLES[name]})
    ranges = rangelist.read(["203.0.113.0/24"], print)
    file = tmp_path / "state"
    for written in (document.dump([(service, ranges)]), document.in_json({}, [(service, ranges)])):
        file.write_text("".join(written))
        assert document.load(file).services({}) == {"web": (service, ranges)}


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_compared(name: str) -> None:
    """With what is asked again, and in what is told of a change."""
    service = plain_service(name)
    altered = service.altered({name: SAMPLES[name]})
    assert asked.existing(altered, {name: SAMPLES[name]}) == altered
    with pytest.raises(Refused, match=name):
        asked.existing(service, {name: SAMPLES[name]})
    told = " ".join(outcome._differences(service, altered))
    assert (f"real server {SAMPLES['reals'][0]} added" if name == "reals" else name) in told


@pytest.mark.parametrize("name", SAMPLES)
def test_the_command_line_has_it(name: str) -> None:
    for command in ("add-range", "add-service", "set-service"):
        made = group.get_command(click.Context(group), command)
        assert made
        assert EVERY_OPTION[name].spelled(name) in {p.name: p for p in made.params}[name].opts


@pytest.mark.parametrize("name", SAMPLES)
def test_services_that_share_vips_agree(name: str) -> None:
    service = plain_service(name)
    altered = service.altered({name: SAMPLES[name]})
    option = EVERY_OPTION[name]
    assert (_sharing(service) != _sharing(altered)) is (option.agree or name == "ports")
    assert (_lane(service) != _lane(altered)) is (option.lasting or name == "fwmark")


@pytest.mark.parametrize("name", sorted(EVERY_OPTION.keys() - OPTIONS.keys()))
def test_one_of_a_method_is_for_no_other(name: str) -> None:
    others = [m for m, found in METHODS.items() if name not in found.options and not found.proxied]
    for method in others:
        with pytest.raises(Refused, match=f"{EVERY_OPTION[name].spelled(name)} is for --method"):
            made("web", {"fwmark": 1, "method": method, name: SAMPLES[name]})


def test_the_reference_page_is_of_now() -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "write-options"), "--print"]
    page = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "docs" / "options.md").read_text() == page


def test_the_samples_are_no_defaults() -> None:
    usual: Mapping[str, Any] = {n: plain_service(n).value(n) for n in SAMPLES}
    assert not [n for n, value in SAMPLES.items() if usual[n] == value]


@given(services(st.just("web"), 17), st.sampled_from(sorted(OPTIONS)))
def test_an_option_changes_itself_alone(service: Service, name: str) -> None:
    """Or is refused; and what it had before can be given back."""
    try:
        altered = service.altered({name: SAMPLES[name]})
    except Refused:
        return
    assert altered == service._replace(**{name: SAMPLES[name]})
    assert altered.altered({name: service.value(name)}) == service


@given(services(st.just("web"), 17), st.sampled_from(sorted(real.OPTIONS)))
def test_an_option_of_a_real_server_changes_itself_alone(service: Service, key: str) -> None:
    for one in service.reals:
        changed = {key: SAMPLES["reals"][0].settings()[key]}
        try:
            altered = reals.change(service, one.address, one.port, changed)
        except Refused:
            continue
        rest = [r for r in service.reals if r != one]
        assert [r for r in altered.reals if r.endpoint != one.endpoint] == rest
        assert altered._replace(reals=service.reals) == service
        (found,) = (r for r in altered.reals if r.endpoint == one.endpoint)
        others = real.OPTIONS.keys() - {key, "was"}
        assert [getattr(found, k) for k in others] == [getattr(one, k) for k in others]
