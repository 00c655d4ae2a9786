"""Parts of the module, compiled for user space with sanitizers.

The trie, against a naive model, and the commands, of which those that are refused change nothing.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kernel.targets import COMMANDS, KERNEL, TARGETS, TRIE, Target, build, copy_smaller

ROUNDS = 500
FLAWS = {
    "walk.c": (TRIE, "if (!bit)", "if (bit)"),
    "table.c": (TRIE, "if (above)", "if (!above)"),
    "bulk.c": (COMMANDS, "if (before[count])", "if (!before[count])"),
    "service.c": (COMMANDS, "kfree(config);\n\t\treturn err;", "return err;"),
}


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    return TARGETS[request.param]


@pytest.fixture(scope="module")
def program(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp(target.name)
    build(target, home / "program", source(target, home))
    return home / "program"


def source(target: Target, home: Path) -> Path:
    """The module to compile: with small limits, where it takes too long otherwise."""
    if target == TRIE:
        return KERNEL
    copy_smaller(home / "kernel")
    return home / "kernel"


def run(program: Path, *words: str, inputs: str = "") -> subprocess.CompletedProcess[str]:
    argv = [str(program), *words]
    return subprocess.run(argv, check=False, capture_output=True, text=True, input=inputs)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_inputs_show_no_flaw(program: Path, seed: int) -> None:
    """Also where memory runs out, and without a leak."""
    done = run(program, str(ROUNDS), str(seed))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{ROUNDS} inputs")


def test_nor_does_all_that_the_fuzzer_found_interesting(program: Path, target: Target) -> None:
    corpus = target.corpus.read_text()
    done = run(program, inputs=corpus)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(corpus.splitlines())} inputs")


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_is_seen(tmp_path: Path, name: str) -> None:
    """Otherwise that there is none would mean nothing."""
    target, right, wrong = FLAWS[name]
    kernel = tmp_path / "kernel"
    if target == TRIE:
        shutil.copytree(KERNEL, kernel)
    else:
        copy_smaller(kernel)
    text = (kernel / name).read_text()
    assert right in text
    (kernel / name).write_text(text.replace(right, wrong))
    build(target, tmp_path / "program", kernel)
    assert run(tmp_path / "program", inputs=target.corpus.read_text()).returncode != 0
