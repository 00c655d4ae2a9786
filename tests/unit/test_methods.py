"""Which method is taken and why; and that another one is a file and a line."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command import Vipctl, changes
from tests.harness.guest import REPOSITORY
from tests.harness.netns import Namespace
from vipctl import methods
from vipctl.errors import KernelError, Missing, UsageError
from vipctl.methods import NAMES

IPVS = [name for name in NAMES if name != "tproxy"]


@pytest.fixture
def host() -> Iterator[Namespace]:
    found = Namespace.create("methods")
    yield found
    found.close()


@pytest.fixture
def vipctl(host: Namespace, tmp_path: Path) -> Vipctl:
    return Vipctl(host, tmp_path / "state")


def break_methods(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """The director cannot use these, and says so in a way to be recognised."""

    def broken(name: str) -> None:
        raise Missing(f"no {name} here", hint=f"install {name}")

    for name in names:
        module = importlib.import_module(f"vipctl.methods.{name.replace('-', '_')}")
        monkeypatch.setattr(module, "probe", lambda name=name: broken(name))


# what is taken


def test_the_best_is_the_first_that_works(monkeypatch: pytest.MonkeyPatch, host: Namespace) -> None:
    with host:
        usable = [name for name in IPVS if methods.unusable(name) is None]
        for number, name in enumerate(usable):
            with monkeypatch.context() as patch:
                break_methods(patch, *usable[:number])
                assert methods.best(proxied=False) == name
        assert methods.best(proxied=True) == "tproxy"
    assert usable[0] == "fwmark"


def test_a_proxy_does_not_balance_for_ipvs(monkeypatch: pytest.MonkeyPatch) -> None:
    break_methods(monkeypatch, *IPVS)
    with pytest.raises(Missing) as caught:
        methods.best(proxied=False)
    for name in IPVS:
        assert f"{name}: no {name} here" in caught.value.message
    assert "tproxy" not in caught.value.message
    assert caught.value.hint == f"install {IPVS[0]}"


def test_ipvs_does_not_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    break_methods(monkeypatch, "tproxy")
    with pytest.raises(Missing, match=f"{'tproxy'}: no {'tproxy'} here"):
        methods.best(proxied=True)


def test_only_what_is_missing_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that fails is not a reason for something second-best."""
    module = importlib.import_module("vipctl.methods.fwmark")

    def fails() -> None:
        raise KernelError("no buffers", hint="try again")

    monkeypatch.setattr(module, "probe", fails)
    with pytest.raises(KernelError):
        methods.best(proxied=False)


def test_passed_over_are_those_that_are_better(monkeypatch: pytest.MonkeyPatch) -> None:
    break_methods(monkeypatch, *IPVS, "tproxy")
    for number, name in enumerate(IPVS):
        assert methods.passed_over(name) == {n: f"no {n} here" for n in IPVS[:number]}
    assert "tproxy" not in methods.passed_over(NAMES[-1])


