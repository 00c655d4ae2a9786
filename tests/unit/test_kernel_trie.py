"""The module's prefix trie, compiled for user space with sanitizers, against a naive model."""

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
HARNESS = REPOSITORY / "tests" / "kernel"
TRIE = REPOSITORY / "kernel" / "table.c"
SANITIZED = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-sign-compare")
ROUNDS = 60


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("trie") / "fuzz"
    includes = (f"-I{HARNESS / 'userspace'}", f"-I{TRIE.parent}")
    sources = (str(HARNESS / "trie_fuzz.c"), str(TRIE))
    subprocess.run(["gcc", *SANITIZED, *STRICT, *includes, *sources, "-o", program], check=True)
    return program


@pytest.mark.parametrize("seed", [1, 2])
def test_it_agrees_with_the_model(fuzz: Path, seed: int) -> None:
    """Also where memory runs out, and without a leak."""
    argv = [str(fuzz), str(ROUNDS), str(seed)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "agree" in done.stdout
