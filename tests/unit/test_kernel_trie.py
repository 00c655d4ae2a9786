"""The module's prefix trie, compiled for user space with sanitizers, against a naive model."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kernel.trie import CORPUS, KERNEL, build

ROUNDS = 500


@pytest.fixture(scope="module")
def trie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("trie") / "trie"
    build(program)
    return program


def run(program: Path, *words: str, inputs: str = "") -> subprocess.CompletedProcess[str]:
    argv = [str(program), *words]
    return subprocess.run(argv, check=False, capture_output=True, text=True, input=inputs)


@pytest.mark.parametrize("seed", [1, 2])
def test_it_agrees_with_the_model(trie: Path, seed: int) -> None:
    """Also where memory runs out, and without a leak."""
    done = run(trie, str(ROUNDS), str(seed))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{ROUNDS} inputs")


def test_it_agrees_on_all_that_the_fuzzer_found_interesting(trie: Path) -> None:
    corpus = CORPUS.read_text()
    done = run(trie, inputs=corpus)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(corpus.splitlines())} inputs")


FLAWS = {"walk.c": ("if (!bit)", "if (bit)"), "table.c": ("if (above)", "if (!above)")}


@pytest.mark.parametrize("name", FLAWS)
def test_a_flaw_is_seen(tmp_path: Path, name: str) -> None:
    """Otherwise that they agree would mean nothing."""
    kernel = tmp_path / "kernel"
    shutil.copytree(KERNEL, kernel)
    right, wrong = FLAWS[name]
    text = (kernel / name).read_text()
    assert right in text
    (kernel / name).write_text(text.replace(right, wrong))
    build(tmp_path / "trie", kernel)
    assert run(tmp_path / "trie", inputs=CORPUS.read_text()).returncode != 0
