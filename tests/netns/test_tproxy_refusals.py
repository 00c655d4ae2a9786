"""Method tproxy and IPVS: what does not go together is refused, with a way out."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab, lab
from tests.netns import haproxy, snapshot

RANGES = ("203.0.113.0/24", "2001:db8:1::/64")
PROXY = ("--method", "tproxy", "--to-port", "8080")
ADDRESSES = ("--to-address=127.0.0.1", "--to-address=::1")
IPVS_OPTIONS = [
    ["--real", "10.0.1.11"],
    ["--scheduler", "rr"],
    ["--forward", "dr"],
    ["--persistence", "300"],
    ["--set-sysctls"],
]
IPVS_FIELDS = [
    "reals: [10.0.1.11]",
    "scheduler: rr",
    "forward: dr",
    "persistence: 300",
    "set_sysctls: true",
]


@pytest.fixture(scope="module")
def net() -> Iterator[Lab]:
    """One director for all: nothing comes of what is refused."""
    with lab(reals=0) as built:
        snapshot.settle(built.director)
        yield built


@pytest.fixture
def vipctl(net: Lab, tmp_path: Path) -> Iterator[Vipctl]:
    """vipctl on the director; its services go afterwards."""
    with haproxy.cleared(net.director, tmp_path) as command:
        yield command


def _assert_refused(vipctl: Vipctl, *words: str, codes: tuple[int, ...] = (2, 3)) -> str:
    """Return the message; nothing has changed."""
    before = snapshot.kernel(vipctl.host), vipctl("export")
    code, error = vipctl.error(*words)
    assert code in codes, error
    assert error["hint"], error
    assert (snapshot.kernel(vipctl.host), vipctl("export")) == before
    message: str = error["message"]
    return message


def _file(directory: Path, *fields: str, name: str = "web") -> str:
    path = directory / "wanted.yml"
    lines = [f"    {field}\n" for field in fields]
    path.write_text(f"services:\n  {name}:\n    ranges: [203.0.113.0/24]\n{''.join(lines)}")
    return str(path)


@pytest.mark.parametrize("options", IPVS_OPTIONS, ids=lambda o: str(o[0]))
def test_options_of_ipvs(vipctl: Vipctl, options: list[str]) -> None:
    new = "add-range", RANGES[0], "--service", "web"
    assert "proxy" in _assert_refused(vipctl, *new, *PROXY, *options)
    assert "proxy" in _assert_refused(vipctl, "add-service", "web", *PROXY, *options)
    vipctl(*new, *PROXY)
    assert "proxy" in _assert_refused(vipctl, "set-service", "web", *options)
    _assert_refused(vipctl, *new, *options)


@pytest.mark.parametrize(
    "words",
    [
        ["add-real", "web", "10.0.1.11"],
        ["set-real", "web", "10.0.1.11,weight=2"],
        ["drain-real", "web", "10.0.1.11"],
        ["remove-real", "web", "10.0.1.11"],
    ],
    ids=lambda words: str(words[0]),
)
def test_real_servers(vipctl: Vipctl, words: list[str]) -> None:
    vipctl("add-service", "web", *PROXY)
    assert "proxy" in _assert_refused(vipctl, *words)


@pytest.mark.parametrize("field", IPVS_FIELDS)
def test_fields_of_ipvs_in_a_file(vipctl: Vipctl, tmp_path: Path, field: str) -> None:
    wanted = _file(tmp_path, "method: tproxy", "to_port: 8080", field)
    message = _assert_refused(vipctl, "apply", wanted)
    assert f"services.web.{field.partition(':')[0]}" in message


@pytest.mark.parametrize(
    "fields",
    [
        ["method: tproxy"],
        ["method: fwmark", "to_port: 8080"],
        ["method: route", "to_addresses: [127.0.0.1]"],
        ["method: tproxy", "to_port: 0"],
        ["method: tproxy", "to_port: 8080", "to_addresses: [127.0.0.1, 127.0.0.2]"],
    ],
)
def test_fields_of_a_file_that_do_not_fit(
    vipctl: Vipctl, tmp_path: Path, fields: list[str]
) -> None:
    assert "services.web" in _assert_refused(vipctl, "apply", _file(tmp_path, *fields))


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "tproxy"],
        ["--method", "fwmark", "--to-port", "8080"],
        ["--method", "route", "--to-port", "8080"],
        ["--method", "fwmark", "--to-address", "127.0.0.1"],
        ["--to-address", "127.0.0.1"],
        [*PROXY, "--arp"],
        [*PROXY, "--to-address", "127.0.0.1", "--to-address", "127.0.0.2"],
        [*PROXY, "--to-address", "localhost"],
        ["--method", "tproxy", "--to-port", "0"],
        ["--method", "tproxy", "--to-port", "65536"],
    ],
    ids=" ".join,
)
def test_options_that_do_not_fit(vipctl: Vipctl, options: list[str]) -> None:
    _assert_refused(vipctl, "add-range", RANGES[0], "--service", "web", *options)


def test_acceptance_only(vipctl: Vipctl, tmp_path: Path) -> None:
    _assert_refused(vipctl, "add-range", RANGES[0], "--fwmark", "17", *PROXY)
    fields = "method: tproxy", "to_port: 8080"
    _assert_refused(vipctl, "apply", _file(tmp_path, *fields, name="fwmark-17"))
    vipctl("add-range", RANGES[0], "--fwmark", "17")
    assert "remove-service" in _hint(vipctl, "set-service", "fwmark-17", *PROXY)


def test_vips_are_not_shared_with_another_method(vipctl: Vipctl) -> None:
    """What a proxy does not take it refuses, before IPVS would see it."""
    vipctl("add-range", RANGES[0], "--service", "www", *PROXY, "--port", "tcp/80")
    other = "add-range", RANGES[0], "--fwmark", "17", "--port", "udp/53", "--method", "fwmark"
    assert "held by" in _assert_refused(vipctl, *other)


@pytest.mark.parametrize("method", ["fwmark", "route"])
def test_between_ipvs_and_a_proxy_only_a_file_switches(
    vipctl: Vipctl, tmp_path: Path, method: str
) -> None:
    vipctl("add-service", "web", "--method", method)
    assert "apply" in _hint(vipctl, "set-service", "web", *PROXY)
    wanted = _file(tmp_path, "method: tproxy", "to_port: 8080")
    assert vipctl("apply", wanted)["changed"] is True
    assert vipctl("apply", wanted)["changed"] is False
    assert "apply" in _hint(vipctl, "set-service", "web", "--method", method)
    assert vipctl("apply", _file(tmp_path, f"method: {method}"))["changed"] is True
    only = vipctl("list-services")["services"]["web"]
    assert (only["method"], "to_port" in only) == (method, False)
    tables = vipctl.host.run(["nft", "list", "tables"]).stdout
    assert "vipctl_tproxy" not in tables


def _hint(vipctl: Vipctl, *words: str) -> str:
    _assert_refused(vipctl, *words)
    hint: str = vipctl.error(*words)[1]["hint"]
    return hint


def test_a_port_to_go_to_means_the_method(vipctl: Vipctl) -> None:
    """For `auto`, the default."""
    vipctl("add-range", *RANGES, "--service", "web", "--to-port", "8080")
    assert vipctl("list-services")["services"]["web"]["method"] == "tproxy"
    again = vipctl("add-range", *RANGES, "--service", "web", *PROXY)
    assert again["changed"] is False
    assert vipctl("set-service", "web", "--method", "auto")["changed"] is False


def test_a_file_keeps_where_the_proxy_listens(vipctl: Vipctl, tmp_path: Path) -> None:
    vipctl("add-range", *RANGES, "--service", "web", *PROXY, *ADDRESSES, "--ping")
    vipctl("add-range", "198.51.100.7", "--service", "dns", *PROXY, "--port", "udp/53")
    kernel, exported = snapshot.unordered(vipctl.host), vipctl.text("export").stdout
    services = vipctl("list-services")["services"]
    assert (services["web"]["to_port"], services["web"]["to_addresses"]) == (
        8080,
        ["127.0.0.1", "::1"],
    )
    (tmp_path / "exported.yml").write_text(exported)
    assert vipctl("apply", str(tmp_path / "exported.yml"))["changed"] is False
    for name in services:
        vipctl("remove-service", name)
    assert vipctl("apply", str(tmp_path / "exported.yml"))["changed"] is True
    assert vipctl.text("export").stdout == exported
    assert snapshot.unordered(vipctl.host) == kernel
    assert not json.dumps(services["web"]).count("scheduler")
