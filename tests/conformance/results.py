"""Observed words on disk: what a run has measured so far, and what docs/methods.json holds."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.harness.guest import REPOSITORY

COMMITTED = REPOSITORY / "docs" / "methods.json"
PAGE = COMMITTED.with_suffix(".md")
SOURCES = ("vipctl", "tests/conformance", "tests/harness")
JUDGING = ("expectations", "document", "results", "__main__", "test_page")  # after the fact
AFTERWARDS = {REPOSITORY / SOURCES[1] / f"{name}.py" for name in JUDGING}
Words = dict[str, str]  # by cell


@cache
def sources() -> str:
    """Return a digest of all that a result depends on but the kernel."""
    digest = hashlib.sha256()
    for path in sorted(_files()):
        digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _files() -> Iterator[Path]:
    yield from (REPOSITORY / "kernel").rglob("*.[ch]")
    for directory in SOURCES:
        found = (REPOSITORY / directory).rglob("*.py")
        yield from (path for path in found if path not in AFTERWARDS)


def read(record: Path) -> Words:
    """Return the words of a record; a line that was being written does not count."""
    if not record.exists():
        return {}
    lines = [line for line in record.read_text().splitlines() if line.endswith("}")]
    return {cell: word for line in lines for cell, word in json.loads(line).items()}


def append(record: Path, words: Mapping[str, str]) -> None:
    """Add words to a record."""
    with record.open("a") as stream:
        stream.writelines(json.dumps({cell: word}) + "\n" for cell, word in words.items())


def publish(by_kernel: Mapping[str, Words]) -> None:
    """Write docs/methods.json: one word for each cell, or one for each kernel."""
    merged: dict[str, str | Words] = {}
    for cell in next(iter(by_kernel.values())):
        words = {kernel: found[cell] for kernel, found in by_kernel.items()}
        same = len(set(words.values())) == 1
        merged[cell] = next(iter(words.values())) if same else words
    COMMITTED.write_text(json.dumps(merged, indent=0, ensure_ascii=False) + "\n")


def published(kernel: str) -> Words:
    """Return what docs/methods.json says of a kernel."""
    if not COMMITTED.exists():
        return {}
    merged: dict[str, str | Words] = json.loads(COMMITTED.read_text())
    return {c: word if isinstance(word, str) else word[kernel] for c, word in merged.items()}


def differences(kernel: str, record: Path) -> list[str]:
    """Return how a record differs from docs/methods.json, one line for each cell."""
    known = published(kernel)
    return [
        f"{cell}: {word}, but {COMMITTED.name} says {known.get(cell, 'nothing')}"
        for cell, word in read(record).items()
        if known.get(cell) != word
    ]
