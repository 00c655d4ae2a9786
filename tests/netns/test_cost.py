"""What a command asks the kernel does not grow with services that it does not touch."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command import Vipctl
from tests.harness.lab import Lab
from tests.netns.zygote import Zygote, recording

SENDING = ("sendto", "sendmsg")


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each message to the kernel, a line."""
    return tmp_path_factory.mktemp("strace") / "sent"


@pytest.fixture(scope="module")
def recorded(sent: Path) -> Iterator[Zygote]:
    with Zygote(recording(SENDING, sent)) as zygote:
        yield zygote


def document(path: Path, services: int, method: str | None) -> str:
    """Of services without real servers, ten ranges each."""
    fields = {"method": method} if method else {}
    forms = {
        f"s{n}": {
            "ranges": [f"198.{18 + n // 256}.{n % 256}.{10 * m}" for m in range(10)],
            **fields,
        }
        for n in range(1, services + 1)
    }
    path.write_text(json.dumps({"services": forms}))
    return str(path)


@pytest.mark.parametrize("method", [None, "fwmark"])
def test_many_services_come_with_as_many_messages_as_few(
    net: Lab, tmp_path: Path, recorded: Zygote, sent: Path, method: str | None
) -> None:
    counts = []
    for number in (2, 60):
        vipctl = Vipctl(net.director, tmp_path / str(number))
        words = document(tmp_path / f"{number}.json", number, method)
        counts.append(
            [
                count(recorded, sent, vipctl, "apply", words),
                count(recorded, sent, vipctl, "add-range", "198.18.1.1", "--service", "s1"),
                count(recorded, sent, vipctl, "restore"),
            ]
        )
        assert vipctl("apply", document(tmp_path / "none", 0, None))["changed"] is True
    few, many = counts  # a dump that others disturb is asked for again
    assert all(after - before < 58 // 4 for before, after in zip(few, many, strict=True)), counts


def count(zygote: Zygote, sent: Path, vipctl: Vipctl, *words: str) -> int:
    before = len(sent.read_text().splitlines())
    done = zygote.run(vipctl, *words)
    assert done.code == 0, done
    return len(sent.read_text().splitlines()) - before
