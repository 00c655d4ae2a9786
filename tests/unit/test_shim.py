"""What the director is told where the module is not there, and how prefixes are packed."""

import os
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl
from tests.harness.netns import Namespace
from vipctl.errors import Missing
from vipctl.linux import shim
from vipctl.linux.genetlink import Family
from vipctl.linux.shim import Settings, messages
from vipctl.methods import shim as method
from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Entry, Shape
from vipctl.services.methods import METHODS
from vipctl.services.service import Service
from vipctl.services.values import Leftover, Port


@pytest.fixture(autouse=True)
def not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A kernel without the module; returns the directory of its modules."""
    modules = tmp_path / "modules" / os.uname().release
    modules.mkdir(parents=True)
    monkeypatch.setattr(shim, "MODULES", modules.parent)
    monkeypatch.setattr(shim, "MODULE", tmp_path / "module")
    return modules


def test_it_was_not_built(not_loaded: Path) -> None:
    for content in (None, "", "updates/dkms/other_vip_shim.ko:\n", "kernel/net/ip_vs.ko:\n"):
        if content is not None:
            (not_loaded / "modules.dep").write_text(content)
        with pytest.raises(Missing, match="not built") as caught:
            shim.check()
        assert f"linux-headers-{not_loaded.name}" in str(caught.value.hint)


def test_modules_may_be_hidden(not_loaded: Path) -> None:
    not_loaded.rmdir()
    with pytest.raises(Missing, match="not loaded") as caught:
        shim.check()
    assert "modprobe vip_shim; or build it first" in str(caught.value.hint)


@pytest.mark.parametrize("suffix", ["", ".xz", ".zst"])
def test_it_was_not_loaded(not_loaded: Path, suffix: str) -> None:
    (not_loaded / "modules.dep").write_text(f"updates/dkms/vip_shim.ko{suffix}: a.ko\n")
    with pytest.raises(Missing, match="not loaded") as caught:
        shim.check()
    assert caught.value.hint == "modprobe vip_shim"


def test_the_operator_is_told_so(tmp_path: Path) -> None:
    host = Namespace.create("shim")
    try:
        vipctl = Vipctl(host, tmp_path / "state")
        code, error = vipctl.error("add-range", "192.0.2.1", "--fwmark=17", "--method=shim")
        assert (code, error["kind"]) == (5, "missing")
        assert "vip_shim is not built" in error["message"]
        assert vipctl("list-services")["services"] == {}
    finally:
        host.close()


# packing

NOBODY = Family(socket.socket(), 0, 0)  # nothing is sent

KINDS = [(4, 0, 5), (4, 1, 5), (4, 0, 6), (6, 0, 5)]  # IP version, plane, mark


def given(number: int) -> Batch:
    """So many prefixes of each kind, one after the other."""
    return batch.of_entries(
        Entry(Shape(version, plane, 32 if version == 4 else 128), 1000 * mark + i, mark)
        for i in range(number)
        for version, plane, mark in KINDS
    )


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """The messages that go to the kernel."""
    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(shim, "do", lambda _, command, **named: found.append((command, named)))
    return found


def unpacked(command: str, sent: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Entry]:
    """What messages of this command say, each of them of one kind, and short enough."""
    for said, named in sent:
        (version,) = (v for v in (4, 6) if f"PREFIXES{v}" in named)
        chunk = named.pop(f"PREFIXES{version}")
        assert said == command
        assert 0 < len(chunk) <= 65_531  # an attribute's length has 16 bits
        plane, mark = named.pop("PLANE"), named.pop("MARK", 0)
        assert not named
        for address, length in messages.PREFIX[version].iter_unpack(chunk):
            yield Entry(Shape(version, plane, length), int.from_bytes(address), mark)


@pytest.mark.parametrize("number", [0, 1, 3200, 8001])
def test_a_message_has_one_kind_and_fits(
    sent: list[tuple[str, dict[str, Any]]], number: int
) -> None:
    shim.Commands(NOBODY).add(given(number))
    wanted = sorted(batch.entries(given(number)))
    assert len(wanted) == number * len(KINDS)
    assert sorted(unpacked("ADD", sent)) == wanted


def test_what_goes_has_no_mark(sent: list[tuple[str, dict[str, Any]]]) -> None:
    """It is taken from whoever has it."""
    shim.Commands(NOBODY).delete(given(10))
    wanted = sorted(entry._replace(mark=0) for entry in batch.entries(given(10)))
    assert sorted(unpacked("DEL", sent)) == wanted


# settings

MOST = METHODS["shim"].most_ports


def test_flags() -> None:
    shape = frozenset({Shape(4, 0, 32)})
    ports = (Port("udp", 53), Port("tcp", 80))
    service = Service("fwmark-9", 9, ports=ports, ping=True, leftover=Leftover.DROP)
    (found,) = method._wanted(Acceptance((service,), shape)).values()
    assert found == Settings(shim.DROP | shim.PING, (Port("tcp", 80), Port("udp", 53)))
    (found,) = method._wanted(Acceptance((Service("web", 9),), shape)).values()
    assert found == Settings(shim.IDLE4 | shim.IDLE6, ())
    passive = Acceptance((Service("fwmark-9", 9),), shape, passive=frozenset({9}))
    assert method._wanted(passive) == {9: Settings(shim.PASSIVE, ())}
    assert method._wanted(passive._replace(passive=frozenset(), all_passive=True)) == {
        9: Settings(0, ())
    }


def test_a_module_without_roles_is_not_told_of_any(sent: list[tuple[str, dict[str, Any]]]) -> None:
    old = shim.Commands(NOBODY, roles=False)
    old.set_service(9, Settings(shim.DROP, ()))
    with pytest.raises(Missing, match="too old to be passive"):
        old.set_role(passive=True)
    with pytest.raises(Missing, match="too old to be passive"):
        old.set_service(9, Settings(shim.PASSIVE, ()))
    assert [command for command, _ in sent] == ["SET_SERVICE"]
    shim.Commands(NOBODY).set_role(passive=True)
    assert sent[-1] == ("SET_ROLE", {"ROLE": 1})


@pytest.mark.parametrize(
    ("old", "new", "between"),
    [
        ((1, "80"), (2, "81"), (2, "80 81")),
        ((1, "80"), (1, ""), (1, "")),
        ((1, ""), (1, "80"), (1, "")),
        ((4, "80"), (8, "80"), (0, "80")),
        ((12, "80"), (4, "80"), (4, "80")),
    ],
)
def test_in_between_a_service_takes_what_either_takes(
    old: tuple[int, str], new: tuple[int, str], between: tuple[int, str]
) -> None:
    def settings(flags: int, ports: str) -> Settings:
        return Settings(flags, tuple(Port("tcp", int(word)) for word in ports.split()))

    assert method._wider(settings(*old), settings(*new)) == settings(*between)


@pytest.mark.parametrize("more", [0, 1])
def test_in_between_a_service_takes_no_more_ports_than_the_module_holds(more: int) -> None:
    old = Settings(0, tuple(Port("tcp", number) for number in range(1, MOST + more)))
    new = Settings(0, (Port("udp", 53),))
    between = new.ports if more else (*old.ports, *new.ports)
    assert method._wider(old, new).ports == between