@pytest.mark.parametrize("name", ["", "magic", "fwmark2", "__init__", "Fwmark", "auto"])
def test_other_names_are_no_methods(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        methods.get(name)
    for known in NAMES:
        assert known in str(caught.value.hint)


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_method(name: str) -> None:
    found = methods.get(name)
    for function in ("probe", "seal", "apply", "load", "epoch", "holds"):
        assert callable(getattr(found, function))
    assert found.__doc__, "its docstring draws its tables"


# what the operator is told


def test_auto_says_which_and_why(monkeypatch: pytest.MonkeyPatch, vipctl: Vipctl) -> None:
    done = vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", "--method", "auto")
    assert done["services"]["fwmark-17"]["method"] == "fwmark"
    assert "method fwmark" in " ".join(changes(done))
    for name in IPVS[: IPVS.index("fwmark")]:
        assert f"{name} cannot be used" in " ".join(changes(done))
    assert "route cannot be used" not in " ".join(changes(done))
    break_methods(monkeypatch, *(name for name in IPVS if name != "route"))
    done = vipctl("--check", "add-service", "web")
    assert done["services"]["web"]["method"] == "route"
    (created,) = changes(done)
    assert "method route" in created
    assert "fwmark cannot be used: no fwmark here" in created
    monkeypatch.undo()
    vipctl("remove-service", "fwmark-17")


def test_what_was_chosen_stays(monkeypatch: pytest.MonkeyPatch, vipctl: Vipctl) -> None:
    """Until somebody asks anew."""
    with monkeypatch.context() as patch:
        break_methods(patch, "fwmark", *(n for n in IPVS if n != "route"))
        vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")
    done = vipctl("add-range", "198.51.100.0/24", "--fwmark", "17", "--method", "auto")
    assert done["services"]["fwmark-17"]["method"] == "route"
    assert vipctl("add-range", "203.0.113.0/24", "--fwmark", "17")["changed"] is False
    done = vipctl("set-service", "fwmark-17", "--method", "auto")
    assert changes(done) == ["fwmark-17: method route → fwmark"]
    vipctl("remove-service", "fwmark-17")


def test_none_is_an_error_with_every_reason(
    monkeypatch: pytest.MonkeyPatch, vipctl: Vipctl
) -> None:
    break_methods(monkeypatch, *IPVS)
    code, error = vipctl.error("--check", "add-service", "web")
    assert (code, error["kind"], error["hint"]) == (5, "missing", f"install {IPVS[0]}")
    for name in IPVS:
        assert f"no {name} here" in error["message"]
    code, error = vipctl.error("--check", "add-service", "web", "--method", "route")
    assert (code, error["message"], error["hint"]) == (5, "no route here", "install route")


def test_one_that_cannot_be_used_can_be_left(
    monkeypatch: pytest.MonkeyPatch, vipctl: Vipctl
) -> None:
    """It is only asked for its probe where a service is to have it."""
    vipctl("add-range", "203.0.113.0/24", "--fwmark", "17", "--method", "route")
    break_methods(monkeypatch, "route")
    vipctl("add-range", "198.51.100.0/24", "--fwmark", "17")
    vipctl("set-service", "fwmark-17", "--method", "fwmark")
    assert vipctl("status")["kernel"] == "as stored"
    vipctl("remove-service", "fwmark-17")


# another one

FAKE = '''"""The `fake` method: its kernel is a file."""

import hashlib
import json
import os
from pathlib import Path

from vipctl.services import batch
from vipctl.services.batch import Batch
from vipctl.services.change import Acceptance, Entry
from vipctl.services.seal import ABSENT, OTHER, Seal

KERNEL = Path(os.environ["FAKE_KERNEL"])


SIZED = ROUTED = WITNESSED = False
LOCAL = None


def probe() -> tuple[str, ...]:
    return ("accepts nothing",)


def owner() -> str:
    return ""


def seal(acceptance: Acceptance) -> Seal:
    if not acceptance.active():
        return OTHER if _read() else ABSENT
    return Seal(hashlib.sha256(KERNEL.read_bytes()).hexdigest()) if _read() else OTHER


def unlike(acceptance: Acceptance) -> tuple[str, ...]:
    return ()


def apply(before: Acceptance, after: Acceptance, removed: Batch, added: Batch) -> int:
    _write(_read() - _all(removed) | _all(added))
    return 0


def load(after: Acceptance, wanted: Batch) -> int:
    _write(_all(wanted))
    return 0


def epoch() -> str:
    return ""


def holds(acceptance: Acceptance, wanted: Batch, since: str) -> bool:
    return _read() == _all(wanted)


def _all(prefixes: Batch) -> set[str]:
    return set(map(_words, batch.entries(prefixes)))


def _words(entry: Entry) -> str:
    return f"{entry.start:x}/{entry.shape.length} {entry.mark}"


def _read() -> set[str]:
    return set(json.loads(KERNEL.read_text())) if KERNEL.exists() else set()


def _write(entries: set[str]) -> None:
    KERNEL.write_text(json.dumps(sorted(entries)))
    if not entries:
        KERNEL.unlink()
'''


# Runs one command after the other: to start a process for each takes longer.
SERVING = """
import contextlib, io, json, sys
from vipctl.cli import run
for line in sys.stdin:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = run(json.loads(line))
    print(json.dumps([code, printed.getvalue()]), flush=True)
"""


# A line of the register.
FEATURES = """
    "fake": Features(
        options={
            "strength": amount(
                "Method fake: how strong.", "strength", "N", 0, 9, default=5,
                agree=True,
            )
        }
    ),
"""


class Copy:
    """vipctl with a method more: its file, and its entry in the register; nothing else changes."""

    def __init__(self, path: Path, host: Namespace) -> None:
        self.path, self.kernel = path, path / "kernel.json"
        package = path / "vipctl"
        unneeded = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "vipctl", package, ignore=unneeded)
        (package / "methods" / "fake.py").write_text(FAKE)
        register = package / "services" / "methods.py"
        line = re.compile(r"^METHODS: dict\[str, Features\] = \{$", re.MULTILINE)
        text, times = line.subn(lambda found: found[0] + FEATURES, register.read_text())
        assert times == 1
        register.write_text(text)
        with host:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVING],
                cwd=path,
                env={**os.environ, "FAKE_KERNEL": str(self.kernel), "PYTHONPATH": str(path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )

    def text(self, *words: str) -> str:
        """Run a command, which must succeed; return what it prints."""
        code, printed = self.done(*words)
        assert code == 0, (words, printed)
        return printed

    def done(self, *words: str) -> tuple[int, str]:
        """Run a command; return its exit code and what it prints."""
        assert self.process.stdin
        assert self.process.stdout
        argv = ["--state-dir", str(self.path / "state"), *words]
        print(json.dumps(argv), file=self.process.stdin, flush=True)
        code, printed = json.loads(self.process.stdout.readline())
        return int(code), str(printed)

    def failure(self, *words: str) -> tuple[str, str]:
        """Return kind and message of the error of a command."""
        code, printed = self.done("--json", *words)
        assert code
        error = json.loads(printed)["error"]
        return error["kind"], error["message"]

    def __call__(self, *words: str) -> dict[str, Any]:
        """Return the object that a command prints."""
        found: dict[str, Any] = json.loads(self.text("--json", *words))
        return found

    def accepted(self) -> list[str]:
        """Return what is in the kernel of the fake."""
        return list(json.loads(self.kernel.read_text())) if self.kernel.exists() else []


@pytest.fixture
def copy(tmp_path: Path, host: Namespace) -> Iterator[Copy]:
    made = Copy(tmp_path, host)
    yield made
    made.process.communicate(timeout=30)


def nft(host: Namespace) -> str:
    return host.run(["nft", "list", "ruleset"]).stdout


def test_another_method_is_a_file_and_a_line(host: Namespace, copy: Copy) -> None:
    assert f"auto|fake|{NAMES[0]}|" in "".join(copy.text("add-range", "--help").split())
    done = copy("add-range", "203.0.113.0/24", "--fwmark", "17", "--method", "fake")
    assert done["warnings"] == ["accepts nothing"]
    assert copy.accepted() == ["cb007100/24 17"]
    status = copy("status")
    assert status["kernel"] == "as stored"
    assert status["services"]["fwmark-17"]["method"] == "fake"

    copy("set-service", "fwmark-17", "--method", "fwmark")
    assert copy.accepted() == []
    assert "203.0.113.0" in nft(host)
    copy("set-service", "fwmark-17", "--method", "auto")
    assert copy.accepted() == ["cb007100/24 17"]
    assert nft(host) == ""

    copy("add-range", "198.51.100.7", "--fwmark", "17")
    copy.kernel.unlink()
    assert copy("status")["kernel"] == "differs"
    assert copy("restore")["changed"] is True
    assert copy.accepted() == ["c6336407/32 17", "cb007100/24 17"]
    assert "fake" in copy("export")["services"]["fwmark-17"]["method"]

    assert copy("remove-range", "198.51.100.7")["changed"] is True
    assert copy("remove-service", "fwmark-17")["changed"] is True
    assert copy.accepted() == []
    assert nft(host) == ""


def test_a_method_may_have_an_option_of_its_own(copy: Copy, tmp_path: Path) -> None:
    """Its description is enough for every way by which options come and go."""
    assert "--strength N" in copy.text("add-range", "--help")
    words = ("--fwmark", "17", "--method", "fake", "--strength")
    copy("add-range", "203.0.113.0/24", *words, "7")
    assert copy("list-services")["services"]["fwmark-17"]["strength"] == 7
    assert copy("add-range", "203.0.113.0/24", *words, "7")["changed"] is False
    assert copy.failure("add-range", "203.0.113.0/24", *words, "8") == (
        "refused", "service 'fwmark-17' has strength 7",
    )  # fmt: skip
    done = copy("set-service", "fwmark-17", "--strength", "3")
    assert changes(done) == ["fwmark-17: strength 7 → 3"]
    assert copy.failure("set-service", "fwmark-17", "--strength", "10") == (
        "usage", "'10' is not a strength",
    )  # fmt: skip
    kind, message = copy.failure("set-service", "fwmark-17", "--method", "fwmark")
    assert (kind, message) == ("refused", "--strength is for --method fake, not fwmark")
    copy("set-service", "fwmark-17", "--method", "fwmark", "--strength", "5")

    file = tmp_path / "state.yml"
    service = "method: fake, strength: 9, ports: [tcp/80], ranges: [203.0.113.0/24]"
    file.write_text(f"services: {{fwmark-17: {{{service}}}}}")
    assert copy("apply", str(file))["services"]["fwmark-17"]["strength"] == 9
    assert copy("export")["services"]["fwmark-17"]["strength"] == 9
    other = "203.0.113.0/24", "--fwmark", "18", "--port", "tcp/81", "--method", "fake"
    kind, message = copy.failure("add-range", *other)
    assert kind == "refused", "services that share VIPs must agree on it"
    file.write_text("services: {fwmark-17: {strength: 10, ranges: [203.0.113.0/24]}}")
    kind, message = copy.failure("apply", str(file))
    assert "services.fwmark-17.strength" in message
